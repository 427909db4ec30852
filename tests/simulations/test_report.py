"""Results as a frame, what a report makes of them, and its page."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from byzflower.simulations import load_results
from byzflower.simulations.cli import main
from byzflower.simulations.errors import ExperimentError
from byzflower.simulations.recording import record_run
from byzflower.simulations.report.beside import beside
from byzflower.simulations.report.heatmaps import heatmaps
from byzflower.simulations.report.outcomes import chosen_only, outcomes, varying, worst_case
from byzflower.simulations.report.page import write_report
from byzflower.simulations.report.ranking import ranking
from byzflower.simulations.results import ResultsFile
from byzflower.simulations.sweep.cells import folder_of, note_failure
from byzflower.simulations.sweep.engine import run_cell
from byzflower.simulations.sweep.grid import Grid, expand
from byzflower.simulations.sweep.manifest import Manifest

GRID = {
    **{"rounds": 2, "model": "softmax", "partition": ["iid", "extreme"], "n": 6, "f": [1, 2]},
    **{"rule": ["arc > trimmed_mean", "mda"], "attack": "sign_flip", "seed": 1},
    "exclude": [{"partition": "extreme", "f": 2}],
}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    cells = tuple(expand(GRID))
    numbers = [{"rule": "mda", "f": 1, "worst": 51.6, "where": "Table 1"}]
    Manifest.of(Grid("a small <sweep>", cells), {"numbers": numbers}).write(folder)
    for cell in cells:
        assert not run_cell(cell.experiment, folder_of(folder, cell.experiment)).cause
    return folder


def runs_of(*rows):
    """Return outcomes as `outcomes` does, from rule, attack, f, seed, accuracy, validation."""
    names = ("rule", "attack", "f", "seed", "maximal", "validation_accuracy")
    frame = pd.DataFrame(rows, columns=names).assign(run=range(len(rows)), n=lambda t: t["f"] + 10)
    frame["final"] = frame["maximal"] - 0.1
    rest = [name for name in load_columns() if name not in frame]
    return frame.assign(**dict.fromkeys(rest, "same"))


def load_columns():
    from byzflower.simulations.frame import OPTIONS

    return OPTIONS


def test_the_frame_has_a_row_a_round_and_one_schema(swept):
    frame = load_results(swept)
    assert len(frame) == 6 * 3
    assert frame["run"].nunique() == 6
    assert set(frame["rule"]) == {"arc > trimmed_mean", "mda"}
    assert frame["round"].tolist()[:3] == [0, 1, 2]
    assert frame["accuracy"].between(0, 1).all()
    assert frame["finished"].all()
    clipped = frame[frame["rule"].str.startswith("arc") & (frame["round"] > 0)]
    assert all(
        len(norms) == 6 - f
        for norms, f in zip(*[clipped[k] for k in ("honest_norms", "f")], strict=True)
    )
    assert frame[frame["rule"] == "mda"]["threshold"].isna().all()


def test_a_file_with_a_broken_last_line_is_read_up_to_it(swept, tmp_path):
    (first, *_) = (swept / "cells").iterdir()
    content = (first / "results.jsonl").read_bytes()
    cut = tmp_path / "results.jsonl"
    cut.write_bytes(content[: content.rindex(b'"kind": "summary"')])
    frame = load_results(cut)
    assert frame["round"].tolist() == [0, 1, 2]
    assert not frame["finished"].any()
    with pytest.raises(ExperimentError, match="results need"):
        load_results(tmp_path / "nowhere")


def test_the_worst_case_is_the_least_over_attacks_of_the_mean_over_seeds():
    runs = runs_of(
        ("mda", "foe", 1, 1, 0.9, 0), ("mda", "foe", 1, 2, 0.7, 0),
        ("mda", "alie", 1, 1, 0.6, 0), ("mda", "alie", 1, 2, 0.8, 0),
        ("mda", "foe", 2, 1, 0.5, 0), ("mda", "alie", 2, 1, 0.4, 0),
    )  # fmt: skip
    assert varying(runs) == ["f", "attack"]  # n follows f
    assert worst_case(runs, ["f"], "maximal").to_dict() == pytest.approx({1: 0.7, 2: 0.4})
    assert worst_case(runs, ["f"], "final").to_dict() == pytest.approx({1: 0.6, 2: 0.3})
    (maximal, _) = heatmaps(runs)
    assert maximal.table[["f", "worst case"]].values.tolist() == [[1, "70.0%"], [2, "40.0%"]]


def test_rules_are_ranked_within_each_setting():
    runs = runs_of(
        ("mda", "foe", 1, 1, 0.9, 0), ("krum", "foe", 1, 1, 0.8, 0), ("cge", "foe", 1, 1, 0.2, 0),
        ("mda", "alie", 1, 1, 0.5, 0), ("krum", "alie", 1, 1, 0.6, 0),
        ("cge", "alie", 1, 1, 0.4, 0),
    )  # fmt: skip
    (panel,) = ranking(runs)
    ranks = panel.table.set_index("subject")["mean rank"].to_dict()
    assert ranks == {"mda": 1.5, "krum": 1.5, "cge": 3.0}
    assert panel.table.set_index("subject")["worst case"]["mda"] == "50.0%"
    assert not list(ranking(runs[runs["rule"] == "mda"]))


def test_the_choice_is_the_best_worst_case_on_rows_held_out():
    rows = [
        ("mda", attack, 1, seed, 0.99 if rate == 0.1 else 0.5, accuracy, rate)
        for rate, by_attack in {0.1: (0.9, 0.2), 0.5: (0.6, 0.5)}.items()
        for attack, accuracy in zip(("foe", "alie"), by_attack, strict=True)
        for seed in (1, 2)
    ]
    runs = runs_of(*(row[:-1] for row in rows)).assign(learning_rate=[row[-1] for row in rows])
    kept = chosen_only(runs, ["learning_rate"])
    assert set(kept["learning_rate"]) == {0.5}
    assert len(kept) == 4


def test_ours_stands_beside_the_papers(swept):
    runs = outcomes(load_results(swept))
    numbers = [
        {"rule": "mda", "f": 1, "worst": 51.6, "where": "Table 1"},
        {"rule": "krum", "maximal": 90, "where": "Section 5"},
    ]
    (panel,) = beside(runs, {"numbers": numbers})
    known, unknown = panel.table.to_dict("records")
    mine = runs[(runs["rule"] == "mda") & (runs["f"] == 1)]["maximal"].min()
    assert known["ours"] == f"{100 * mine:.1f}%"
    assert known["difference"] == f"{100 * mine - 51.6:+.1f}"
    assert (unknown["paper"], unknown["ours"], unknown["difference"]) == ("90.0%", "–", "–")


def test_the_page_needs_nothing_else(swept):
    page = write_report(swept, {"csv", "latex", "pdf"})
    text = page.read_text()
    assert "a small &lt;sweep&gt;" in text
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    assert "6 of 6 runs finished" in text
    for name in ("curves", "norms", "labels", "ranking", "worst-case-maximal", "beside-the-paper"):
        for suffix in ("png", "svg", "pdf", "csv", "tex"):
            assert (page.parent / f"{name}.{suffix}").stat().st_size > 0
    assert text.count("<img") == len(list(page.parent.glob("*.svg")))


def test_a_report_tells_of_cells_that_failed_or_were_never_begun(small, tmp_path):
    cells = tuple(expand({**GRID, "partition": "iid", "exclude": [], "f": 1}))
    Manifest.of(Grid("two", cells)).write(tmp_path)
    first, second = (folder_of(tmp_path, cell.experiment) for cell in cells)
    run_cell(cells[0].experiment, first)
    note_failure(second, "RuntimeError: out of luck", attempts=2)
    text = write_report(tmp_path).read_text()
    assert "1 of 2 runs finished. Failed: rule = mda: RuntimeError: out of luck." in text


def test_a_single_run_has_a_report_too(small, tmp_path):
    with ResultsFile(tmp_path) as results:
        record_run(small(), results)
    text = write_report(tmp_path).read_text()
    assert "1 of 1 runs finished" in text
    assert "Accuracy by round" in text


def test_a_report_of_nothing_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["report", str(tmp_path)])
    assert ended.value.code == 2
    assert "results need" in capsys.readouterr().err
