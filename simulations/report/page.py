"""One self-contained page, its figures beside it, and their tables."""

from __future__ import annotations

import base64
import io
import math
import platform
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from byzflower.statefile import atomically

from ..errors import ExperimentError
from ..frame import load_results
from ..recording import versions
from ..sweep.cells import failure_of
from ..sweep.manifest import Manifest
from .beside import beside
from .curves import curves
from .heatmaps import heatmaps
from .labels import labels
from .norms import norms
from .outcomes import chosen_only, outcomes
from .panels import Panel
from .ranking import ranking
from .selection import selection

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["FORMATS", "Report", "latex", "write_report"]

FORMATS = ("pdf", "csv", "latex")
"""What figures and tables are written as on request, beside PNG and SVG."""
_SAID = ("finding", "scale_note")
_MOST_ROWS = 200
_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
  max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
img { max-width: 100%; height: auto; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid #ddd;
  vertical-align: top; }
th { border-bottom: 2px solid #555; }
td.number { text-align: right; white-space: nowrap; }
pre { background: #f3f3f3; padding: .6rem; overflow-x: auto; white-space: pre-wrap; }
figure { margin: 0; } summary { cursor: pointer; margin: .5rem 0; }
.scroll { overflow-x: auto; } .scroll img { min-width: 34rem; }
@media print { body { max-width: none; font-size: 11px; padding: 0; }
  section { break-inside: avoid-page; } details { display: block; }
  .scroll img { min-width: 0; } h2 { break-after: avoid; } }
"""


def write_report(folder: str | Path, also: Collection[str] = ()) -> Path:
    """Write the report of a folder of results into its ``report``; return the page.

    Parameters
    ----------
    folder
        What ``byzflower run``, ``sweep`` or ``reproduce`` wrote.
    also
        Of :data:`FORMATS`: figures as PDF, tables as CSV or LaTeX.

    Raises
    ------
    ExperimentError
        If there are no results, or the folder cannot be written.
    """
    folder = Path(folder)
    manifest = Manifest.read(folder)
    rounds = load_results(folder)
    if rounds.empty:
        raise ExperimentError(f"a report needs a round that was run; found none in {folder}")
    choose = [] if manifest is None else manifest.choose
    runs = chosen_only(outcomes(rounds), choose)
    rounds = rounds[rounds["run"].isin(runs["run"])]
    paper = {} if manifest is None else manifest.paper
    panels = [
        *beside(runs, paper),
        *heatmaps(runs),
        *ranking(runs),
        *curves(rounds),
        *norms(rounds),
        *selection(runs),
        *labels(runs),
    ]
    begun = len(runs) if manifest is None else len(manifest.cells)
    facts = [f"{runs['finished'].sum()} of {begun} runs finished."]
    if manifest is not None:
        facts += [
            f"Failed: {label}: {cause}."
            for key, label in manifest.cells.items()
            if (cause := failure_of(folder / "cells" / key))
        ]
    if choose:
        facts.append(f"Chosen on the rows held out: {', '.join(choose)}.")
    report = Report(
        title=folder.resolve().name if manifest is None else manifest.title,
        panels=panels,
        command=f"byzflower report {folder}" if manifest is None else manifest.command,
        versions=versions() if manifest is None else manifest.versions,
        facts=[*(str(paper[key]) for key in _SAID if paper.get(key)), " ".join(facts)],
    )
    return report.write(folder / "report", also)


@dataclass(frozen=True)
class Report:
    """What a page says.

    Attributes
    ----------
    facts : sequence of str
        Paragraphs below the title.
    command, versions
        How to make it again.
    """

    title: str
    panels: Sequence[Panel]
    command: str
    versions: Mapping[str, str]
    facts: Sequence[str] = ()

    def write(self, target: Path, also: Collection[str] = ()) -> Path:
        """Write ``index.html``, its figures and tables into a folder; return the page.

        Raises
        ------
        ExperimentError
            If the folder cannot be written.
        """
        page = target / "index.html"
        try:
            target.mkdir(parents=True, exist_ok=True)
            sections = [_section(panel, target, also) for panel in self.panels]
            _write(page, self._page(sections))
        except OSError as error:
            raise ExperimentError(f"a report needs a writable folder; found {error}") from error
        return page

    def _page(self, sections: Sequence[str]) -> str:
        machine = {
            **self.versions,
            "python": platform.python_version(),
            "system": platform.platform(),
        }
        told = ", ".join(f"{name} {version}" for name, version in machine.items())
        return "\n".join(
            [
                "<!doctype html>",
                '<html lang="en"><head><meta charset="utf-8">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                f"<title>{escape(self.title)}</title><style>{_STYLE}</style></head><body>",
                f"<h1>{escape(self.title)}</h1>",
                *(f"<p>{escape(fact)}</p>" for fact in self.facts),
                *sections,
                "<section><h2>How to make it again</h2>",
                f"<pre>{escape(self.command)}</pre><p>{escape(told)}</p></section>",
                "</body></html>",
            ]
        )


def _section(panel: Panel, target: Path, also: Collection[str]) -> str:
    parts = [f"<section><h2>{escape(panel.title)}</h2><p>{escape(panel.text)}</p>"]
    if panel.figure is not None:
        for suffix in ("png", "svg", *(["pdf"] if "pdf" in also else [])):
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
                drawing = io.BytesIO()
                panel.figure.savefig(drawing, format=suffix)
            with atomically(target / f"{panel.name}.{suffix}") as file:
                file.write(drawing.getvalue())
            if suffix == "svg":
                data = base64.b64encode(drawing.getvalue()).decode()
                image = f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(panel.title)}">'
                parts.append(f'<figure class="scroll">{image}</figure>')
    if "csv" in also:
        _write(target / f"{panel.name}.csv", panel.table.to_csv(index=False))
    if "latex" in also:
        _write(target / f"{panel.name}.tex", latex(panel.table))
    parts.append(_table(panel))
    return "\n".join([*parts, "</section>"])


def _write(path: Path, text: str) -> None:
    with atomically(path) as file:
        file.write(text.encode())


def _table(panel: Panel) -> str:
    shown = panel.table.iloc[:_MOST_ROWS]
    heads = "".join(f"<th>{escape(str(name))}</th>" for name in shown.columns)
    rows = "".join(
        "<tr>" + "".join(_cell(value) for value in row) + "</tr>"
        for row in shown.itertuples(index=False)
    )
    table = f'<div class="table"><table><thead><tr>{heads}</tr></thead>{rows}</table></div>'
    if len(shown) < len(panel.table):
        table += f"<p>The first {len(shown)} of {len(panel.table)} rows.</p>"
    is_open = " open" if len(shown) <= 20 else ""
    return f"<details{is_open}><summary>The data</summary>{table}</details>"


def _cell(value: object) -> str:
    text = _written(value)
    numeric = isinstance(value, int | float) or text.endswith("%") or text == "–"
    return f'<td class="number">{escape(text)}</td>' if numeric else f"<td>{escape(text)}</td>"


def _written(value: object) -> str:
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4g}"
    return str(value)


_ESCAPED = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    character: f"\\{character}" for character in "&%$#_{}"
}


def latex(table: DataFrame) -> str:
    r"""Write a table as LaTeX's tabular.

    >>> import pandas as pd
    >>> print(latex(pd.DataFrame({"rule": ["trimmed_mean"], "worst": ["51.6%"]})), end="")
    \begin{tabular}{ll}
    \hline
    rule & worst \\
    \hline
    trimmed\_mean & 51.6\% \\
    \hline
    \end{tabular}
    """
    lines = [[str(name) for name in table.columns]]
    lines += [[_written(value) for value in row] for row in table.itertuples(index=False)]
    written = [
        " & ".join("".join(_ESCAPED.get(c, c) for c in cell) for cell in line) + r" \\"
        for line in lines
    ]
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{'l' * len(table.columns)}}}",
            r"\hline",
            written[0],
            r"\hline",
            *written[1:],
            r"\hline",
            r"\end{tabular}",
            "",
        ]
    )
