"""How a contract is checked: named checks over one subject, each failure one line."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from byzflower.configured import Configured
from byzflower.registry import registered

__all__ = [
    "DTYPES",
    "ContractError",
    "built",
    "by_name",
    "documented",
    "frozen_value",
    "generator",
    "near",
    "reads_back",
    "refuses",
    "require",
    "run_checks",
]

S = TypeVar("S")
T = TypeVar("T")
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class ContractError(AssertionError):
    """What is broken, one line a check."""


def require(condition: object, text: str) -> None:
    """Raise a `ContractError` with this text unless the condition holds."""
    if not condition:
        raise ContractError(text)


def by_name(*checks: Callable[[S], None]) -> dict[str, Callable[[S], None]]:
    """Return the checks under their names, in the order they run."""
    return {check.__name__: check for check in checks}


def built(
    given: Any, parameter: str, needed: str, base: type[T], parse: Callable[[Any], object]
) -> T:
    """Return the object that a check is about, from a spec, a class without parameters or itself.

    Raises
    ------
    ValueError
        If a class needs parameters.
    TypeError
        If the result is not of type ``base``, which the message calls ``needed``.
    """
    if isinstance(given, type):
        try:
            given = given()
        except (TypeError, ValueError) as error:
            name = getattr(given, "__name__", given)
            raise ValueError(f"`{name}` needs parameters: pass an object ({error})") from None
    found = parse(given) if isinstance(given, str) else given
    if not isinstance(found, base):
        raise TypeError(f"`{parameter}` needs a spec or {needed}; found {found!r}")
    return found


def run_checks(
    subject: S,
    what: str,
    checks: Mapping[str, Callable[[S], None]],
    *,
    skip: Collection[str] = (),
    only: Collection[str] | None = None,
) -> None:
    """Run the named checks on a subject and raise what all of them found.

    Raises
    ------
    ContractError
        With one line for each check that fails: its name, and what is wrong.
    ValueError
        If ``skip`` or ``only`` names no check, or is text instead of a collection of names.
    """
    for parameter, names in (("skip", skip), ("only", only)):
        if isinstance(names, str):
            raise ValueError(f"`{parameter}` needs a collection of names; found {names!r}")
        unknown = sorted(set(names or ()) - set(checks))
        if unknown:
            raise ValueError(
                f"`{parameter}` needs names of checks: {', '.join(checks)}; found {unknown[0]!r}"
            )
    chosen = [name for name in checks if (only is None or name in only) and name not in skip]
    broken = []
    for name in chosen:
        try:
            checks[name](subject)
        except ContractError as error:
            broken.append(f"{name}: {error}")
        except Exception as error:  # what a check runs is somebody else's code
            text = " ".join(str(error).split())[:300]
            broken.append(f"{name}: raised {type(error).__name__}: {text}")
    if broken:
        count = f"{len(broken)} of {len(chosen)} checks"
        raise ContractError("\n  ".join([f"`{what}` fails {count}:", *broken]))


def generator(seed: int = 0) -> torch.Generator:
    """Return a seeded generator on the CPU."""
    return torch.Generator().manual_seed(seed)


def near(
    found: Tensor, expected: Tensor, text: str, *, rtol: float = 1e-5, atol: float = 1e-6
) -> None:
    """Require two tensors to be close; the text gets the largest difference in its ``{}``."""
    found, expected = found.detach().double().cpu(), expected.detach().double().cpu()
    require(
        found.shape == expected.shape,
        text.format(f"shape {tuple(found.shape)} in place of {tuple(expected.shape)}"),
    )
    if not torch.allclose(found, expected, rtol=rtol, atol=atol, equal_nan=True):
        gap = float((found - expected).abs().max())
        require(False, text.format(f"a difference of {gap:.3g}"))


def frozen_value(subject: object, what: str) -> None:
    """Require an immutable value: it hashes, pickles to an equal one and takes no attribute."""
    try:
        code = hash(subject)
    except TypeError:
        raise ContractError(
            f"`{what}` needs a hash: a frozen dataclass whose parameters are numbers, text or "
            "tuples"
        ) from None
    try:
        copy = pickle.loads(pickle.dumps(subject))
    except Exception as error:
        raise ContractError(f"`{what}` does not pickle: {error}") from None
    require(copy == subject, f"`{what}` differs from its pickled copy: compare by parameters")
    require(hash(copy) == code, f"`{what}` and its pickled copy have different hashes")
    try:
        subject.state = None  # type: ignore[attr-defined]
    except AttributeError:
        return
    del subject.state  # type: ignore[attr-defined]
    raise ContractError(f"`{what}` takes new attributes: freeze its class, and keep no state")


def reads_back(subject: Configured, kind: str, parse: Callable[[str], object]) -> None:
    """Require that a registered object's spec builds an equal object."""
    if registered(kind).get(subject.name) is type(subject):
        found = parse(subject.spec)
        require(found == subject, f"the spec {subject.spec!r} reads back as {found!r}")


def documented(subject: Configured, *, reference: bool = True) -> None:
    """Require a docstring and, by default, a reference."""
    require(subject.__doc__, f"`{subject.name}` needs a docstring")
    if reference:
        found = getattr(subject, "reference", "")
        require(found, f"`{subject.name}` needs a reference: a paper, or your own words")


def refuses(expected: type[Exception], pattern: str, what: str, call: Callable[[], object]) -> str:
    """Require a call to raise, and return the text."""
    try:
        call()
    except expected as error:
        found = re.search(pattern, str(error))
        require(found, f"the error for {what} needs to say {pattern!r}; found {str(error)!r}")
        return str(error)
    except Exception as error:
        raise ContractError(
            f"{what} needs a {expected.__name__}; found {type(error).__name__}: {error}"
        ) from None
    raise ContractError(f"{what} is accepted; it needs a {expected.__name__}")
