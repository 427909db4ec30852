"""The error of an experiment that cannot be run as it was asked for."""

from __future__ import annotations

from collections.abc import Iterable

from byzflower.errors import did_you_mean

__all__ = ["ExperimentError", "unknown"]


class ExperimentError(ValueError):
    """One line naming an option, what it needs and what was found."""


def unknown(option: str, found: str, known: Iterable[str]) -> ExperimentError:
    """Return the error for a name that is not among the ``known`` ones, with the nearest of them.

    >>> str(unknown("engine", "bached", ["batched", "ray"]))
    "`engine` needs one of batched, ray; found 'bached'; did you mean `batched`?"
    """
    names = list(known)
    hint = did_you_mean(found, names)
    return ExperimentError(f"`{option}` needs one of {', '.join(names)}; found {found!r}{hint}")
