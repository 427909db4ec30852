"""A grid of experiments: options in which every list is an axis.

>>> cells = expand({"rule": ["mean", "median"], "f": [1, 2], "honest": 10, "exclude": [{"f": 2}]})
>>> [(cell.label, cell.experiment.n) for cell in cells]
[('rule = mean, f = 1', 11), ('rule = median, f = 1', 11)]
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ExperimentError
from ..experiment import Experiment, by_field, parse_toml

__all__ = ["Cell", "Grid", "expand", "read_grid"]

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """One experiment of a grid.

    Attributes
    ----------
    label : str
        The options in which the cells of its grid differ.
    """

    experiment: Experiment
    label: str


@dataclass(frozen=True)
class Grid:
    """What a sweep's file says.

    Attributes
    ----------
    title : str
        What the report is headed with.
    cells : tuple of Cell
        In the order of the file's lists, the last list varying fastest.
    choose : tuple of str
        Options chosen by the accuracy on the rows held out: of cells that differ in nothing else,
        a report shows the best.
    modules : tuple of str
        What the file imports.
    """

    title: str
    cells: tuple[Cell, ...]
    choose: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()


def read_grid(path: str | Path, import_modules: Any = lambda modules: None) -> Grid:
    """Read a sweep's TOML file.

    Parameters
    ----------
    path
        The file. Beside the options of an experiment, each a value or a list of values:
        ``honest``, a number of honest clients that holds while f varies; ``exclude``, tables of
        options whose cells are left out; ``case``, tables of options each of which makes a grid
        of its own with what stands above; ``choose``; ``title``; ``import``.
    import_modules
        Called with the modules of ``import`` before specs are read.

    Raises
    ------
    ExperimentError
        One line, with the cell that fails its checks.
    """
    options = parse_toml(path)
    title = _taken(options, "title", str, "text", Path(path).stem)
    modules = tuple(map(str, _taken(options, "import", list, "a list of modules", [])))
    choose = _taken(options, "choose", list, "a list of options", [])
    import_modules(modules)
    return Grid(title, tuple(expand(options)), chosen(choose, options), modules)


def chosen(names: Sequence[Any], options: Options) -> tuple[str, ...]:
    """Return the names of the options to choose; there must be rows held out to choose by."""
    fields = tuple(by_field(dict.fromkeys(map(str, names))))
    cases = [options, *options.get("case", [])]
    if fields and not any(case.get("validation") for case in cases):
        raise ExperimentError(
            "`choose` needs rows held out, such as validation = 0.1; found `validation` 0"
        )
    return fields


def expand(options: Options) -> list[Cell]:
    """Return the cells of a grid, each checked.

    Raises
    ------
    ExperimentError
        For an option that is not one, an empty grid, an ``exclude`` that leaves out nothing, or a
        cell that cannot be: one line with the cell.
    """
    base = dict(options)
    cases = _tables(base, "case") or [{}]
    excluded = [_named(table) for table in _tables(base, "exclude")]
    merged = [_named({**base, **case}) for case in cases]
    varying = [
        name
        for name in dict.fromkeys(itertools.chain.from_iterable(merged))
        if len({repr(case.get(name)) for case in merged}) > 1
        or any(isinstance(case.get(name), list) and len(case[name]) > 1 for case in merged)
    ]
    cells: dict[Experiment, Cell] = {}
    used: set[int] = set()
    left_out = 0
    for choice in itertools.chain.from_iterable(map(_product, merged)):
        by = {i for i, table in enumerate(excluded) if _agrees(choice, table)}
        used |= by
        left_out += bool(by)
        if not by:
            told = [f"{name} = {choice[name]}" for name in varying if name in choice]
            label = ", ".join(told) or "the only one"
            experiment = _built(choice, label)
            cells.setdefault(experiment, Cell(experiment, label))
    if unused := [table for i, table in enumerate(excluded) if i not in used]:
        raise ExperimentError(f"`exclude` needs to match cells; found {unused[0]}, which none does")
    if not cells:
        why = f"`exclude` leaves out all {left_out}" if left_out else "an empty list"
        raise ExperimentError(f"a grid needs at least one cell; found none: {why}")
    return list(cells.values())


def _built(choice: dict[str, Any], label: str) -> Experiment:
    options = dict(choice)
    honest = options.pop("honest", None)
    try:
        if honest is not None:
            if "n" in options:
                raise ExperimentError("`honest` takes the place of `n`; found both")
            options["n"] = honest + options.get("f", Experiment.f)
        experiment = Experiment.from_options(options)
        if experiment.engine == "ray":
            raise ExperimentError("`engine` needs batched or inprocess in a grid; found ray")
    except (ValueError, TypeError) as error:
        raise ExperimentError(f"cell {label}: {error}") from error
    return experiment


def _named(options: Options) -> dict[str, Any]:
    """Return options under the names of the experiment's fields."""
    own = {"honest": options["honest"]} if "honest" in options else {}
    return own | by_field({name: value for name, value in options.items() if name != "honest"})


def _product(options: Options) -> Iterator[dict[str, Any]]:
    axes = [value if isinstance(value, list) else [value] for value in options.values()]
    for values in itertools.product(*axes):
        yield dict(zip(options, values, strict=True))


def _agrees(choice: Options, table: Options) -> bool:
    return all(
        choice.get(name) in (wanted if isinstance(wanted, list) else [wanted])
        for name, wanted in table.items()
    )


def _tables(options: dict[str, Any], name: str) -> list[dict[str, Any]]:
    tables = options.pop(name, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ExperimentError(f"`{name}` needs tables, each under [[{name}]]; found {tables!r}")
    return tables


def _taken(options: dict[str, Any], name: str, kind: type, needs: str, default: Any) -> Any:
    value = options.pop(name, default)
    if not isinstance(value, kind):
        raise ExperimentError(f"`{name}` needs {needs}; found {value!r}")
    return value
