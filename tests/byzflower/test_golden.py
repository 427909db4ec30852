"""Values that can be checked by hand; each line says how."""

from __future__ import annotations

import pytest
import torch

import byzflower as bf

# One dimension, one far row; five dimensions would hide what happens.
LINE = [0.0, 1.0, 3.0, 4.0, 5.0, 7.0, 100.0]

GOLDEN = [
    ("mean", LINE, 1, 120 / 7),
    ("median", LINE, 3, 4.0),
    ("median", LINE[1:], 2, 4.5),  # even n: the mean of the two middle values, 4 and 5
    ("trimmed_mean", LINE, 1, 4.0),  # 1 3 4 5 7
    ("trimmed_mean", LINE, 2, 4.0),  # 3 4 5
    ("trimmed_mean", LINE, 0, 120 / 7),  # nothing is trimmed
    ("meamed", LINE, 1, 20 / 6),  # all but 100
    ("meamed", LINE, 3, 4.0),  # 4, 3, 5 and half of 1 and of 7, both 3 away
    ("krum", LINE, 1, 3.0),  # 4 nearest: 0: 51, 1: 30, 3: 18, 4: 20, 5: 25, 7: 65
    ("multi_krum(m=2)", LINE, 2, 4.0),  # 3 nearest: 3: 9, 4: 11, 5: 9 → rows 3 and 5
    ("krum_star", [0.0, 2.0, 3.0], 1, 2.0),  # 1 nearest other: 2 and 3 tie; 2 is nearer 0
    ("multi_krum_star", [0.0, 2.0, 3.0], 1, 2.5),
    # Diameter 4: {0,1,3,4}, {1,3,4,5} and {3,4,5,7}; 3 and 5 have half of the rows nearest, then 4.
    ("mda", LINE, 3, 13 / 4),
    ("mda", LINE, 1, 20 / 6),
    ("geometric_median", LINE, 3, 4.0),  # on a line the median
    ("geometric_median", [0.0, 1.0, 2.0, 9.0], 1, 1.5),  # any point of [1, 2]; the middle
    ("cge", [-1.0, 2.0, -3.0, 4.0], 1, -2 / 3),
    ("cge", [1.0, -1.0, 1.0], 1, 1.0),  # equal norms: those with half of the rows near
    ("centered_clipping(tau=2.0)", LINE, 1, 11 / 7),  # 0 1 2 2 2 2 2
    ("centered_clipping(tau=10.0, steps=2)", [0.0, 1.0, 100.0], 1, 44 / 9),  # 11/3, then + 11/9
    ("bulyan", LINE, 1, 4.0),  # picks 3 4 1 5 7, the last two by further neighbours; 3 4 5
    ("smea", [0.0, 3.0, 4.0, 5.0, 100.0], 2, 4.0),
    ("caf", [0.0, 3.0, 3.0, 3.0, 90.0], 2, 3.0),
    ("monna(trusted=2)", LINE, 3, 13 / 4),  # 3, 4, then 1 and 5
    ("arc > mean", LINE, 1, 27 / 7),  # k = ⌊2·6/7⌋ = 1: clip to the second-largest norm, 7
    ("arc > mean", LINE, 3, 20 / 7),  # k = ⌊24/7⌋ = 3: clip to the fourth-largest norm, 4
    ("clip(c=2.0) > mean", LINE, 0, 11 / 7),
    ("nnm > mean", [0.0, 1.0, 3.0], 1, (0.5 + 0.5 + 2.0) / 3),
    ("bucketing(s=7) > mean", LINE, 0, 120 / 7),
    ("bucketing(s=1) > median", LINE, 3, 4.0),
    ("resampling(s=1) > median", LINE, 3, 4.0),  # s = 1 draws every row once
]


@pytest.mark.parametrize(("spec", "values", "f", "expected"), GOLDEN)
def test_golden_values(spec: str, values: list[float], f: int, expected: float) -> None:
    rows = torch.tensor(values, dtype=torch.float64)[:, None]
    found = bf.parse(spec).explain(rows, f=f, rng=torch.Generator().manual_seed(0))
    assert found.value.item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_krum_squares_its_distances() -> None:
    # Sums of distances would choose row 0 (2 + 2 + 2 = 6 against 0 + 0 + 6.5).
    x = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [-2.0, 0.0], [9.0, 9.0], [9.0, 9.1]])
    scores = {0: 12.0, 1: 4 + 8 + 16, 2: 4 + 8 + 8, 3: 4 + 8 + 16}
    found = bf.Krum().explain(x, f=1).steps[0].note["selected"]
    assert found == (min(scores, key=lambda i: scores[i]),)


def test_geometric_median_of_a_triangle_is_its_fermat_point() -> None:
    # Right isosceles triangle: the Fermat point lies on the diagonal at (3 − √3)/6 from each leg.
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    expected = torch.full((2,), (3 - 3**0.5) / 6, dtype=torch.float64)
    torch.testing.assert_close(bf.GeometricMedian()(x, f=1), expected, rtol=1e-9, atol=0)


def test_rules_choose_by_direction_too() -> None:
    x = torch.tensor([[1.0, 0.0], [1.1, 0.0], [0.9, 0.0], [1.0, 0.1], [0.0, 1.0]])
    found = bf.parse("mda").explain(x, f=1)
    assert found.weights is not None
    assert found.weights.tolist() == [0.25, 0.25, 0.25, 0.25, 0.0]
    assert found.steps[0].note["diameter"] == pytest.approx(0.2, rel=1e-6)


def test_arc_reports_its_threshold() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 1.0], [6.0, 8.0], [0.0, 2.0]])
    note = bf.parse("arc > mean").explain(x, f=1).steps[0].note
    assert note["threshold"] == pytest.approx(5.0)
    assert note["clipped"] == 1
