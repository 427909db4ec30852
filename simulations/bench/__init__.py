"""Benchmarks: medians and ratios, reproducible by ``byzflower bench SUITE``.

``rules`` and ``attacks`` time one aggregation and one search, ``training`` rounds of every engine
and whole runs, ``startup`` the start of commands, and ``robustness`` tries hostile replies.
``peers`` and ``byzfl_training`` do the same in other libraries; ``measure`` takes the times.
"""
