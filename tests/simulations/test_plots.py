"""The picture of accuracies: what it says, and that it stays readable."""

from __future__ import annotations

import pytest

pytest.importorskip("matplotlib")

from byzflower.simulations.plots import accuracy_figure, plot_accuracy
from byzflower.simulations.results import Run

CONFIG = {"rule": "mean", "attack": "foe(tau=10)", "n": 13, "f": 3, "dataset": "digits"}
CONFIG |= {"partition": "iid", "model": "mlp", "seed": 1}


def run(accuracies=(0.1, 0.5, 0.9), **options):
    rounds = [{"round": t, "accuracy": value} for t, value in enumerate(accuracies)]
    return Run(CONFIG | options, rounds)


def drawn(runs):
    """Return the figure as it is saved, its axes and its legend."""
    figure = accuracy_figure(runs)
    figure.canvas.draw()
    (axes,), (legend,) = figure.axes, figure.legends
    return figure, axes, legend


LONG = "mixtailor(pool=('" + "', '".join(f"krum(p={p})" for p in range(2, 30)) + "'))"
RULES = {
    "one": ["mean"],
    "sixty": [f"krum(p={p})" for p in range(2, 62)],
    "long": [LONG, "arc > " * 20 + "median"],
}


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
def test_the_axes_keep_their_size_above_a_legend_that_fits(rules):
    _, reference, _ = drawn([run(), run(rule="median"), run(rule="krum")])
    figure, axes, legend = drawn([run(rule=rule) for rule in rules])
    box, below = axes.get_tightbbox(), legend.get_window_extent()
    size, expected = (a.get_window_extent().size for a in (axes, reference))
    assert size == pytest.approx(expected, rel=0.03)
    assert below.y1 <= box.y0
    assert min(below.x0, below.y0) >= 0
    assert below.x1 <= figure.bbox.x1
    assert len(legend.get_texts()) == len(rules)


def test_sixty_lines_all_look_different():
    _, axes, _ = drawn([run(rule=rule) for rule in RULES["sixty"]])
    looks = {(ln.get_color(), ln.get_linestyle(), ln.get_marker()) for ln in axes.get_lines()}
    assert len(looks) == 60


def test_the_title_states_only_what_all_runs_have_in_common():
    _, axes, _ = drawn([run(), run(rule="median")])
    assert axes.get_title(loc="left") == "attack foe(tau=10), n = 13, f = 3\ndigits, iid, mlp"
    others = {"attack": "none", "n": 17, "partition": "extreme", "dataset": "mnist"}
    _, axes, legend = drawn([run(), run(**others)])
    assert axes.get_title(loc="left") == "f = 3\nmlp"
    assert legend.get_texts()[1].get_text() == (
        "mean, attack = none, n = 17, dataset = mnist, partition = extreme: 90.0%"
    )


def test_seeds_are_one_line_with_a_band():
    runs = [run((0.1, 0.2 * seed), rule=rule, seed=seed) for seed in (1, 2, 3) for rule in "ab"]
    _, axes, legend = drawn([*runs, run(rule="c")])
    assert [text.get_text() for text in legend.get_texts()] == [
        "a (mean of 3 seeds, band: min–max): 40.0%",
        "b (mean of 3 seeds, band: min–max): 40.0%",
        "c: 90.0%",
    ]
    assert list(axes.get_lines()[0].get_ydata()) == pytest.approx([0.1, 0.4])
    bands = [band.get_paths()[0].get_extents() for band in axes.collections]
    assert [(band.y0, band.y1) for band in bands] == [pytest.approx((0.1, 0.6))] * 2


def test_where_things_lie_and_versions_name_no_line():
    runs = [run(data_dir="a", versions={"torch": "1"}), run(data_dir="b", rule="median")]
    _, _, legend = drawn(runs)
    assert [text.get_text() for text in legend.get_texts()] == ["mean: 90.0%", "median: 90.0%"]


def test_the_picture_is_a_png_even_of_nothing(tmp_path):
    for name, runs in {"some": [run()], "none": [], "started": [Run({"rule": "mean"})]}.items():
        plot_accuracy(runs, tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
