"""Sign votes against their definition, alone and behind a mixing."""

from __future__ import annotations

import pytest
import torch

import byzflower as bf


def rows(n: int = 7, d: int = 50) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_the_votes_are_added_up() -> None:
    x = rows()
    x[0, 0] = 0.0
    expected = 0.25 * torch.tensor([[float(torch.sign(v)) for v in row] for row in x]).sum(0)
    torch.testing.assert_close(bf.SignVotes(step=0.25)(x, f=2), expected.double())


def test_mixed_rows_vote_as_mixed() -> None:
    x = rows()
    mixed = bf.functional.nnm(x, f=2)
    expected = bf.functional.sign_votes(mixed, step=0.1)
    torch.testing.assert_close(bf.parse("nnm > sign_votes(step=0.1)")(x, f=2), expected)


def test_a_removed_row_has_no_vote() -> None:
    x = rows()
    x[3, 4] = torch.nan
    without = torch.cat([x[:3], x[4:]])
    assert torch.equal(bf.SignVotes()(x, f=1), bf.SignVotes()(without, f=0))


def test_a_row_moves_each_coordinate_by_one_step_at_most() -> None:
    x = rows()
    before = bf.SignVotes(step=0.5)(x, f=1)
    x[0] = 1e30
    assert float((bf.SignVotes(step=0.5)(x, f=1) - before).abs().max()) <= 1.0  # from − to +


def test_a_search_against_votes_is_refused() -> None:
    with pytest.raises(
        bf.InfeasibleError, match=r"a search needs a rule of weights .* `sign_votes`"
    ):
        bf.parse_attack("foe(tau=adaptive)")(rows(), f=2, rule="sign_votes")
