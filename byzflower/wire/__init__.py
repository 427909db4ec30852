"""What strategies, clients and simulations share about messages; machinery, not a public interface.

- ``arrays``: Flower arrays that hold tensors; ``trees``: records as nested dictionaries of them.
- ``buffers``: which arrays of a model are buffers rather than parameters.
- ``payload``: what a reply declares, a model or a gradient, and its buffers.
- ``metrics``: the types of values in a MetricRecord.
- ``grid``: base class of grids around another grid; ``guard``: one that makes uploads harmless.
- ``flower_internals``: every private name of Flower that is used anywhere.

``rule``, ``attack`` and the rest of the mathematics do not import this package, nor Flower.
"""
