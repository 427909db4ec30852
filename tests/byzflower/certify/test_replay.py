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
