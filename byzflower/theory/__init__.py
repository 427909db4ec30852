"""What is proved: resilience, robustness, breakdown points, and how many faults to expect.

One module a paper (``resam``, ``aggregathor``, ``byrd_saga``, ``mixtailor``, ``arc``), the
relation between their coefficients, partial participation (``sampling``), and
:func:`bounds`, which looks up the theorem that applies to a pipeline; :func:`statements` those on
random gradients, which no single input can contradict. Every function refuses
arguments outside its statement's range with :class:`~byzflower.errors.InfeasibleError`.
"""

from __future__ import annotations

from byzflower.theory import aggregathor, arc, byrd_saga, mixtailor, resam
from byzflower.theory.breakdown import breakdown_point, max_faults
from byzflower.theory.lookup import Bounds, bounds
from byzflower.theory.relation import kappa_from_lambda, lambda_from_kappa
from byzflower.theory.sampling import excess_probability, faults_per_round
from byzflower.theory.statements import statements

__all__ = [
    "Bounds",
    "aggregathor",
    "arc",
    "bounds",
    "breakdown_point",
    "byrd_saga",
    "excess_probability",
    "faults_per_round",
    "kappa_from_lambda",
    "lambda_from_kappa",
    "max_faults",
    "mixtailor",
    "resam",
    "statements",
]
