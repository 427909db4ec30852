"""What a benchmark may claim: medians of pairs, and no ratio of runs that disagree."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import byzflower as bf
from byzflower.simulations.bench import (
    attacks,
    many,
    measure,
    peers,
    rules,
    startup,
    strategies,
    sweep,
    training,
)
from byzflower.simulations.bench.byzfl_benchmark import accuracies, write_benchmark
from byzflower.simulations.bench.measure import compare, peak_memory, relative_difference
from byzflower.simulations.cli import bench as command
from byzflower.simulations.cli.app import app
from byzflower.simulations.datasets import Dataset
from byzflower.simulations.errors import ExperimentError
from byzflower.simulations.sweep.cells import folder_of
from byzflower.simulations.sweep.grid import expand

TINY = ((9, 300, 2),)


class Clock:
    """A clock that only the subjects move."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(measure.time, "perf_counter", lambda: self.now)

    def subject(self, *seconds: float, value: float | None = None):
        """Return a function that takes so long at each call, the first being the warm-up."""
        left = list(seconds)

        def run():
            self.now += left.pop(0)
            return None if value is None else torch.tensor([value, 1.0])

        return run


def test_a_ratio_is_the_median_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    ours = clock.subject(9.0, 1.0, 2.0, 4.0, value=1.0)
    theirs = clock.subject(9.0, 3.0, 4.0, 4.0, value=1.0)
    first, second = compare("s", "c", {"ours": ours, "theirs": theirs}, repeats=3)
    assert (first.seconds, first.fastest, first.slowest, first.ratio) == (2.0, 1.0, 4.0, 1.0)
    assert (second.seconds, second.ratio) == (4.0, 2.0)  # of 3, 2 and 1


