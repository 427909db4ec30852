"""Tables and figures of the papers as data: what the paper ran, full and small, and its numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import byzflower.simulations
from byzflower.errors import InfeasibleError, SpecError

from ..datasets import DATA_DIRECTORY
from ..errors import ExperimentError, unknown
from ..experiment import Experiment, parse_toml
from ..sweep.grid import Grid, chosen, expand
from ..tasks import open_dataset

__all__ = ["PAPERS", "SCALES", "Item", "all_items", "find_item"]

PAPERS = {
    "resam": "RESAM",
    "aggregathor": "AggregaThor",
    "rs-byrd-saga": "RS-Byrd-SAGA",
    "mixtailor": "MixTailor",
    "arc": "ARC",
}
"""Name on the command line (and of the folder) → short name of the paper."""
SCALES = ("small", "full")
_FOLDER = Path(byzflower.simulations.__file__).parent / "papers"
_WORDS = ("title", "finding", "kind", "like", "numbers", "choose", *SCALES)


@dataclass(frozen=True)
class Item:
    """One table or figure.

    Attributes
    ----------
    paper, name : str
        As on the command line: ``"arc"``, ``"figure-2"``.
    title, finding : str
        What it shows, and what the paper says of it.
    kind : str
        ``"grid"`` of training runs, or one of `measured`'s.
    scales : dict of str to dict
        Options at each scale.
    numbers : list of dict
        What the paper prints, see `byzflower.simulations.report.beside`.
    """

    paper: str
    name: str
    title: str
    finding: str
    kind: str
    scales: dict[str, dict[str, Any]]
    numbers: list[dict[str, Any]] = field(default_factory=list)
    choose: list[str] = field(default_factory=list)

    @property
    def heading(self) -> str:
        """Paper, item and what it shows.

        >>> find_item("arc", "figure-2").heading.partition(":")[0]
        'ARC Figure 2'
        """
        return f"{PAPERS[self.paper]} {self.name.replace('-', ' ').title()}: {self.title}"

    def grid(self, scale: str, **given: Any) -> Grid:
        """Return the cells at a scale; options that are given take the place of the file's.

        Raises
        ------
        ExperimentError
            If the cells are none that this version can run.
        """
        options = {**self.scales[scale], **given}
        cells = tuple(expand(options))
        return Grid(f"{self.heading} ({scale} scale)", cells, chosen(self.choose, options))

    def said(self, scale: str) -> dict[str, Any]:
        """Return what the report says of the paper."""
        note = "" if scale == "full" else "Small scale: fewer data, rounds, seeds or settings."
        return {"finding": self.finding, "scale_note": note, "numbers": self.numbers}

    def state(self, scale: str, data_dir: str | None = None) -> str:
        """Return ``"runs"`` or what is missing: data, or something this version does not have."""
        if self.kind != "grid":
            return "runs"
        try:
            cells = self.grid(scale, seed=1, data_dir=data_dir).cells
        except (ExperimentError, SpecError, InfeasibleError, ValueError) as error:
            return f"needs what is not there yet: {error}"
        for dataset, cell in {cell.experiment.dataset: cell for cell in cells}.items():
            try:
                open_dataset(cell.experiment)
            except ExperimentError:
                return f"needs data {dataset}"
        return "runs"

    def missing_data(self, scale: str, error: ExperimentError) -> ExperimentError:
        """Return the error of data that are not there, with where to put them and the stand-in."""
        folder = os.environ.get(DATA_DIRECTORY)
        told = (
            f"; put it into {folder or f'a folder and name it by --data-dir or {DATA_DIRECTORY}'}"
        )
        if scale == "full":
            stand_in = self.scales["small"].get("dataset", Experiment.dataset)
            told += f", or run --scale small, for which {stand_in} stands in"
        return ExperimentError(f"{error}{told}")

    @cached_property
    def path(self) -> Path:
        """The file."""
        return _path(self.paper, self.name)


def find_item(paper: str, item: str) -> Item:
    """Return an item by paper and name, such as ``"arc"`` and ``"Figure 2"``.

    Raises
    ------
    ExperimentError
        If there is none; the message lists those that exist.
    """
    paper = _slug(paper)
    if paper not in PAPERS:
        raise unknown("paper", paper, PAPERS)
    names = list(_names(paper))
    name = _slug(item)
    if name not in names:
        raise unknown("item", name, names)
    return _read(paper, name)


def all_items() -> Iterator[Item]:
    """Yield every item, paper by paper, figures and tables in the paper's order."""
    for paper in PAPERS:
        for name in _names(paper):
            yield _read(paper, name)


def _read(paper: str, name: str) -> Item:
    content = _with_likes(paper, name)
    own = {key: value for key, value in content.items() if key not in _WORDS}
    return Item(
        paper,
        name,
        content["title"],
        content.get("finding", ""),
        content.get("kind", "grid"),
        {scale: {**own, **content[scale]} for scale in SCALES},
        content.get("numbers", []),
        content.get("choose", []),
    )


def _with_likes(paper: str, name: str) -> dict[str, Any]:
    """Read a file; what the item is ``like`` lies below it, but for the numbers and findings."""
    content = parse_toml(_path(paper, name))
    like = content.get("like")
    if like is None:
        return content
    below = _with_likes(paper, str(like))
    below = {key: value for key, value in below.items() if key not in ("numbers", "finding")}
    merged: dict[str, Any] = {**below, **content}
    for scale in SCALES:
        merged[scale] = {**_table(below, scale), **_table(content, scale)}
    return merged


def _table(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    return dict(content.get(name, {}))


def _names(paper: str) -> Iterator[str]:
    def place(name: str) -> tuple[str, int]:
        kind, _, number = name.partition("-")
        return kind, int(number)

    yield from sorted((path.stem for path in (_FOLDER / paper).glob("*.toml")), key=place)


def _path(paper: str, name: str) -> Path:
    return _FOLDER / paper / f"{name}.toml"


def _slug(text: str) -> str:
    return "-".join(text.lower().replace("_", "-").split())
