"""Many experiments as data, a grid in a TOML file, and the engine that runs them.

* `grid` reads the file and makes its cells;
* `cells` says what determines a cell, where its results lie and whether they are there;
* `engine` runs cells in warm Ray workers, on this machine or on a cluster.
"""
