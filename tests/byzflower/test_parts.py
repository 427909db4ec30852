"""Updates whose columns lie in several parts: aggregated as in one place, and little travels."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

import byzflower as bf
from byzflower.parts import Ask, Part, aggregate_parts, here
from byzflower.updates import Updates

N, F, D = 11, 2, 40
PARAMETERS = {"clip": "clip(c=3.0)", "bucketing": "bucketing(s=2)", "resampling": "resampling(s=2)"}
SPECS = [
    *bf.rules(),
    *(f"{PARAMETERS.get(name, name)} > mean" for name in bf.preaggregators()),
    "arc > nnm > geometric_median",
    "arc > nnm > trimmed_mean",
    "clip(c=1e-3) > nnm > median",
    "krum(p=3)",
    "nnm > geometric_median(p=1.5)",
    "bulyan(inner=median, p=3)",
    "bulyan(inner=mean, p=4)",
    "nnm > sign_votes(step=0.1)",
    "centered_clipping(tau=2.0, steps=3)",
]


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def parts_of(x: Tensor, cuts: list[int], center: Tensor | None = None) -> list[Ask]:
    """Parts between the cuts, in order; two equal cuts leave one with no columns."""
    ends = [0, *sorted(cuts), x.shape[1]]
    return [
        here(Part(Updates.of(x[:, a:b]), None if center is None else center[a:b]))
        for a, b in pairwise(ends)
    ]


def value(parts: list[Ask]) -> Tensor:
    return torch.cat([ask("use", torch.Tensor.clone)() for ask in parts])


def equal_rows(x: Tensor) -> None:
    x[1:4] = x[0]


def not_finite(x: Tensor) -> None:
    x[4, 7] = torch.nan


def tied_but_in_the_last_column(x: Tensor) -> None:
    """Two rows as far from every other, so that their numbers decide the order."""
    x[:, -1] = 0
    x[1] = x[0]
    x[0, -1], x[1, -1] = 0.5, -0.5


def short_row(x: Tensor) -> None:
    """Whose length its Gram matrix does not tell."""
    x[2] *= 1e-7


def nothing(x: Tensor) -> None: ...


ODDITIES = [nothing, equal_rows, not_finite, tied_but_in_the_last_column, short_row]


@pytest.mark.parametrize("spec", SPECS)
@settings(max_examples=12, deadline=None)
@given(
    cuts=st.lists(st.sampled_from([0, 1, 2, 13, 20, D - 1, D]) | st.integers(0, D), max_size=6),
    oddity=st.sampled_from(ODDITIES),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    size=st.sampled_from([1.0, 1e3]),
)
def test_any_split_gives_what_one_place_gives(
    spec: str,
    cuts: list[int],
    oddity: Callable[[Tensor], None],
    dtype: torch.dtype,
    size: float,
) -> None:
    rule = bf.parse(spec)
    # Rows clipped to one length are equally near to a row of nearly none: rounding chooses.
    assume(not (oddity is short_row and re.match("(arc|clip).* > nnm", spec)))
    x = torch.randn(N, D, generator=rng(), dtype=torch.float64)
    x[-1] *= 100
    oddity(x)
    x = (x * size).to(dtype)
    parts = parts_of(x, cuts)
    found = aggregate_parts(rule, parts, F, rng=rng())
    expected = rule.explain(x, F, rng=rng())
    assert sorted(found.kept) == list(expected.kept)
    assert [step.spec for step in found.steps] == [step.spec for step in expected.steps]
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(
        value(parts), expected.value, rtol=0, atol=tolerance * float(x[0].norm())
    )


def test_float64_beyond_the_range_of_squares_has_one_unit() -> None:
    x = torch.randn(N, D, generator=rng(), dtype=torch.float64) * 1e200
    x[:, :3] *= 1e-190
    rule, parts = bf.parse("arc > nnm > geometric_median"), parts_of(x, [3, 4])
    aggregate_parts(rule, parts, F)
    torch.testing.assert_close(value(parts), rule(x, F), rtol=1e-9, atol=0)


def test_every_part_has_its_columns_of_the_previous_aggregate() -> None:
    rule = bf.parse("centered_clipping(tau=1.0)")
    x, center = torch.randn(N, D, generator=rng()), torch.linspace(-1, 1, D)
    parts = parts_of(x, [1, 30], center)
    aggregate_parts(rule, parts, F)
    torch.testing.assert_close(value(parts), rule(x, F, center=center))
    with pytest.raises(ValueError, match="`center` needs finite numbers"):
        aggregate_parts(rule, parts_of(x, [9], center * torch.inf), F)


def test_models_that_were_sent_are_taken_part_by_part() -> None:
    models, sent = torch.randn(N, D, generator=rng()), torch.randn(D, generator=rng())
    halves = [slice(0, 25), slice(25, D)]
    parts = [
        here(Part(Updates.from_blocks([list(models[:, half])], [sent[half]]))) for half in halves
    ]
    rule = bf.parse("arc > nnm > trimmed_mean")
    aggregate_parts(rule, parts, F)
    torch.testing.assert_close(value(parts), rule(models - sent, F), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("spec", [s for s in SPECS if re.search("median$|krum|3", s)])
@pytest.mark.parametrize("oddity", ODDITIES)
def test_what_travels_does_not_grow_with_d(spec: str, oddity: Callable[[Tensor], None]) -> None:
    def traffic(d: int) -> int:
        travelled = 0

        def watched(ask: Ask) -> Ask:
            def asking(*arguments: Any) -> Callable[[], Any]:
                def wait() -> Any:
                    nonlocal travelled
                    result = ask(*arguments)()
                    travelled += sum(map(numbers, (*arguments, result)))
                    return result

                return wait

            return asking

        x = torch.randn(N, d, generator=rng())
        oddity(x)
        aggregate_parts(bf.parse(spec), list(map(watched, parts_of(x, [d // 3]))), F, rng=rng())
        return travelled

    assert traffic(3000) == traffic(600) < 40 * N * N


def numbers(sent: Any) -> int:
    """How many numbers an argument or a result holds."""
    inside = vars(sent).values() if hasattr(sent, "__dataclass_fields__") else [sent]
    return sum(getattr(found, "size", 1) for found in inside)


def test_what_cannot_be_aggregated_is_refused() -> None:
    x = torch.ones(4, 6)
    with pytest.raises(bf.InfeasibleError, match="needs n ≥ 2f"):
        aggregate_parts(bf.parse("krum"), parts_of(x, [3]), 2)
    with pytest.raises(ValueError, match="parts need one n and one dtype; found"):
        aggregate_parts(bf.parse("krum"), [*parts_of(x, []), *parts_of(x[:3], [])], 0)
    x[0, 0], x[1, 5] = torch.nan, torch.inf
    with pytest.raises(bf.InfeasibleError, match="2 such rows of 4"):
        aggregate_parts(bf.parse("median"), parts_of(x, [3]), 1)
