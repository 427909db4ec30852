"""Benchmarks: medians and ratios, reproducible by ``byzflower bench SUITE``.

``rules`` and ``attacks`` time one aggregation and one search, ``training`` rounds of every engine
and whole runs, ``sweep`` whole grids, ``startup`` the start of commands, and ``robustness`` tries
hostile replies. ``peers``, ``byzfl_training`` and ``byzfl_benchmark`` do the same in other
libraries; ``measure`` takes the times.
"""
