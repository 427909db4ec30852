"""Experiments: data sets, partitions, models, engines, the command line and benchmarks.

``experiment`` holds every option of a training run, ``runner`` carries one out: ``tasks`` prepares
its clients and ``server`` its strategy, and an engine of ``engines`` runs them. ``recording``
writes ``results``, which ``plots`` draws. ``datasets``, ``partitions`` and ``models`` are
registered by name. ``deployment`` starts Flower's own processes on this machine; ``quickstart`` is
a Flower app.

``cli`` is the command ``byzflower``, ``bench`` its benchmarks. Nothing is imported here, so that
the command line starts at once; import from the modules.
"""
