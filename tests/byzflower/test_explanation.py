"""An explanation can be read, filtered and drawn."""

from __future__ import annotations

import pytest
import torch

import byzflower as bf

ROWS = torch.tensor([[1.0], [2.0], [4.0], [float("nan")], [90.0]])


def test_rows_say_which_were_removed_clipped_and_weighed() -> None:
    found = bf.parse("arc > krum_star").explain(ROWS, f=2)
    rows = found.to_rows()
    assert [row["row"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["finite"] for row in rows] == [True, True, True, False, True]
    assert [row["clipped"] for row in rows] == [False, False, False, False, True]
    assert rows[3]["weight"] is None
    assert sum(row["weight"] for row in rows if row["finite"]) == pytest.approx(1)


def test_print_and_notebook_show_each_row_not_the_tensor() -> None:
    found = bf.parse("nnm > mean").explain(torch.arange(50.0).reshape(5, 10), f=1)
    assert str(found) == repr(found)
    assert "tensor" not in str(found)
    assert len(str(found).splitlines()) == 2 + 5
    assert found._repr_html_().count("<tr>") == 1 + 5


def test_coordinate_wise_rules_have_no_weights_to_show_or_draw() -> None:
    found = bf.parse("median").explain(ROWS, f=2)
    assert [row["weight"] for row in found.to_rows()] == [None] * 5
    with pytest.raises(ValueError, match="needs a rule that weighs rows"):
        found.plot()


def test_bars_are_the_weights_and_marks_the_rows_without() -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure()
    found = bf.parse("arc > geometric_median").explain(ROWS, f=2)
    axes = found.plot(figure.subplots())
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == [row["weight"] for row in found.to_rows() if row["finite"]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "clipped", "not finite", "weight in the mean",
    ]  # fmt: skip


def test_a_mixed_rule_shows_what_was_drawn() -> None:
    found = bf.parse("mixtailor").explain(torch.randn(12, 3), f=2)
    assert "drawn" in str(found)
    assert len(found.to_rows()) == 12
