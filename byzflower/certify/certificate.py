"""What a search for a rule's worst input found, and files that let anybody replay it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from byzflower.certify.ratio import Array, Mask, Ratios, ratios
from byzflower.specs import parse
from byzflower.steps import Aggregator

__all__ = ["Certificate", "Witness", "evaluate", "replay"]

# What a saved input holds: types and dimensions.
_CONTENT = {
    "rule": (np.str_, 0),
    "f": (np.integer, 0),
    "seed": (np.integer, 0),
    "rows": (np.float64, 2),
    "honest": (np.bool_, 1),
}


@dataclass(frozen=True, eq=False)
class Witness:
    """An input on which ``rule`` errs: rows (n, d) float64 and which n−f of them are honest (n,).

    ``seed`` seeds the generator of rules with a random step; others ignore it.
    """

    rule: str
    f: int
    seed: int
    rows: Array
    honest: Mask
    ratios: Ratios

    def save(self, path: str | Path) -> Path:
        """Write an ``.npz`` file that :func:`replay` reads."""
        path = Path(path)
        np.savez(
            path,
            rule=np.str_(self.rule),
            f=np.int64(self.f),
            seed=np.int64(self.seed),
            rows=self.rows,
            honest=self.honest,
            ratios=np.array([self.ratios.lam, self.ratios.kappa]),
        )
        return path


@dataclass(frozen=True, eq=False)
class Certificate:
    """The coefficients of a rule: proved, and attained by the worst input found.

    Attributes
    ----------
    rule, n, f
        What was certified.
    dimensions
        Dimensions d searched.
    lambda_bound, kappa_bound : float or None
        Proved for every dimension searched; ``None`` where none of the papers in
        :mod:`byzflower.theory` gives one.
    lambda_found, kappa_found : float
        Largest ratios found: lower bounds of the true coefficients, infinite if none exists.
    holds : bool or None
        True where no violation was found of what is proved, in each dimension: a search, no proof.
        ``None`` if nothing is proved and no unbounded input was found.
    source
        The theorems behind the bounds.
    one_draw
        Whether the rule is random: its draw was then fixed, and known to the adversary.
    lambda_witness, kappa_witness
        The worst inputs.
    counterexample
        The input that breaks the guarantee, or ``None``.
    """

    rule: str
    n: int
    f: int
    dimensions: tuple[int, ...]
    lambda_bound: float | None
    lambda_found: float
    kappa_bound: float | None
    kappa_found: float
    holds: bool | None
    source: str
    one_draw: bool
    lambda_witness: Witness
    kappa_witness: Witness
    counterexample: Witness | None


def evaluate(rule: Aggregator, rows: Array, f: int, seed: int = 0) -> Array:
    """Aggregate float64 rows; a rule with a random step draws from a generator at ``seed``."""
    rng = torch.Generator().manual_seed(seed)
    value: Array = rule(torch.from_numpy(rows), f, rng=rng).numpy()
    return value


def replay(path: str | Path) -> Witness:
    """Run the rule again on a saved input; the witness returned has the ratios of this run.

    Raises
    ------
    ValueError
        If the file is no ``.npz`` archive of one input, or the rule refuses that input.
    OSError
        If the file cannot be opened.

    >>> import tempfile
    >>> from byzflower.certify import certify
    >>> found = certify("mean", n=5, f=1, dimension=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     replay(found.counterexample.save(folder + "/mean.npz")).ratios
    Ratios(lam=inf, kappa=inf)
    """
    try:
        rule, f, seed, rows, honest = _read(Path(path))
    except ValueError as error:
        raise ValueError(f"`replay` needs a saved input (.npz); found {path}: {error}") from error
    value = evaluate(parse(rule), rows, f, seed)
    return Witness(rule, f, seed, rows, honest, ratios(rows, honest, value))


def _read(path: Path) -> tuple[str, int, int, Array, Mask]:
    with path.open("rb") as file:
        try:
            with np.load(file, allow_pickle=False) as archive:
                saved = {key: np.asarray(archive[key]) for key in _CONTENT}
        except Exception as error:  # zipfile, zlib and numpy each have their own for damaged files
            raise ValueError(f"no archive of {', '.join(_CONTENT)}") from error
    for key, (kind, dimensions) in _CONTENT.items():
        if not np.issubdtype(saved[key].dtype, kind) or saved[key].ndim != dimensions:
            raise ValueError(
                f"{key} of {dimensions} dimensions and type {kind.__name__} needed, "
                f"not of shape {saved[key].shape} and {saved[key].dtype}"
            )
    f, rows, honest = int(saved["f"]), saved["rows"], saved["honest"]
    n = len(rows)
    if not rows.size or not np.isfinite(rows).all():
        raise ValueError(f"finite rows needed, not NaN, Inf or none; shape {rows.shape}")
    if not 0 <= f < n or len(honest) != n or honest.sum() != n - f:
        raise ValueError(
            f"{honest.sum()} of {len(honest)} marked as honest, not n−f of n = {n} with f = {f}"
        )
    return str(saved["rule"]), f, int(saved["seed"]), rows, honest
