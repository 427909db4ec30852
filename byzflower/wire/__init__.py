"""What strategies, clients and simulations share on the wire; the mathematics never imports it.

`arrays` holds model arrays as tensors, `buffers` which of them are no parameters, `payload` what a
reply says it holds, `metrics` the types of a MetricRecord, and `grid` a grid around another grid.
"""
