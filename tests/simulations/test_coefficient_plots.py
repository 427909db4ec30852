"""The PNGs of coefficients: written, and drawn from the theory."""

from __future__ import annotations

import pytest

pytest.importorskip("matplotlib")

from byzflower.certify import certify
from byzflower.simulations.coefficient_plots import plot_coefficients, plot_learning_error

PNG = b"\x89PNG\r\n\x1a\n"


def test_coefficients(tmp_path):
    plain, marked = tmp_path / "plain.png", tmp_path / "marked.png"
    plot_coefficients(7, plain)
    plot_coefficients(7, marked, found=[certify("median", 7, 2, dimension=1, evaluations=40)])
    assert plain.read_bytes().startswith(PNG)
    assert plain.read_bytes() != marked.read_bytes()


def test_an_unbounded_certificate_leaves_no_mark(tmp_path):
    plain, same = tmp_path / "plain.png", tmp_path / "same.png"
    plot_coefficients(7, plain, d=2)
    plot_coefficients(7, same, d=2, found=[certify("mean", 7, 2)])
    assert plain.read_bytes() == same.read_bytes()


def test_learning_error(tmp_path):
    few, many = tmp_path / "few.png", tmp_path / "many.png"
    plot_learning_error(7, few)
    plot_learning_error(30, many)
    assert few.read_bytes().startswith(PNG)
    assert few.read_bytes() != many.read_bytes()
