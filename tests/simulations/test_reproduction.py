"""Every item of the papers is there, can be run, and is reported beside the paper's numbers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

import byzflower as bf
from byzflower.registry import registered
from byzflower.simulations.cli import main
from byzflower.simulations.datasets import Dataset, DatasetLoader
from byzflower.simulations.errors import ExperimentError
from byzflower.simulations.report.page import write_report
from byzflower.simulations.reproduction.items import SCALES, all_items, find_item
from byzflower.simulations.reproduction.measured import KINDS
from byzflower.simulations.sweep.cells import folder_of
from byzflower.simulations.sweep.engine import run_cell
from byzflower.simulations.sweep.manifest import Manifest

ITEMS = {f"{item.paper} {item.name}": item for item in all_items()}
GRIDS = {name: item for name, item in ITEMS.items() if item.kind == "grid"}


@bf.register("dataset")
@dataclass(frozen=True)
class Tiny(DatasetLoader):
    """A few random images of each class."""

    classes: int = 10

    name: ClassVar[str] = "tiny"
    needs_folder: ClassVar[bool] = False

    def load(self, folder, download):
        labels = torch.arange(self.classes).repeat(30)
        images = torch.randn(len(labels), 1, 8, 8, generator=torch.Generator().manual_seed(1))
        return Dataset("tiny", images, labels, images[:20], labels[:20], self.classes)


def miniature(cell):
    """Return the cell with two rounds of tiny data and a model that this version has."""
    chosen = cell.experiment
    return dataclasses.replace(
        chosen,
        dataset="tiny(classes=7)" if chosen.dataset == "covtype" else "tiny",
        data_dir=None,
        model=chosen.model if chosen.model in registered("model") else "softmax",
        rounds=2,
        batch_size=2,
        evaluate_every=2,
    )


def test_the_items_are_those_of_the_papers():
    wanted = {
        "resam": [*(f"figure-{i}" for i in range(1, 6)), "table-1", "table-2"],
        "aggregathor": ["theorem-1", "theorem-2"],
        "rs-byrd-saga": [f"figure-{i}" for i in range(2, 9)],
        "mixtailor": [f"figure-{i}" for i in range(1, 7)],
        "arc": [
            *(f"figure-{i}" for i in range(1, 28)),
            *(f"table-{i}" for i in (1, 3, 4, 5)),
        ],
    }
    assert list(ITEMS) == [f"{paper} {name}" for paper, names in wanted.items() for name in names]


@pytest.mark.parametrize("name", GRIDS)
def test_a_miniature_cell_of_every_item_runs(name, tmp_path):
    outcome = run_cell(miniature(GRIDS[name].grid("small").cells[0]), tmp_path)
    assert not outcome.cause


@pytest.mark.parametrize("name", [name for name, item in ITEMS.items() if item.numbers])
def test_every_number_of_a_paper_is_of_some_cell_of_its_set_up(name):
    item = ITEMS[name]
    runs = {cell.experiment for cell in item.grid("full", seed=1).cells}
    for number in item.numbers:
        options = {k: v for k, v in number.items() if hasattr(next(iter(runs)), k)}
        rest = number.keys() - options.keys()
        assert rest - {"bound"} in ({"where", m} for m in ("worst", "final", "maximal"))
        assert any(all(getattr(run, k) == v for k, v in options.items()) for run in runs), number


@pytest.mark.parametrize("name", [n for n, i in ITEMS.items() if i.kind not in ("grid", "runtime")])
def test_what_is_measured_gives_panels_with_data(name):
    options = ITEMS[name].scales["small"]
    fewer = {key: 2 for key in ("draws", "evaluations") if key in options}
    fewer |= {"systems": options["systems"][:1]} if "systems" in options else {}
    panels = KINDS[ITEMS[name].kind]({**options, **fewer})
    assert panels
    assert not any(panel.table.empty for panel in panels)


def test_the_measured_slowdown_is_the_theorems():
    options = {**find_item("aggregathor", "Theorem 2").scales["small"], "systems": [[19, 4]]}
    slowdown, leeway = KINDS["slowdown"]({**options, "draws": 60, "leeway": [10, 1000]})
    for row in slowdown.table.to_dict("records"):
        theory = row["slowdown √(m/n), theory"]
        assert row["slowdown, measured"] == pytest.approx(theory, rel=0.15)
    weak, over_krum = leeway.table["weak: multi_krum"], leeway.table["strong, over Krum: bulyan"]
    assert weak[1] > 3 * weak[0]  # as √d grows tenfold
    assert over_krum[1] < 2 * over_krum[0]


def test_proved_coefficients_hold_for_what_is_found():
    (panel,) = KINDS["resilience"](
        {**find_item("resam", "table-1").scales["small"], "systems": [[15, 5]], "evaluations": 40}
    )
    assert (panel.table["λ found"] <= panel.table["λ proved (Table 1)"] + 1e-9).all()
    assert (panel.table["λ found"] > 0).all()


def test_run_times_are_of_every_size():
    small = {"sizes": [10, 20], "workers": [10, 12], "d": 10, "n": 12, "repeats": 1}
    (panel,) = KINDS["runtime"]({**find_item("arc", "figure-24").scales["small"], **small})
    assert panel.table[["n", "d"]].values.tolist() == [[12, 10], [12, 20], [10, 10], [12, 10]]
    assert (panel.table.filter(like="ms") > 0).all(axis=None)


def test_an_item_like_another_takes_what_it_does_not_say():
    below, above = find_item("arc", "figure-8"), find_item("arc", "figure-13")
    assert above.scales["full"]["dataset"] == "fashion_mnist"
    assert above.scales["full"]["rounds"] == below.scales["full"]["rounds"] == 1000
    assert above.numbers == []
    assert above.finding != below.finding


def test_the_report_of_an_item_has_the_papers_numbers(tmp_path):
    item = find_item("rs-byrd-saga", "figure-6")
    cells = [c for c in item.grid("small").cells if c.experiment.client == "saga"]
    grid = dataclasses.replace(item.grid("small"), cells=tuple(cells))
    small = dataclasses.replace(
        grid, cells=tuple(dataclasses.replace(c, experiment=miniature(c)) for c in cells)
    )
    Manifest.of(small, item.said("small")).write(tmp_path)
    for cell in small.cells:
        run_cell(cell.experiment, folder_of(tmp_path, cell.experiment))
    text = write_report(tmp_path).read_text()
    assert "RS-Byrd-SAGA Figure 6" in text
    assert "Ours beside the paper" in text
    assert "around 73.0%" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody", "figure-1"], "`paper` needs one of resam, aggregathor"),
        (["arc", "Figure 99"], "`item` needs one of figure-1, figure-2"),
        (["arc"], "`reproduce` needs a paper and an item; --list shows them"),
    ],
)
def test_what_does_not_exist_is_answered_by_what_does(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["reproduce", *arguments])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_missing_data_are_answered_by_where_to_put_them_and_the_stand_in(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["reproduce", "arc", "figure-18", "--scale", "full", "--data-dir", str(tmp_path)])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "needs torchvision's MNIST files" in told
    assert "run --scale small, for which mnist10k stands in" in told
    assert told.count("\n") == 1


def test_the_list_says_what_runs_here_and_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.delenv("BYZFLOWER_DATA", raising=False)
    item = find_item("rs-byrd-saga", "figure-8")
    assert item.state("small", str(tmp_path)) == "needs data covtype"
    assert find_item("resam", "table-1").state("full") == "runs"
    unknown = dataclasses.replace(item, scales={key: {"model": "nonesuch"} for key in SCALES})
    assert unknown.state("full").startswith("needs what is not there yet: cell")
    with pytest.raises(ExperimentError, match="unknown model"):
        unknown.grid("full")
