"""The papers' tables and figures, each a TOML file in ``simulations/papers``, run by command.

* `items` finds and reads the files;
* `measured` has the items that are no grid of training runs: theory, run times, labels.
"""
