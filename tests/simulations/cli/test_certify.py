"""``byzflower certify``: output, files, and mistakes."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

pytest.importorskip("typer")

from byzflower.certify import replay
from byzflower.simulations.results import read_records

KEYS = [
    "rule",
    "n",
    "f",
    "lambda_bound",
    "lambda_found",
    "kappa_bound",
    "kappa_found",
    "holds",
    "counterexample",
]


def test_json_of_a_rule_with_a_theorem(call, tmp_path):
    code, out, err = call(
        *("certify", "mda", "--n", 7, "--f", 2, "--dimension", 2, "--evaluations", 60, "--json")
    )
    record = json.loads(out)
    assert (code, err) == (0, "")
    assert list(record) == KEYS
    assert record["lambda_bound"] == pytest.approx(0.8)
    assert 0.4 <= record["lambda_found"] <= 0.8
    assert record["kappa_bound"] is None
    assert record["holds"] is True
    assert record["counterexample"] is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rule", ["cge", "clip(c=2) > median", "mean"])
def test_a_broken_rule_yields_a_counterexample_and_exit_code_0(call, tmp_path, rule):
    code, out, _ = call("certify", rule, "--n", 7, "--f", 2, "--json")
    assert code == 0
    record = json.loads(out, parse_constant=pytest.fail)  # strict JSON
    assert record["holds"] is False
    assert record["lambda_found"] is None
    assert replay(tmp_path / record["counterexample"]).ratios.unbounded


def test_no_theorem_is_null(call):
    _, out, _ = call(
        *("certify", "krum", "--n", 7, "--f", 2, "--dimension", 1, "--evaluations", 40, "--json")
    )
    record = json.loads(out)
    assert (record["lambda_bound"], record["kappa_bound"], record["holds"]) == (None, None, None)


def test_results_and_inputs_go_to_the_folder(call, tmp_path):
    for seed in (0, 1):
        call(
            *("certify", "nnm > median", "--n", 7, "--f", 2, "--dimension", 2),
            *("--evaluations", 40, "--seed", seed, "--out", tmp_path / "out", "--json"),
        )
    call("certify", "cge", "--n", 7, "--f", 2, "--out", tmp_path / "out")
    first, second, broken = read_records(tmp_path / "out")
    assert {first["kind"], second["kind"], broken["kind"]} == {"certificate"}
    assert first["run"] != second["run"]
    assert set(KEYS) <= set(first)
    assert first["source"] == "ARC Lemma 2.5"
    assert (broken["lambda_found"], broken["unbounded"]) == (None, True)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"nnm-median-n7-f2-lambda.npz", "nnm-median-n7-f2-kappa.npz"} <= names
    assert broken["counterexample"] in names


def test_the_table_says_what_was_found(call):
    arguments = ("--n", 7, "--f", 2, "--dimension", 1, "--evaluations", 60)
    _, out, _ = call("certify", "trimmed_mean", *arguments)
    assert "≤ 0.4" in out
    assert "no violation found: every input tried respects RESAM Proposition 4" in " ".join(
        out.split()
    )
    _, out, _ = call("certify", "mean", *arguments)
    assert "unbounded" in out
    assert "violated: identical honest rows" in " ".join(out.split())
    _, out, _ = call("certify", "bucketing(s=2) > median", "--n", 12, *arguments[2:])
    assert "one fixed draw known to the adversary" in " ".join(out.split())
    assert "no theorem in these papers" in out
    _, out, _ = call("certify", "multi_krum", *arguments)
    assert "also proved, not searched: AggregaThor Lemma 1" in " ".join(out.split())


def test_plots_need_no_rule(call, tmp_path):
    pytest.importorskip("matplotlib")
    code, out, err = call("certify", "--plot", "--n", 7, "--out", tmp_path / "plots")
    assert (code, out) == (0, "")
    assert "coefficients.png" in err
    names = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert names == ["coefficients.png", "learning_error.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope", "--n", 7, "--f", 2], "unknown rule `nope`"),
        (["median", "--n", 10, "--f", 5], "`median` needs n ≥ 2f+1 rows; found n = 10, f = 5"),
        (["mixtailor", "--n", 11, "--f", 2], "`certify` needs one fixed rule"),
        (["median > nnm"], "median"),
        (["median", "--f", -1], "-1 is not in the range"),
        (["median", "--seed", 99999999999999999999], "is not in the range"),
        (["median", "--n", "many"], "'many' is not a valid integer"),
        (["median", "--dimension", 0], "0 is not in the range"),
        ([], "needs a rule, --plot or --replay"),
        (["--plot", "--n", 2], "--plot needs n ≥ 3; found n = 2"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(call, arguments, message):
    code, out, err = call("certify", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_an_out_that_is_a_file_is_a_mistake(call, tmp_path):
    (tmp_path / "taken").write_text("")
    code, _, err = call("certify", "cge", "--n", 7, "--f", 2, "--out", tmp_path / "taken")
    assert code == 2
    assert err.count("\n") == 1


def test_a_saved_input_is_replayed(call, tmp_path):
    call("certify", "cge", "--n", 7, "--f", 2, "--evaluations", 60, "--out", "found")
    code, out, err = call("certify", "--replay", "found/cge-n7-f2-counterexample.npz")
    assert (code, err) == (0, "")
    ratios = replay(tmp_path / "found" / "cge-n7-f2-counterexample.npz").ratios
    shown = "unbounded" if math.isinf(ratios.lam) else f"{ratios.lam:.4g}"
    assert out.startswith("cge: n = 7, f = 2, d = ")
    assert f"λ ≥ {shown}" in out
    _, out, _ = call("certify", "--replay", "found/cge-n7-f2-counterexample.npz", "--json")
    assert json.loads(out)["lambda_found"] == (ratios.lam if math.isfinite(ratios.lam) else None)
    code, _, err = call("certify", "krum", "--replay", "found/cge-n7-f2-lambda.npz")
    assert (code, "the saved input names its rule" in err) == (2, True)


def test_what_cannot_be_replayed_is_refused_in_a_line(call, tmp_path):
    (tmp_path / "notes.npz").write_text("not an archive")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.savez(tmp_path / "words.npz", rule="mean", f=1, seed=0, rows="words", honest="words")
    np.savez_compressed(tmp_path / "bits.npz", rule="mean", f=1, seed=0, rows=np.eye(50))
    content = bytearray((tmp_path / "bits.npz").read_bytes())
    content[100:400] = bytes(300)
    (tmp_path / "bits.npz").write_bytes(content)
    for stem in ("missing", "notes", "empty", "words", "bits"):
        code, out, err = call("certify", "--replay", f"{stem}.npz")
        assert (code, out) == (2, "")
        assert "`replay` needs a saved input (.npz); found" in err
        assert err.count("\n") == 1
