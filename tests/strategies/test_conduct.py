"""What `Robust` keeps about each node: in memory, in a file, and what it does with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import RecordDict
from flwr.serverapp.strategy import FedAvg

from byzflower.simulations.cli import main
from byzflower.strategies import Conduct, Reason, Robust
from byzflower.strategies.outcomes import Outcome

MODEL = {"w": np.zeros((2, 3), np.float32), "b": np.zeros(1, np.float32)}
OFFSETS = (1.0, 1.1, 0.9, 1.0, 50.0)


def shifted(make_content: Any) -> list[RecordDict]:
    """Five replies, the last one far away."""
    return [make_content({k: v + offset for k, v in MODEL.items()}) for offset in OFFSETS]


def test_it_tells_who_is_far_and_who_is_not_used(make_content: Any, make_round: Any) -> None:
    strategy = Robust(FedAvg(), "multi_krum", 1)
    rounds = make_round(strategy, MODEL, 5)
    for _ in range(3):
        rounds.run(shifted(make_content))
    bad = shifted(make_content)
    del bad[1]["metrics"]
    rounds.run(bad)
    rows = {row["node"]: row for row in strategy.conduct.to_rows()}
    assert rows[105]["weight"] == 0
    assert sum(strategy.conduct[n].weight for n in rounds.nodes) == pytest.approx(3 * 5 + 4)
    assert rows[105]["distance"] > 100 * rows[103]["distance"]
    assert [row["node"] for row in strategy.conduct.to_rows()][:2] == [102, 105]
    assert strategy.conduct[102].accepted == 3
    assert "records: 1" in strategy.conduct.table()
    summary = strategy.conduct.summary()
    assert "rejected as malformed: node 102 (records: 1)" in summary
    never = next(line for line in summary.splitlines() if line.startswith("never selected: "))
    assert "node 105 (4 rounds)" in never
    assert "mostly far from the aggregate: node 105" in summary
    assert "silent" not in summary


def test_coordinate_wise_rules_give_no_weights(make_content: Any, make_round: Any) -> None:
    strategy = Robust(FedAvg(), "median", 1)
    make_round(strategy, MODEL, 5).run(shifted(make_content))
    row = strategy.conduct.to_rows()[0]
    assert row["node"] == 105
    assert row["weight"] is None


def test_distances_need_not_be_measured(make_content: Any, make_round: Any) -> None:
    strategy = Robust(FedAvg(), "multi_krum", 1, measure_distances=False)
    make_round(strategy, MODEL, 5).run(shifted(make_content))
    rows = strategy.conduct.to_rows()
    assert all(row["distance"] is None for row in rows)
    assert {row["node"]: row["accepted"] for row in rows} == dict.fromkeys(range(101, 106), 1)


@pytest.mark.parametrize(
    ("rule", "clipped"),
    [
        ("arc > nnm > median", [False, False, False, False, True]),
        ("clip(c=2.7) > mean", [False, True, False, False, True]),
        ("bucketing(s=1) > arc > median", [None] * 5),
        ("median", [None] * 5),
    ],
)
def test_it_tells_whose_updates_were_clipped(
    rule: str, clipped: list[bool | None], make_content: Any, make_round: Any, tmp_path: Path
) -> None:
    strategy = Robust(FedAvg(), rule, 1, conduct_file=tmp_path / "conduct.jsonl")
    make_round(strategy, MODEL, 5).run(shifted(make_content))
    records = [json.loads(line) for line in (tmp_path / "conduct.jsonl").read_text().splitlines()]
    records.sort(key=lambda record: record["node"])  # Flower asks in random order
    assert [record.get("clipped") for record in records] == clipped
    assert [
        row["clipped"] for row in sorted(strategy.conduct.to_rows(), key=lambda r: r["node"])
    ] == [int(bool(value)) for value in clipped]


def test_clipped_rows_are_counted_as_they_came_where_one_is_removed(
    make_content: Any, make_round: Any
) -> None:
    strategy = Robust(FedAvg(), "arc > median", 2)
    replies = shifted(make_content)
    replies.insert(0, make_content({k: v + np.nan for k, v in MODEL.items()}))
    make_round(strategy, MODEL, 6).run(replies)
    assert strategy.conduct[106].clipped == 1
    assert strategy.conduct[101].rejections == {Reason.NON_FINITE: 1}


def test_the_file_outlives_the_process_and_tells_the_same(
    make_content: Any, make_round: Any, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "conduct.jsonl"
    tables = []
    for start in (1, 3):
        strategy = Robust(FedAvg(), "arc > multi_krum", 1, conduct_file=path)
        rounds = make_round(strategy, MODEL, 5)
        for _ in range(start, start + 2):
            replies: list[Any] = shifted(make_content)
            replies[0] = None
            del replies[1]["metrics"]
            rounds.run(replies)
        tables.append(strategy.conduct.table())
    # The second process counted its rounds from 1, too: they took the first's places.
    assert Conduct.read(path).table() == tables[1] == tables[0]
    last = path.read_bytes()
    path.write_bytes(last + b'{"round": 3, "node": 1')  # killed while it wrote
    assert Conduct.read(path).table() == tables[1]
    make_round(Robust(FedAvg(), "median", 1, conduct_file=path), MODEL, 5).run(
        shifted(make_content)
    )
    assert len(Conduct.read(path)) == 5


def test_a_skipped_round_uses_nobody_s_update(make_content: Any, make_round: Any) -> None:
    strategy = Robust(FedAvg(), "krum", 2, too_few_nodes="warn")
    make_round(strategy, MODEL, 5).run(shifted(make_content))
    assert [row["accepted"] for row in strategy.conduct.to_rows()] == [0] * 5


def test_a_file_that_cannot_be_written_costs_the_run_nothing(
    make_content: Any, make_round: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    strategy = Robust(FedAvg(), "median", 1, conduct_file=tmp_path)
    arrays, _ = make_round(strategy, MODEL, 5).run(shifted(make_content))
    np.testing.assert_allclose(arrays["b"].numpy(), [1.0], rtol=1e-6)
    assert "No record of the nodes' conduct" in caplog.text


def test_quarantine_takes_the_worst_f_and_never_more() -> None:
    conduct = Conduct()
    conduct.note(
        Outcome(t, node, "rejected", reason=Reason.SHAPE)
        for node, offences in ((1, 2), (2, 5), (3, 3), (4, 1))
        for t in range(offences)
    )
    assert conduct.quarantined(after=2, at_most=2) == {2, 3}
    assert conduct.quarantined(after=2, at_most=10) == {1, 2, 3}
    assert conduct.quarantined(after=4, at_most=10) == {2}
    assert conduct.quarantined(after=1, at_most=0) == frozenset()


def test_more_offenders_than_f_are_not_all_shut_out(make_content: Any, make_round: Any) -> None:
    strategy = Robust(FedAvg(), "median", 1, quarantine_after=1, max_skipped_rounds=None)
    rounds = make_round(strategy, MODEL, 5)
    bad = shifted(make_content)
    for content in bad[:3]:
        del content["metrics"]
    rounds.run(bad)
    rounds.run(shifted(make_content))
    assert [r.node_id for r in strategy.history[-1].rejections] == [101]
    assert not strategy.history[-1].skipped


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main([*arguments])
    return int(end.value.code or 0)


def test_the_command_prints_table_and_summary_or_json(
    make_content: Any, make_round: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "conduct.jsonl"
    strategy = Robust(FedAvg(), "multi_krum", 1, conduct_file=path)
    make_round(strategy, MODEL, 5).run(shifted(make_content))
    assert run("conduct", str(path)) == 0
    out = capsys.readouterr().out
    assert strategy.conduct.table() in out
    assert "never selected: " in out
    assert run("conduct", str(path), "--json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows == json.loads(json.dumps(strategy.conduct.to_rows()))


@pytest.mark.parametrize("content", [None, b"no json\n", b'{"round": 1}\n', b"\xff\n"])
def test_a_file_that_is_none_is_refused_in_one_line(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "conduct.jsonl"
    if content is not None:
        path.write_bytes(content)
    assert run("conduct", str(path)) == 2
    assert "`file` needs a record of conduct" in capsys.readouterr().err
