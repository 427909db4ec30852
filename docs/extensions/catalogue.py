"""Pages of the catalogue, one for each registered rule, attack, client and so on.

What a page says comes from the class itself: its docstring, the (n, f) it needs, its parameters,
its paper, the coefficients that are proved for it. ``docs/catalogue.toml`` adds a spec and the
formula; a class without an entry there fails a strict build, so that no page can be missing.
"""

from __future__ import annotations

import inspect
import shutil
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pictures import picture
from sphinx.util import logging

from byzflower.bibliography import papers
from byzflower.registry import registered
from byzflower.theory import bounds

if TYPE_CHECKING:
    from sphinx.application import Sphinx

KINDS = {
    "rule": ("rules", "Rules"),
    "pool": ("rules", "Rules"),
    "preaggregator": ("preaggregators", "Pre-aggregators"),
    "attack": ("attacks", "Attacks"),
    "client": ("clients", "Clients"),
    "schedule": ("schedules", "Schedules of the learning rate"),
    "partition": ("partitions", "Partitions of the data"),
}
"""Registered kind → folder of its pages, title of the section."""
_FOLDER = "_catalogue"
_ROUNDS = tuple((11, f) for f in range(1, 6))  # (n, f) of the table of proved coefficients
_LOG = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the pages before anything is read."""
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir)))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_pages(source: Path) -> None:
    """Write every page and the indices, anew, below ``source``."""
    extras = tomllib.loads((source / "catalogue.toml").read_text(encoding="utf-8"))
    folder = source / _FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    sections: dict[str, tuple[str, list[tuple[str, type[Any]]]]] = {}
    for kind, (place, title) in KINDS.items():
        (folder / place).mkdir(parents=True, exist_ok=True)
        for name, cls in registered(kind).items():
            extra = extras.get(kind, {}).get(name)
            if extra is None:
                _LOG.warning("docs/catalogue.toml has no entry [%s.%s]", kind, name)
                extra = {}
            (folder / place / f"{name}.rst").write_text(
                _page(kind, name, cls, extra, folder / place), encoding="utf-8"
            )
            sections.setdefault(place, (title, []))[1].append((name, cls))
    for place, (title, entries) in sections.items():
        text = _index(title, sorted(entries, key=lambda entry: entry[0]))
        (folder / place / "index.rst").write_text(text, encoding="utf-8")
    pages = [f"{place}/index" for place in sections]
    text = "\n".join([*_title("Catalogue"), *_toctree(pages, depth=2)])
    (folder / "index.rst").write_text(text, encoding="utf-8")


def _index(title: str, entries: list[tuple[str, type[Any]]]) -> str:
    lines = [*_title(title), ".. list-table::", "   :widths: 25 75", ""]
    for name, cls in entries:
        lines += [f"   * - :doc:`{name}`", f"     - {_first_line(cls)}"]
    return "\n".join([*lines, "", *_toctree([name for name, _ in entries], hidden=True)])


def _page(kind: str, name: str, cls: type[Any], extra: dict[str, str], folder: Path) -> str:
    spec = extra.get("spec", name)
    lines = [*_title(name)]
    for fact, value in _facts(cls, spec):
        lines += [f":{fact}: {value}"]
    lines += [""]
    if "formula" in extra:
        lines += [".. math::", "", f"   {extra['formula']}", ""]
    drawn = picture(kind, name, spec, folder / f"{name}.svg")
    if drawn is not None:
        lines += [f".. figure:: {name}.svg", f"   :alt: {drawn}", "", f"   {drawn}", ""]
    lines += [f".. autoclass:: {cls.__module__}.{cls.__qualname__}", ""]
    if kind == "rule":
        lines += _proved(spec)
    return "\n".join(lines)


def _facts(cls: type[Any], spec: str) -> list[tuple[str, str]]:
    facts = [("As a spec", f"``{spec}``")]
    if needs := getattr(cls, "needs", ""):
        facts.append(("Needs", needs))
    slope, least = getattr(cls, "rows_needed", None) or (0, 0)
    if isinstance(slope, int) and slope > 0:
        ten, hundred = (max((n - least) // slope, 0) for n in (10, 100))
        facts.append(("Tolerates", f"f = {ten} of 10 rows, {hundred} of 100"))
    reference = getattr(cls, "reference", "")
    links = [
        f"`{part.strip()} <../../references.html#{paper.anchor}>`__"
        for part in reference.split(";")
        for paper in papers(part)
    ]
    if links:
        facts.append(("Reference", "; ".join(links)))
    facts.append(("Source", f"``{cls.__module__}``"))
    return facts


def _proved(spec: str) -> list[str]:
    """Return a table of the coefficients that the five papers prove, or that they prove none."""
    rows, origins = [], {}
    for n, f in _ROUNDS:
        try:
            found = bounds(spec, n, f)
        except ValueError:
            continue
        if found.lambda_bound is not None or found.kappa_bound is not None:
            rows.append((f, _number(found.lambda_bound), _number(found.kappa_bound)))
            origins[found.source] = None
    lines = ["Proved", "------", ""]
    if not rows:
        return [*lines, "None of the five papers gives it a coefficient.", ""]
    lines += [f"At n = {_ROUNDS[0][0]} ({'; '.join(origins)}):", ""]
    lines += [".. list-table::", "   :header-rows: 1", ""]
    for f, lam, kappa in [("f", "(f, λ)-resilience", "(f, κ)-robustness"), *rows]:
        lines += [f"   * - {f}", f"     - {lam}", f"     - {kappa}"]
    return [
        *lines,
        "",
        f'``byzflower certify "{spec}" --n 11 --f 3`` searches for a violation.',
        "",
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _title(text: str) -> list[str]:
    return [text, "=" * len(text), ""]


def _toctree(pages: list[str], depth: int = 1, *, hidden: bool = False) -> list[str]:
    options = [f"   :maxdepth: {depth}", *(["   :hidden:"] if hidden else [])]
    return [".. toctree::", *options, "", *(f"   {page}" for page in pages), ""]


def _first_line(cls: type[Any]) -> str:
    return inspect.cleandoc(cls.__doc__ or "").partition("\n")[0].replace("*", r"\*")
