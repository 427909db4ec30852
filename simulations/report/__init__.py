"""The report of a folder of results: figures, tables and one page that needs no network.

* `outcomes` sums up runs: repetitions over seeds, choices, worst cases;
* `panels` is a figure with its table and its words; `curves`, `heatmaps`, `ranking`, `norms`,
  `selection`, `labels` and `beside` make them;
* `page` writes the folder.
"""