def test_no_ratio_where_results_disagree(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    subjects = {
        "ours": clock.subject(1, 1, value=1.0),
        "other": clock.subject(1, 1, value=1.1),
        "not a number": clock.subject(1, 1, value=math.nan),
        "a limit": clock.subject(1, 1),
    }
    found = {row.subject: row.ratio for row in compare("s", "c", subjects, repeats=1)}
    assert found == {"ours": 1.0, "other": None, "not a number": None, "a limit": 1.0}
    again = {
        "ours": clock.subject(1, 1, value=1.0),
        "other": clock.subject(1, 1, value=1.1),
    }
    _, other = compare("s", "c", again, repeats=1, tolerance={"other": 0.2})
    assert other.ratio == 1.0


def test_the_slow_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    ours, slow = clock.subject(*[1.0] * 5), clock.subject(60.0, 60.0)
    rows = compare("s", "c", {"ours": ours, "slow": slow}, repeats=4)
    assert [row.ratio for row in rows] == [1.0, 60.0]


def test_differences_are_relative_to_the_scale() -> None:
    a, b = torch.tensor([3.0, 4.0]), torch.tensor([3.0, 5.0])
    assert relative_difference(b, a) == pytest.approx(0.2)
    assert relative_difference(b, a, scale=10.0) == pytest.approx(0.1)
    assert relative_difference(None, a) is None


def test_peak_memory_is_what_a_call_holds() -> None:
    found = peak_memory(lambda: torch.ones(16_000_000))
    if found is None:
        pytest.skip("the system keeps no account that can be reset")
    assert 60 < found < 80


@pytest.mark.parametrize("spec", ["median", "trimmed_mean", "multi_krum", "multi_krum_star"])
def test_peers_are_given_the_same_problem(spec: str) -> None:
    x = torch.randn(11, 60, generator=torch.Generator().manual_seed(0))
    x[9:] += 5
    found = peers.aggregations(spec, 11, 2)
    assert "Flower" in found or spec == "multi_krum_star"
    for aggregation in found.values():
        torch.testing.assert_close(aggregation(x), bf.parse(spec)(x, f=2), rtol=1e-4, atol=1e-5)


def test_rules_against_limits_and_peers() -> None:
    cases = list(rules.bench_rules(TINY, repeats=1))
    assert {rows[0].subject for rows in cases} >= {"median", "trimmed_mean", rules.PIPELINE}
    for rows in cases:
        assert {row.case for row in rows} == {"n=9 d=300 f=2"}
        assert all(row.seconds > 0 for row in rows)
    flower = [row for rows in cases for row in rows if row.subject.startswith("Flower")]
    assert {row.subject for row in flower} == {
        "Flower median",
        "Flower trimmed_mean",
        "Flower multi_krum",
    }
    assert all(row.ratio is not None for row in flower)


def test_searches_against_one_aggregation() -> None:
    specs = ("krum", "nnm > trimmed_mean")
    cases = list(attacks.bench_attacks(TINY, repeats=1, rules=specs))
    assert len(cases) == 2
    for rows in cases:
        assert [row.subject for row in rows] == [
            "one aggregation",
            "alie(tau=adaptive)",
            "foe(tau=adaptive)",
        ]
        assert all(row.ratio and row.ratio > 0 for row in rows)


@pytest.mark.slow
def test_engines_against_the_clients_alone() -> None:
    experiment = dataclasses.replace(training.DIGITS, rounds=3, n=5, f=1)
    (rows,) = training.bench_engines(experiment, ["batched", "inprocess"], repeats=1)
    subjects = [row.subject for row in rows]
    assert subjects[0] == "clients alone, vmapped"
    assert subjects[-2:] == ["batched", "inprocess"]
    assert all(row.ratio is not None for row in rows)
    growth = list(training.bench_growth((2, 4), repeats=1))
    assert [row.case for (row,) in growth] == ["n=2, digits mlp", "n=4, digits mlp"]


def test_engines_must_agree_and_a_peer_roughly(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = {"batched": 0.9, "inprocess": 0.9005, "ray": 0.91, "ByzFL": 0.8}
    monkeypatch.setattr(training, "_limits", lambda _: {"alone": lambda: (1.0, None)})
    monkeypatch.setattr(training, "_engine", lambda e: lambda: (1.0, ends[e.engine]))
    monkeypatch.setattr(training, "_peer", lambda _: lambda: (1.0, ends["ByzFL"]))
    monkeypatch.setattr(training, "byzfl_rounds", lambda _: lambda rounds: 0.8)
    (engines,) = training.bench_engines(training.DIGITS, ["batched", "inprocess", "ray"], repeats=1)
    (peers_,) = training.bench_end_to_end(training.DIGITS, repeats=1)
    ratios = {row.subject: row.ratio for row in (*engines, *peers_)}
    assert ratios == {"alone": 1, "batched": 1, "inprocess": 1, "ray": None, "ByzFL": 1}


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there_is_refused_before_anything_is_made(tmp_path) -> None:
    out = tmp_path / "out"
    arguments = ["bench", "rules", "--device", "cuda", "--out", str(out)]
    with pytest.raises(ExperimentError, match="`device` needs a usable device; found 'cuda'"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert not out.exists()


def test_the_command_prints_a_table_and_leaves_results(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(rules, "CASES", TINY)
    done = CliRunner().invoke(app, ["bench", "rules", "--repeats", "1", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "one read of the data" in done.output
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert {"median", "one X @ X.T"} <= {line.get("subject") for line in lines}


def test_disagreement_is_printed_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    row = measure.Row("rules", "case", "peer", "ours", 1.0, 1.0, 1.0, None, 0.5)
    command.show([dataclasses.replace(row, subject="ours", ratio=1.0), row])
    assert "disagree" in capsys.readouterr().out


def test_start_up_is_measured_in_processes_of_their_own() -> None:
    # Longer than what is asked for below: the clock of a child process ticks in hundredths.
    busy = "import time\nend = time.process_time() + 0.15\nwhile time.process_time() < end: pass"
    clock, processor = startup.bench_startup({"none": ("-c", ""), "0.1": ("-c", busy)}, repeats=2)
    assert [rows[0].case for rows in (clock, processor)] == ["clock", "processor time"]
    assert processor[0].fastest > 0  # of a process that may end before the first tick
    for rows in (clock, processor):
        assert [(row.subject, row.reference) for row in rows] == [("none", "none"), ("0.1", "none")]
        assert rows[0].ratio == 1.0
        assert rows[1].fastest >= 0.1


def test_a_command_that_fails_is_not_measured() -> None:
    code = "import sys; print('no such luck', file=sys.stderr); sys.exit(3)"
    with pytest.raises(RuntimeError, match="ends with 3: no such luck"):
        startup.bench_startup({"it": ("-c", code)}, repeats=1)


@pytest.mark.parametrize("name", startup.COMMANDS)
def test_what_start_up_measures_are_commands_that_work(name: str) -> None:
    assert min(startup._run(startup.COMMANDS[name])) > 0


def test_rounds_of_strategies_against_fedavg_s() -> None:
    for carrier in ("bytes", "tensors"):
        row = measure.Row(**strategies.measure_one("Robust(FedAvg)", carrier, 11, 70_000, 2, 1))
        assert (row.subject, row.reference) == ("Robust(FedAvg)", "FedAvg")
        assert row.case == f"n=11 d=70,000 f=2, {carrier}"
        assert row.difference < 1e-4
        assert row.ratio > 0
        assert row.of_parts > 0


@pytest.mark.parametrize("name", ["FedAvg", strategies.ALONE, "Robust(ServerSGD)", "Bulyan"])
def test_every_kind_of_subject_has_its_round(name: str) -> None:
    row = measure.Row(**strategies.measure_one(name, "bytes", 11, 3000, 2, 1))
    assert (row.subject, row.difference) == (name, None)
    assert row.ratio > 0


def test_no_ratio_where_a_strategy_s_step_is_not_the_rule_s(monkeypatch) -> None:
    monkeypatch.setattr(strategies, "_TOLERANCE", -1.0)
    row = strategies.measure_one("Robust(FedAvg)", "bytes", 11, 3000, 2, 1)
    assert row["ratio"] is row["of_parts"] is None


def test_strategies_are_measured_in_processes_of_their_own() -> None:
    row = strategies._in_a_process("Robust(FedAdam)", "bytes", 11, 3000, 2, 1)
    assert row.subject == "Robust(FedAdam)"
    assert row.peak_mb is None or row.peak_mb >= 0
    with pytest.raises(RuntimeError, match=r"ends with 1: (?s:.*)InfeasibleError"):
        strategies._in_a_process("Robust(FedAdam)", "bytes", 5, 3000, 3, 1)


@pytest.mark.slow
def test_growth_is_measured_in_processes_and_drawn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(many, "_SPECS", ("trimmed_mean",))
    found = list(many.bench_many((5, 9)))
    assert [rows[0].case for rows in found] == ["trimmed_mean, n=5", "trimmed_mean, n=9"]
    for rows in found:
        assert rows[0].subject == "byzflower"
        assert all(row.ratio is not None and row.seconds > 0 for row in rows)
    many.draw_growth([row for rows in found for row in rows], tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_growth_is_of_rules_alone(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["bench", "startup", "--many", "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert "needs the suite rules" in done.output


@pytest.mark.slow
@pytest.mark.ray
def test_a_sweep_is_measured_against_the_same_cells_one_by_one() -> None:
    few = {**sweep.DIGITS_CELLS, "rounds": 2, "evaluate_every": 2, "attack": "sign_flip", "seed": 1}
    rows = sweep.bench_sweep(few, repeats=1)
    assert [row.subject for row in rows] == ["one by one, in one process", "byzflower sweep"]
    assert all(row.ratio is not None and row.difference == 0 for row in rows)
    assert rows[0].case == "2 cells: digits, 2 rounds"


def test_a_grid_that_fails_is_not_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sweep, "_ONE_BY_ONE", "import sys; sys.exit(f'no {sys.argv[2]}')")
    with pytest.raises(RuntimeError, match="ends with 1: no out"):
        sweep._one_by_one({"rounds": 1}, tmp_path)


def test_cells_one_by_one_end_with_the_first_that_fails(tmp_path: Path) -> None:
    options = {"rounds": 1, "evaluate_every": 1, "rule": ["median", "krum"]}
    file = sweep._written(options, tmp_path)
    _, blocked = (folder_of(tmp_path, cell.experiment) for cell in expand(options))
    blocked.parent.mkdir()
    blocked.write_text("in the way")
    with pytest.raises(ExperimentError, match=r"cell rule = krum: .*needs a writable folder"):
        sweep.run_one_by_one(file, str(tmp_path))


def test_byzfl_is_given_the_same_grid_and_the_same_images(tmp_path: Path) -> None:
    vision = pytest.importorskip("torchvision")
    rng = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (6, 1, 28, 28), generator=rng)
    images = (pixels / 255 - 0.1307) / 0.3081
    labels = torch.arange(6)
    data = Dataset("mnist10k", images[:4], labels[:4], images[4:], labels[4:], 10)
    write_benchmark(sweep.MNIST_CELLS, data, tmp_path)
    for train, rows in ((True, slice(4)), (False, slice(4, 6))):
        found = vision.datasets.MNIST(tmp_path / "data", train=train)
        assert torch.equal(found.data, pixels[rows].squeeze(1).byte())
        assert found.targets.tolist() == labels[rows].tolist()
    config = json.loads((tmp_path / "config.json").read_text())
    axes = [config["benchmark_config"][name] for name in ("f", "data_distribution")]
    axes += [config["aggregator"], config["attack"]]
    assert math.prod(map(len, axes)) == len(expand(sweep.MNIST_CELLS)) == 54
    assert [step["name"] for step in config["pre_aggregators"]] == ["ARC", "NNM"]


def test_byzfl_s_best_accuracies_are_read(tmp_path: Path) -> None:
    for name, line in (("a", "0.1,0.5,0.4"), ("b", "0.25,0.2,0.1")):
        folder = tmp_path / "results" / name
        folder.mkdir(parents=True)
        (folder / "test_accuracy_tr_seed_1_dd_seed_1.txt").write_text(line)
    assert accuracies(tmp_path) == [0.5, 0.25]
