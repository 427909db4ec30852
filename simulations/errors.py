"""The error of an experiment that cannot be run as it was asked for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["ExperimentError", "unknown"]


class ExperimentError(ValueError):
    """One line naming an option, what it needs and what was found."""


def unknown(option: str, found: str, known: Iterable[str]) -> ExperimentError:
    """Return the error for a name that is not among the ``known`` ones, with the nearest of them.

    >>> str(unknown("model", "mpl", ["mlp", "cnn"]))
    "`model` needs one of mlp, cnn; found 'mpl' (nearest: mlp)"
    """
    names = list(known)
    nearest = difflib.get_close_matches(found, names, n=1)
    hint = f" (nearest: {nearest[0]})" if nearest else ""
    return ExperimentError(f"`{option}` needs one of {', '.join(names)}; found {found!r}{hint}")
