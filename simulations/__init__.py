"""Data sets, partitions, models, engines and experiments: everything around a training run.

Nothing is imported here, so that the command line starts at once; import from the modules.
"""
