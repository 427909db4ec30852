"""How adaptive attacks search: what would each candidate make of the aggregate.

``observation`` is one round as colluders see it. ``effect`` holds the candidates of a search, and
what the server's aggregation would make of each; ``pool`` averages that over the members and draws
of a random one; ``grid`` checks the values to try. Below them, ``span`` answers distances for all
candidates from one Gram matrix, and ``coordinatewise`` carries out coordinate-wise rules for all of
them in one pass over d: ``tile`` by tile, with the order statistics of ``insertion``.
"""
