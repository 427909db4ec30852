"""docs/robustness.md says what its command finds, and that nothing harms `Robust`."""

from __future__ import annotations

from pathlib import Path

import flwr
import pytest

from byzflower.simulations.bench.robustness import STRATEGIES, column, page
from byzflower.testing.hostile import HOSTILE

PAGE = Path(__file__).parents[2] / "docs" / "robustness.md"
# Each of another outcome: raises, NaN, captured, wrong shape, fine.
KINDS = ("a missing key", "shared NaN", "no records", "the same reply twice", "error")


def rows() -> dict[str, dict[str, str]]:
    """Strategy → kind → cell, as the committed page says."""
    table = PAGE.read_text(encoding="utf-8").split("| Reply |")[1]
    lines = [line.strip("| ").split(" | ") for line in table.splitlines()[2:] if line]
    return {
        name: {line[0]: line[place] for line in lines}
        for place, name in enumerate(STRATEGIES, start=1)
    }


def test_every_reply_of_the_corpus_is_there_and_harmless_to_ours() -> None:
    assert rows()["Robust"] == dict.fromkeys(HOSTILE, "fine")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["FedAvg", "Krum", "FedMedian", "Robust"])
def test_rows_come_out_as_the_page_says(strategy: str) -> None:
    if f"flwr {flwr.__version__}," not in PAGE.read_text(encoding="utf-8"):
        pytest.skip(f"the page was made with another Flower than {flwr.__version__}")
    written = rows()[strategy]
    assert column(strategy, KINDS) == {kind: written[kind] for kind in KINDS}


def test_a_page_has_a_row_a_reply() -> None:
    text = page(
        {"Ours": {"a | b": "fine", "c": "raises X"}, "Theirs": {"a | b": "NaN", "c": "fine"}}
    )
    assert "| a \\| b | fine | NaN |" in text
    assert "| of 2 replies | **1** | **1** |" in text
