"""Former names of what a module exports: still found, with a warning that says the present one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["former_names"]


def former_names(module: str, names: Mapping[str, tuple[str, Callable[[], Any]]]) -> Any:
    """Return the ``__getattr__`` of a module whose names have changed.

    Parameters
    ----------
    module
        The module's ``__name__``.
    names
        Former name → the present one as text, and a function that returns what it names.

    Examples
    --------
    >>> find = former_names("colours", {"GREY": ("GRAY", lambda: 0.5)})
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     find("GREY"), str(caught[0].message)
    (0.5, '`colours.GREY` is now called `GRAY`')
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        present, value = names[name]
        message = f"`{module}.{name}` is now called `{present}`"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return value()

    return find
