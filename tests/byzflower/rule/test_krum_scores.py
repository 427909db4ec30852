"""Scores that are counted down against scores that are summed anew."""

from __future__ import annotations

import numpy as np
import pytest

from byzflower.rule.krum_scores import KrumScores


def in_order(squared: np.ndarray, left: list[int], f: int) -> list[int]:
    """The rows left by their scores, then by those with more neighbours, then by index."""
    inner = squared[np.ix_(left, left)]
    np.fill_diagonal(inner, np.inf)
    sums = np.cumsum(np.sort(inner, axis=1)[:, :-1], axis=1)[:, max(len(left) - f - 2, 1) - 1 :]
    return [left[i] for i in sorted(range(len(left)), key=lambda i: sums[i].tolist())]


@pytest.mark.parametrize(("n", "f"), [(1, 0), (3, 0), (4, 1), (9, 2), (25, 3), (40, 9)])
@pytest.mark.parametrize("kind", ["generic", "huge", "whole", "equal", "line"])
def test_rows_taken_one_after_another(n: int, f: int, kind: str) -> None:
    rng = np.random.default_rng(n)
    x = {
        "generic": rng.normal(size=(n, 5)),
        "huge": rng.normal(size=(n, 5)) * np.where(rng.random((n, 1)) < 0.4, 1e12, 1),
        "whole": rng.integers(-1, 2, (n, 2)).astype(float),
        "equal": np.ones((n, 2)),
        "line": np.arange(n, dtype=float)[:, None],
    }[kind]
    squared = ((x[:, None] - x[None, :]) ** 2).sum(axis=-1)
    scores, left = KrumScores(squared, f), list(range(n))
    while left:
        expected = in_order(squared, left, f)
        for count in {1, (len(left) + 1) // 2, len(left)}:
            assert sorted(scores.least(count)) == sorted(expected[:count])
        taken = expected[0] if rng.random() < 0.7 else left[int(rng.integers(len(left)))]
        scores.remove(taken)
        left.remove(taken)
