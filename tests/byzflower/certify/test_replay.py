"""Saved inputs give the ratios that were reported, for anybody."""

from __future__ import annotations

import math

import numpy as np
import pytest

from byzflower.certify import certify, replay


@pytest.mark.parametrize(
    "rule", ["krum_star", "arc > nnm > trimmed_mean", "bucketing(s=2) > median"]
)
def test_replay_reproduces_what_was_found(rule, tmp_path):
    found = certify(rule, 9, 2, dimension=2, evaluations=100, seed=7)
    again = replay(found.lambda_witness.save(tmp_path / "lambda.npz"))
    assert again.ratios == found.lambda_witness.ratios
    assert again.ratios.lam == pytest.approx(found.lambda_found)
    again = replay(found.kappa_witness.save(tmp_path / "kappa.npz"))
    assert again.ratios == found.kappa_witness.ratios
    assert again.ratios.kappa == pytest.approx(found.kappa_found)
    assert (again.rule, again.f, again.seed) == (found.rule, 2, 7)


def test_replay_reads_the_rows_not_the_saved_ratio(tmp_path):
    found = certify("cge", 7, 2)
    path = found.counterexample.save(tmp_path / "cge.npz")
    with np.load(path) as saved:
        content = dict(saved)
    assert math.isinf(content["ratios"][0])
    content["rows"] = np.zeros_like(content["rows"])
    np.savez(path, **content)
    assert replay(path).ratios.lam == 0.0


GOOD = {
    "rule": "krum",
    "f": 1,
    "seed": 0,
    "rows": np.eye(6),
    "honest": np.arange(6) != 2,
}


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"rule": 7}, "rule of 0 dimensions and type str_ needed, not of shape .* and int64"),
        ({"f": [1, 1]}, r"f of 0 dimensions .* needed, not of shape \(2,\) and int64"),
        ({"f": 1.0}, r"f of 0 dimensions and type integer needed, not of shape \(\) and float64"),
        ({"seed": np.array("x")}, "seed of 0 dimensions"),
        ({"rows": np.eye(6, dtype=int)}, "rows of 2 dimensions and type float64 .* int64"),
        ({"rows": np.ones(6)}, r"rows of 2 dimensions .* not of shape \(6,\)"),
        ({"rows": np.full((6, 2), np.nan)}, r"finite rows needed, .*; shape \(6, 2\)"),
        ({"rows": np.empty((0, 3))}, r"finite rows needed, .*; shape \(0, 3\)"),
        ({"rows": np.empty((6, 0))}, r"finite rows needed, .*; shape \(6, 0\)"),
        ({"rows": np.eye(7)}, "5 of 6 marked as honest, not n−f of n = 7 with f = 1"),
        ({"honest": np.ones(6, dtype=bool)}, "6 of 6 marked as honest, not n−f of n = 6"),
        ({"honest": np.ones(5, dtype=bool)}, "5 of 5 marked as honest, not n−f of n = 6"),
        ({"honest": np.ones(6)}, "honest of 1 dimensions and type bool"),
        ({"f": 6, "honest": np.zeros(6, dtype=bool)}, "0 of 6 marked as honest"),
    ],
)
def test_what_is_no_input_is_refused_in_a_line(changed, found, tmp_path):
    np.savez(tmp_path / "good.npz", **GOOD)
    assert replay(tmp_path / "good.npz").f == 1
    np.savez(tmp_path / "bad.npz", **GOOD | changed)
    text = rf"^`replay` needs a saved input \(\.npz\); found .*bad\.npz: {found}"
    with pytest.raises(ValueError, match=text):
        replay(tmp_path / "bad.npz")


def test_damaged_files_are_refused_in_a_line(tmp_path):
    np.savez(tmp_path / "good.npz", **GOOD)
    whole = (tmp_path / "good.npz").read_bytes()
    np.save(tmp_path / "rows.npy", np.eye(6))
    rows = (tmp_path / "rows.npy").read_bytes()
    np.savez(tmp_path / "few.npz", rows=np.eye(6))
    few = (tmp_path / "few.npz").read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + b"damaged!" + whole[middle + 8 :]
    for content in (b"", b"text", whole[:middle], flipped, rows, few):
        (tmp_path / "bad.npz").write_bytes(content)
        text = r"^`replay` needs a saved .*; found .*: no archive of rule, f, seed, rows, honest$"
        with pytest.raises(ValueError, match=text):
            replay(tmp_path / "bad.npz")
    with pytest.raises(FileNotFoundError):
        replay(tmp_path / "missing.npz")
