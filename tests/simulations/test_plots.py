"""The picture of accuracies: what it says, and that it stays readable."""

from __future__ import annotations

import itertools

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
    "ten": [f"krum(p={p})" for p in range(2, 12)],
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


def test_ten_lines_all_look_different():
    _, axes, _ = drawn([run(rule=rule) for rule in RULES["ten"]])
    looks = {(line.get_color(), line.get_linestyle()) for line in axes.get_lines()}
    assert len(looks) == 10


def test_more_lines_are_rows_of_a_heat_map_the_best_at_the_top():
    figure = accuracy_figure([run((0.1, p / 100), rule=f"krum(p={p})") for p in range(2, 62)])
    figure.canvas.draw()
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [f"krum(p={p})" for p in range(61, 1, -1)]
    cells = [mesh.get_array().ravel().tolist() for mesh in axes.collections]
    assert cells == [[0.1, p / 100] for p in range(61, 1, -1)]
    heights = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert all(lower.y1 < upper.y0 for upper, lower in itertools.pairwise(heights))


def test_the_title_states_only_what_all_runs_have_in_common():
    _, axes, _ = drawn([run(), run(rule="median")])
    assert axes.get_title(loc="left") == (
        "Test accuracy under the attack foe(tau=10)\n"
        "13 clients, 3 of them malicious, digits, partition iid, model mlp"
    )
    others = {"attack": "alie(tau=1.5)", "n": 17, "partition": "extreme", "dataset": "mnist"}
    _, axes, legend = drawn([run(), run(**others)])
    assert axes.get_title(loc="left") == "Test accuracy\n3 malicious clients, model mlp"
    assert legend.get_texts()[1].get_text() == (
        "mean, attack = alie(tau=1.5), n = 17, dataset = mnist, partition = extreme: 90.0%"
    )
    _, axes, _ = drawn([run(attack="none")])
    assert axes.get_title(loc="left").startswith("Test accuracy without attack\n13 clients, digits")


def test_runs_without_attack_stand_beside_the_others_for_reference():
    runs = [run(), run(rule="median"), run((0.1, 0.6, 0.95), attack="none", f=0)]
    _, axes, legend = drawn(runs)
    assert axes.get_title(loc="left").startswith("Test accuracy under the attack foe(tau=10)\n")
    assert [text.get_text() for text in legend.get_texts()] == [
        "mean: 90.0%",
        "median: 90.0%",
        "no attack, mean, f = 0: 95.0%",
    ]
    colours = [line.get_color() for line in axes.get_lines()]
    assert colours[2] == "black" not in colours[:2]


def test_chance_is_a_line_where_all_runs_have_the_same():
    def with_chance(level, **options):
        found = run(**options)
        found.summary = {"chance": level}
        return found

    _, axes, legend = drawn([with_chance(0.125), with_chance(0.125, rule="median")])
    assert legend.get_texts()[2].get_text() == "chance, always one class: 12.5%"
    assert list(axes.get_lines()[2].get_ydata()) == [0.125, 0.125]
    _, axes, _ = drawn([with_chance(0.125), with_chance(0.5, dataset="other")])
    assert len(axes.get_lines()) == 2


@pytest.mark.parametrize("rounds", [1, 2, 20, 199, 200, 1501])
def test_the_last_round_has_a_tick_of_its_own(rounds):
    _, axes, _ = drawn([run([0.1] * (rounds + 1))])
    ticks = list(axes.get_xticks())
    assert ticks[-1] == rounds
    labels = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert all(one.x1 < other.x0 for one, other in itertools.pairwise(labels))


def test_seeds_are_one_line_with_a_band():
    runs = [run((0.1, 0.2 * seed), rule=rule, seed=seed) for seed in (1, 2, 3) for rule in "ab"]
    _, axes, legend = drawn([*runs, run(rule="c")])
    assert [text.get_text() for text in legend.get_texts()] == [
        "a: 40.0%",
        "b: 40.0%",
        "c: 90.0%",
        "mean of 3 seeds, from lowest to highest",
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
