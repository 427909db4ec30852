"""The PNGs of coefficients: written, and drawn from the theory."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("matplotlib")

from byzflower.certify import certify
from byzflower.simulations import coefficient_plots
from byzflower.simulations.coefficient_plots import plot_coefficients, plot_learning_error
from byzflower.theory import byrd_saga, resam

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Return a function: plot's arguments → the axes, after a look at the file."""
    figures = []
    made = coefficient_plots.new_figure
    keep = lambda *size: figures.append(made(*size)) or figures[-1]  # noqa: E731
    monkeypatch.setattr(coefficient_plots, "new_figure", keep)

    def draw(plot, *arguments, **options):
        plot(*arguments, tmp_path / "plot.png", **options)
        assert (tmp_path / "plot.png").read_bytes().startswith(PNG)
        return figures[-1].axes

    return draw


def test_all_rules_have_one_colour_each_and_what_is_proved(drawn):
    left, right = drawn(plot_coefficients, 11)
    curves = {line.get_label(): line for line in left.get_lines()}
    for rule in resam.RESILIENT_RULES:
        proved = [resam.resilience_coefficient(rule, 11, f) for f in range(1, 6)]
        assert list(curves[rule].get_ydata()) == proved
    *rules, floor = left.get_lines()
    assert len({line.get_color() for line in rules}) == len(rules)
    assert [line.get_color() for line in rules] == [ln.get_color() for ln in right.get_lines()[:-1]]
    assert floor.get_label() == "no rule is below"


def test_a_certificate_s_rule_alone_is_drawn_with_what_was_found(drawn):
    found = certify("median", 7, 2, dimension=1, evaluations=40)
    left, right = drawn(plot_coefficients, 7, found=[found])
    median, _, cross = left.get_lines()
    assert median.get_label() == "median"
    assert (cross.get_xdata(), cross.get_ydata()) == ([2], [found.lambda_found])
    assert cross.get_color() == median.get_color()
    assert [text.get_text() for text in right.texts] == [
        "median: no theorem gives one",
        f"found: {found.kappa_found:.3g}",
    ]


def test_an_unbounded_certificate_says_so(drawn):
    left, _ = drawn(plot_coefficients, 7, d=2, found=[certify("mean", 7, 2)])
    assert left.texts[-1].get_text() == "mean, f = 2: found unbounded"
    assert len(left.get_lines()) == 2


def test_learning_error(drawn):
    (axes,) = drawn(plot_learning_error, 30)
    assert list(axes.get_lines()[0].get_xdata()) == list(range(15))
    for line, s in zip(axes.get_lines(), (1, 2, 3, 4), strict=True):
        assert list(line.get_ydata()) == [error for _, error in byrd_saga.error_curve(30, s)]
        assert all(map(math.isfinite, line.get_ydata()))
