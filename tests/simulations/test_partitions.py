"""Every row to exactly one client, the same way for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from byzflower.errors import SpecError
from byzflower.simulations.errors import ExperimentError
from byzflower.simulations.partitions import parse_partition

SPECS = [
    "iid",
    "dirichlet(alpha=0.3)",
    "dirichlet(alpha=100.0)",
    "dirichlet_clients(alpha=0.3)",
    "extreme",
    "classes(per=2)",
]


@pytest.fixture
def labels():
    return np.random.default_rng(0).permutation(np.repeat(np.arange(5), [40, 41, 42, 43, 44]))


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("seed", [0, 7])
def test_every_row_goes_to_exactly_one_client(spec, seed, labels):
    shares = parse_partition(spec).split(labels, 10, seed)
    assert len(shares) == 10
    assert all(len(share) > 0 and share.dtype == np.int64 for share in shares)
    assert sorted(np.concatenate(shares)) == list(range(len(labels)))


@pytest.mark.parametrize("spec", SPECS)
def test_the_seed_decides(spec, labels):
    first, again, other = (parse_partition(spec).split(labels, 10, s) for s in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    same = all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert same == spec.startswith(("extreme", "classes"))


@pytest.mark.parametrize(("name", "most"), [("dirichlet", 0.6), ("dirichlet_clients", 0.5)])
def test_alpha_sets_the_heterogeneity(name, most, labels):
    def largest_class_share(alpha):
        shares = parse_partition(f"{name}(alpha={alpha})").split(labels, 4, 1)
        return np.mean([np.bincount(labels[s]).max() / len(s) for s in shares])

    assert largest_class_share(1000.0) < 0.3
    assert largest_class_share(0.02) > most  # a class is 0.8 of an equal share


def test_dirichlet_respects_the_least_size(labels):
    shares = parse_partition("dirichlet(alpha=0.5, min_size=15)").split(labels, 5, 1)
    assert min(map(len, shares)) >= 15


@pytest.mark.parametrize("alpha", [0.1, 10.0])
def test_dirichlet_clients_have_equal_sizes(alpha, labels):
    shares = parse_partition(f"dirichlet_clients(alpha={alpha})").split(labels, 8, 1)
    assert {len(share) for share in shares} == {26, 27}  # 210 rows


def test_dirichlet_clients_draw_each_client_s_proportions():
    # E p_c² = (α + 1)/(K(Kα + 1)) for a component of the symmetric Dirichlet distribution.
    labels, alpha = np.tile(np.arange(4), 5000), 0.5
    shares = parse_partition(f"dirichlet_clients(alpha={alpha})").split(labels, 400, 1)
    early = np.array([np.bincount(labels[share], minlength=4) / len(share) for share in shares])
    assert (early**2).mean() == pytest.approx((alpha + 1) / (4 * (4 * alpha + 1)), rel=0.1)


def test_labels_need_not_count_from_zero(labels):
    first = parse_partition("dirichlet_clients(alpha=0.3)").split(labels, 6, 1)
    other = parse_partition("dirichlet_clients(alpha=0.3)").split(labels * 3 + 7, 6, 1)
    assert all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_shared_gives_everybody_everything(labels):
    shares = parse_partition("shared").split(labels, 3, 1)
    assert [share.tolist() for share in shares] == [list(range(len(labels)))] * 3


def test_extreme_sorts_by_label_and_divides_evenly(labels):
    shares = parse_partition("extreme").split(labels, 7, 1)
    assert [len(share) for share in shares] == [30] * 7
    assert list(labels[np.concatenate(shares)]) == sorted(labels)


def test_classes_gives_each_class_its_own_clients(labels):
    shares = parse_partition("classes(per=3)").split(labels, 15, 1)
    assert [set(labels[share]) for share in shares] == [{c} for c in range(5) for _ in range(3)]
    assert [len(share) for share in shares[:3]] == [14, 13, 13]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("dirichlet(alpha=-1)", "`dirichlet` needs alpha > 0; found -1"),
        ("dirichlet_clients(alpha=0)", "`dirichlet_clients` needs alpha > 0; found 0"),
        ("dirichlet(alpha=0)", "`dirichlet` needs alpha > 0; found 0"),
        ("dirichlet(alpha='x')", "`dirichlet` needs alpha > 0; found 'x'"),
        ("dirichlet(alpha=1e999)", "`dirichlet` needs alpha > 0; found inf"),
        ("dirichlet", "`dirichlet` needs `alpha`, for instance dirichlet(alpha=0.3); found"),
        ("dirichlet(beta=1)", "`dirichlet` has no parameter `beta`; it takes `alpha`, `min_size`"),
        (
            "dirichlet(alpha=1, min_size=0)",
            "`dirichlet` needs an integer min_size ≥ 1; found 0",
        ),
        ("classes(per=0.5)", "`classes` needs an integer per ≥ 1; found 0.5"),
        ("dirichlit(alpha=1)", "unknown partition `dirichlit` in 'dirichlit(alpha=1)'; did you"),
        ("iid(", "a partition is a name with parameters, such as name(parameter=1); found 'iid('"),
        ("__import__('os').getcwd()", "a partition is a name with parameters; found"),
    ],
)
def test_a_wrong_spec_is_refused_with_its_reason(spec, message):
    with pytest.raises(SpecError) as caught:
        parse_partition(spec)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("spec", "parts", "message"),
    [
        ("iid", 211, "`iid` needs between 1 and 210 clients for 210 rows; found 211"),
        ("iid", 0, "`iid` needs between 1 and 210 clients for 210 rows; found 0"),
        ("shared", 0, "`shared` needs one or more clients for 210 rows; found 0"),
        ("classes(per=2)", 9, "`classes` needs per × classes = 2 × 5 clients; found 9"),
        ("classes(per=41)", 205, "`classes` needs at least per = 41 rows in every class; found 40"),
        (
            "dirichlet(alpha=0.001)",
            100,
            "`dirichlet` needs a larger alpha or fewer clients to give each of 100 clients "
            "min_size = 1 of 210 rows; found alpha = 0.001",
        ),
    ],
)
def test_an_impossible_division_is_refused_with_its_reason(spec, parts, message, labels):
    with pytest.raises(ExperimentError) as caught:
        parse_partition(spec).split(labels, parts, 1)
    assert str(caught.value) == message


def test_more_clients_than_rows_may_share_them(labels):
    shares = parse_partition("shared").split(labels, 1000, 1)
    assert len(shares) == 1000
    assert all(len(share) == len(labels) for share in shares)


def test_flower_datasets_draws_as_before(labels):
    parse_partition("dirichlet(alpha=1)").split(labels, 3, 1)
    from flwr_datasets.visualization import plot_label_distributions

    assert plot_label_distributions.__module__.startswith("flwr_datasets.visualization")
