"""From a TOML file to the cells of a grid."""

from __future__ import annotations

import pytest

from byzflower.simulations.cli import main
from byzflower.simulations.errors import ExperimentError
from byzflower.simulations.sweep.cells import check, key_of
from byzflower.simulations.sweep.grid import expand, read_grid

QUICK = {"rounds": 2, "model": "softmax", "partition": "iid"}


def test_lists_are_axes_and_the_last_varies_fastest():
    cells = expand({**QUICK, "rule": ["median", "krum"], "lr": [0.1, 0.5], "n": 9})
    assert [(c.experiment.rule, c.experiment.learning_rate) for c in cells] == [
        ("median", 0.1),
        ("median", 0.5),
        ("krum", 0.1),
        ("krum", 0.5),
    ]
    assert cells[1].label == "rule = median, learning_rate = 0.5"


def test_the_number_of_honest_clients_holds_while_f_varies():
    cells = expand({**QUICK, "honest": 10, "f": [1, 4]})
    assert [(c.experiment.n, c.experiment.honest) for c in cells] == [(11, 10), (14, 10)]
    with pytest.raises(ExperimentError, match="`honest` takes the place of `n`"):
        expand({**QUICK, "honest": 10, "n": 11})


def test_what_is_excluded_is_left_out():
    options = {**QUICK, "rule": ["median", "krum", "mda"], "f": [1, 2]}
    cells = expand({**options, "exclude": [{"rule": ["krum", "mda"], "f": 2}]})
    assert [cell.label for cell in cells] == [
        "rule = median, f = 1",
        "rule = median, f = 2",
        "rule = krum, f = 1",
        "rule = mda, f = 1",
    ]


def test_each_case_makes_a_grid_of_its_own():
    cases = [{"n": 9, "f": 2, "attack": ["sign_flip", "foe(tau=10)"]}, {"n": 5, "f": 1}]
    cells = expand({**QUICK, "case": cases})
    assert [(c.experiment.n, c.experiment.attack) for c in cells] == [
        (9, "sign_flip"),
        (9, "foe(tau=10)"),
        (5, "foe(tau=10)"),
    ]


def test_equal_cells_are_one():
    assert len(expand({**QUICK, "rule": ["trimmed_mean", "trmean"]})) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": []}, "a grid needs at least one cell; found none: an empty list"),
        ({"f": [1, 2], "exclude": [{"f": [1, 2]}]}, "`exclude` leaves out all 2"),
        ({"f": [1, 2], "exclude": [{"f": 3}]}, r"`exclude` needs to match cells; found \{'f': 3\}"),
        (
            {"rule": ["median", "krum"], "n": 8, "f": 3},
            "cell rule = krum: `krum` needs n ≥ 2f\\+3 rows; found n = 8, f = 3",
        ),
        ({"engine": "ray"}, "`engine` needs batched or inprocess in a grid; found ray"),
        ({"case": 3}, r"`case` needs tables, each under \[\[case\]\]; found 3"),
        ({"ruel": "mean"}, "unknown option `ruel`; did you mean `rule`"),
    ],
)
def test_mistakes_are_one_line_with_the_cell(options, message):
    with pytest.raises(ExperimentError, match=message) as raised:
        expand({**QUICK, **options})
    assert "\n" not in str(raised.value)


def test_a_cell_that_its_data_do_not_fit_fails_before_anything_runs(tmp_path, capsys):
    file = tmp_path / "grid.toml"
    file.write_text('partition = ["iid", "classes(per=7)"]\nrounds = 1\n')
    with pytest.raises(SystemExit) as ended:
        main(["sweep", str(file), "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert "cell partition = classes(per=7): `classes` needs" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_key_is_of_all_that_determines_a_cell_and_of_nothing_else(tmp_path):
    def keys(**axis):
        return {key_of(cell.experiment) for cell in expand({**QUICK, **axis})}

    assert len(keys(seed=[1, 2], data_seed=[3, 4], assumed_f=[1, 2], lr=[0.1, 0.2])) == 16
    assert keys(data_dir=str(tmp_path)) == keys()


def test_a_choice_needs_rows_held_out(tmp_path):
    file = tmp_path / "grid.toml"
    file.write_text('choose = ["lr"]\nlr = [0.1, 0.5]\n')
    with pytest.raises(ExperimentError, match="`choose` needs rows held out"):
        read_grid(file)
    file.write_text('choose = ["lr"]\nlr = [0.1, 0.5]\nvalidation = 0.1\n')
    assert read_grid(file).choose == ("learning_rate",)
    check(read_grid(file).cells)
