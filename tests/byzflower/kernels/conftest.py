from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch

from byzflower.kernels import Reduction

Oracle = Callable[[np.ndarray, Reduction], tuple[np.ndarray, np.ndarray]]


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    """Return exact means, and the largest size of what each averages, column by column."""

    def column(values: list[float], reduction: Reduction) -> tuple[float, float]:
        m = len(values)
        ordered = sorted(values)
        if reduction.kind == "trimmed_mean":
            kept = ordered[reduction.count : m - reduction.count]
        else:
            low, high = ordered[(m - 1) // 2], ordered[m // 2]
            median = float((Fraction(low) + Fraction(high)) / 2)

            def nearest(sign: int) -> list[float]:
                """The lower, for sign 1, or the higher of values that are equally near."""

                def distance(v: float) -> tuple[float, int, Fraction]:
                    exact = abs(Fraction(v) - Fraction(median))
                    return abs(v - median), sign * (v > median), exact

                return sorted(values, key=distance)[: reduction.count]

            kept = nearest(1) + nearest(-1)
        mean = sum(map(Fraction, kept), Fraction(0)) / len(kept)
        return float(mean), max(map(abs, kept))

    def columns(x: np.ndarray, reduction: Reduction) -> tuple[np.ndarray, np.ndarray]:
        results = [column(values, reduction) for values in x.astype(np.float64).T.tolist()]
        means, sizes = np.array(results).T
        return means, sizes

    return columns


@pytest.fixture(scope="session")
def draw() -> Callable[[np.random.Generator, str, tuple[int, int], torch.dtype], torch.Tensor]:
    """Draw values of one style: ``ties``, ``spread``, ``offset``, ``huge``, ``tiny``, ``mixed``."""

    def values(
        rng: np.random.Generator, style: str, shape: tuple[int, int], dtype: torch.dtype
    ) -> torch.Tensor:
        info = torch.finfo(dtype)
        choices = {
            "ties": lambda: rng.integers(-3, 4, shape).astype(float),
            "spread": lambda: rng.standard_normal(shape),
            "offset": lambda: 1 + 1e-4 * rng.standard_normal(shape),
            "huge": lambda: rng.choice([-1.0, -0.9, 0.88, 1.0, 1e-9], shape) * info.max,
            "tiny": lambda: rng.integers(-5, 6, shape) * (info.tiny * info.eps),
            "mixed": lambda: rng.choice(
                [0.0, -0.0, 1.0, -1.0, info.max, -info.max, info.tiny, 0.1], shape
            ),
        }
        return torch.from_numpy(choices[style]()).to(dtype)

    return values


@pytest.fixture(scope="session")
def assert_close() -> Callable[..., None]:
    """Allow one rounding to the result's dtype, and float64 rounding of what was summed."""

    def check(
        found: torch.Tensor, expected: np.ndarray, sizes: np.ndarray, rounding: float = 0.0
    ) -> None:
        info = torch.finfo(found.dtype)
        result_rounding = np.minimum(np.abs(expected), info.max) * info.eps + info.tiny * info.eps
        allowed = result_rounding + sizes * (2.0**-48 + rounding)
        np.testing.assert_array_less(np.abs(found.double().numpy() - expected), allowed + 5e-324)

    return check
