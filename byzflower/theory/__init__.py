"""What the papers prove: resilience, robustness, breakdown points, numbers of faults.

There is one module a paper: ``resam``, ``aggregathor``, ``byrd_saga``, ``mixtailor`` and ``arc``.
``relation`` converts between their coefficients, ``breakdown`` lists the rules' breakdown points,
and ``sampling`` counts faulty clients under partial participation.

:func:`bounds` finds the theorem that applies to a pipeline, and its coefficients.
:func:`statements` writes out the theorems about random gradients.

Every function raises :class:`~byzflower.errors.InfeasibleError` for arguments outside the range of
its theorem.
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
