"""The search of adaptive attacks: what the server would aggregate for each candidate update.

``observation`` is one round as the colluders see it. ``effect`` computes, for all candidates at
once, how far the server's aggregate is moved; ``pool`` averages that over the members and draws of
a random server; ``grid`` checks the values to try.

All candidates together cost about as much as two aggregations: ``span`` derives the distances under
every candidate from one Gram matrix, and ``coordinatewise`` applies coordinate-wise rules for all
candidates in one pass over the coordinates, a ``tile`` of columns at a time, with the order
statistics of ``insertion``.
"""
