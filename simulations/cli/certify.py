"""``byzflower certify``: a rule's proved coefficients against the worst inputs found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .completion import specs

if TYPE_CHECKING:
    from byzflower.certify import Certificate

__all__ = ["command"]


def command(
    rule: Annotated[
        str | None,
        typer.Argument(
            help='a spec, e.g. "arc > nnm > trimmed_mean"',
            autocompletion=specs("preaggregator", "rule", "pool"),
        ),
    ] = None,
    *,
    n: Annotated[int, typer.Option("--n", min=1, help="rows")] = 11,
    f: Annotated[int, typer.Option("--f", min=0, help="faulty rows among them")] = 3,
    dimension: Annotated[
        int | None, typer.Option(min=1, help="search this d alone, not 1, 2, 5 and n")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="of the search")] = 0,
    evaluations: Annotated[int, typer.Option(min=1, help="how often the rule is run")] = 4000,
    as_json: Annotated[
        bool, typer.Option("--json", help="one JSON object on stdout; unbounded numbers are null")
    ] = False,
    plot: Annotated[
        bool,
        typer.Option(
            "--plot", help="draw λ and κ of RULE; without one of all, and learning errors"
        ),
    ] = False,
    replay: Annotated[
        Path | None, typer.Option(help="run a saved input (.npz) again; no RULE needed")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="folder for results.jsonl, inputs and plots")
    ] = None,
) -> None:
    """Search for the inputs on which RULE errs most; compare with what is proved.

    RULE is a spec such as "arc > nnm > trimmed_mean". A counterexample is saved as .npz, in
    --out or here; --replay runs it again. Exit code 0 whether or not a violation is found.
    """
    if replay is not None:
        if rule is not None:
            raise typer.BadParameter("the saved input names its rule", param_hint="--replay")
        _replay(replay, as_json=as_json)
        return
    if rule is None and not plot:
        raise typer.BadParameter("needs a rule, --plot or --replay", param_hint="RULE")
    folder = _made(out or Path())
    certificates = []
    if rule is not None:
        from byzflower.certify import certify

        found = certify(rule, n, f, dimension=dimension, seed=seed, evaluations=evaluations)
        certificates.append(found)
        record = _record(found, _save(found, folder, keep_all=out is not None))
        if out is not None:
            _write(found, record, out)
        _show(found, record, as_json=as_json)
    if plot:
        _plot(n, dimension, certificates, folder)


def _replay(path: Path, *, as_json: bool) -> None:
    from byzflower.certify import replay

    from ..errors import ExperimentError

    try:
        witness = replay(path)
    except OSError as error:
        raise ExperimentError(
            f"`replay` needs a saved input (.npz); found {path}: {error}"
        ) from error
    except ValueError as error:
        raise ExperimentError(str(error)) from error
    n, d = witness.rows.shape
    if as_json:
        found = {"lambda_found": witness.ratios.lam, "kappa_found": witness.ratios.kappa}
        _echo({"rule": witness.rule, "n": n, "f": witness.f, "d": d, **found})
        return
    lam, kappa = (_number(value) for value in (witness.ratios.lam, witness.ratios.kappa))
    typer.echo(f"{witness.rule}: n = {n}, f = {witness.f}, d = {d}: λ ≥ {lam}, κ ≥ {kappa}")


def _echo(record: dict[str, object]) -> None:
    from ..results import as_json

    typer.echo(as_json(record))


def _number(value: float) -> str:
    return "unbounded" if value == float("inf") else f"{value:.4g}"


def _made(folder: Path) -> Path:
    from ..errors import ExperimentError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExperimentError(f"`out` needs a folder; found {folder}: {error}") from error
    return folder


def _record(found: Certificate, counterexample: str | None) -> dict[str, object]:
    return {
        "rule": found.rule,
        "n": found.n,
        "f": found.f,
        "lambda_bound": found.lambda_bound,
        "lambda_found": found.lambda_found,
        "kappa_bound": found.kappa_bound,
        "kappa_found": found.kappa_found,
        "holds": found.holds,
        "counterexample": counterexample,
    }


def _save(found: Certificate, folder: Path, *, keep_all: bool) -> str | None:
    """Save the counterexample, and the worst inputs if asked; return the former's file name."""
    from ..results import file_stem

    stem = f"{file_stem(found.rule)}-n{found.n}-f{found.f}"
    witnesses = {"counterexample": found.counterexample}
    if keep_all:
        witnesses |= {"lambda": found.lambda_witness, "kappa": found.kappa_witness}
    saved = {}
    for role, witness in witnesses.items():
        if witness is not None:
            saved[role] = witness.save(folder / f"{stem}-{role}.npz").name
    return saved.get("counterexample")


def _write(found: Certificate, record: dict[str, object], out: Path) -> None:
    from ..results import ResultsFile, run_id

    searched = {
        "dimensions": found.dimensions,
        "seed": found.lambda_witness.seed,
        "source": found.source,
        "one_draw": found.one_draw,
        "unbounded": found.lambda_witness.ratios.unbounded,
    }
    identity = run_id({key: record[key] for key in ("rule", "n", "f")} | searched)
    with ResultsFile(out) as results:
        results.write("certificate", identity, **record, **searched)


def _show(found: Certificate, record: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        _echo(record)
        return
    from rich.markup import escape
    from rich.table import Table

    from byzflower.theory import statements

    from .terminal import console

    table = Table(
        "", "proved", "found", "in dimension", title=escape(_title(found)), title_justify="left"
    )
    for name, bound, value, witness in (
        ("λ", found.lambda_bound, found.lambda_found, found.lambda_witness),
        ("κ", found.kappa_bound, found.kappa_found, found.kappa_witness),
    ):
        proved = "no theorem in these papers" if bound is None else f"≤ {bound:.4g}"
        dimension = str(witness.rows.shape[1])
        table.add_row(name, proved, _number(value), dimension)
    screen = console()
    screen.print(table)
    screen.print(_verdict(found, record["counterexample"]), markup=False, highlight=False)
    for line in statements(found.rule, found.n, found.f):
        screen.print(f"also proved, not searched: {line}", markup=False, highlight=False)


def _title(found: Certificate) -> str:
    draw = ", one fixed draw known to the adversary" if found.one_draw else ""
    return f"{found.rule}: n = {found.n}, f = {found.f}{draw}"


def _verdict(found: Certificate, counterexample: object) -> str:
    if found.holds:
        return f"no violation found: every input tried respects {found.source}"
    if found.holds is None:
        return "no theorem in these papers gives a coefficient, and no unbounded input was found"
    if found.lambda_witness.ratios.unbounded:
        return f"violated: identical honest rows, another output; input in {counterexample}"
    return f"violated: an input exceeds {found.source}; it is in {counterexample}"


def _plot(n: int, dimension: int | None, found: list[Certificate], folder: Path) -> None:
    from ..coefficient_plots import plot_coefficients, plot_learning_error

    if n < 3:
        raise typer.BadParameter(f"--plot needs n ≥ 3; found n = {n}", param_hint="--n")
    plot_coefficients(n, folder / "coefficients.png", d=dimension, found=found)
    drawn = [folder / "coefficients.png"]
    if not found:
        drawn.append(folder / "learning_error.png")
        plot_learning_error(n, drawn[-1])
    typer.echo(f"plots: {', '.join(map(str, drawn))}", err=True)
