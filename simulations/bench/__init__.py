"""Benchmarks: medians and ratios, reproducible by one command each."""
