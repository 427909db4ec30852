"""Options that commands share; those of an experiment from the one list of its fields."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, get_type_hints

import typer

from byzflower.registry import PACKAGES

from ..errors import ExperimentError
from ..experiment import CHOICES, Experiment
from .completion import specs

__all__ = ["Quiet", "experiment_options", "experiments", "misplaced"]

Quiet = Annotated[bool, typer.Option("--quiet", help="show no progress")]


def experiment_options(repeated: Mapping[str, Sequence[object]]) -> Callable[..., Any]:
    """Decorate a command that ends in ``**options``: typer sees one option a field.

    An option that was not given is absent from ``options``; those in ``repeated``, which has their
    defaults, are lists.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters
        named = [p for p in own.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]

        def wrapped(**values: Any) -> None:
            command(**{k: v for k, v in values.items() if k in own or v not in (None, [])})

        parameters = [*named, *_parameters(repeated)]
        wrapped.__doc__ = command.__doc__
        wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
        wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return wrapped

    return decorate


def _parameters(repeated: Mapping[str, Sequence[object]]) -> list[inspect.Parameter]:
    hints = get_type_hints(Experiment)
    parameters = []
    for field in dataclasses.fields(Experiment):
        several = field.name in repeated
        hint: Any = hints[field.name]
        hint = str if hint == float | str else hint
        kind: Any = list[hint] if several else hint
        flags = ["--" + name.replace("_", "-") for name in (*field.metadata["also"], field.name)]
        text = f"{field.metadata['help']}{'; repeat for several' if several else ''}"
        default = ", ".join(map(str, repeated[field.name])) if several else field.default
        if default not in ("", None, False):
            text += f" [default: {default}]"
        panel = field.metadata["panel"]
        option = typer.Option(
            *flags, help=text, rich_help_panel=panel, autocompletion=_completed(field.name)
        )
        parameters.append(
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[kind | None, option],
            )
        )
    return parameters


def _completed(name: str) -> Callable[..., list[str]] | None:
    """Return what completes an option's value, where it is one of some names."""
    if name in CHOICES:
        return lambda: list(CHOICES[name])
    kind = {"learning_rate": "schedule"}.get(name, name)
    if kind not in PACKAGES:
        return None
    return specs("preaggregator", "rule", "pool") if kind == "rule" else specs(kind)


def experiments(
    options: Mapping[str, Any], repeated: Mapping[str, Sequence[object]]
) -> list[Experiment]:
    """Build one experiment for each choice of the repeated options."""
    from byzflower.clients.algorithms import parse_client

    defaults = dict(repeated)
    if parse_client(options.get("client", Experiment.client)).own_rule:
        defaults["rule"] = [""]  # which stands for it
    choices = {name: _listed(name, options.get(name, defaults[name])) for name in repeated}
    built = (
        Experiment.from_options({**options, **dict(zip(choices, choice, strict=True))})
        for choice in itertools.product(*choices.values())
    )
    return list(dict.fromkeys(built))


def _listed(name: str, value: object) -> list[object]:
    if not value and isinstance(value, list):
        raise ExperimentError(f"`{name}` needs at least one value; found none")
    return value if isinstance(value, list) else [value]


_SPECS = ("rule", "preaggregator", "attack", "client", "dataset", "model", "partition")


def misplaced(message: str) -> str:
    """Return what to write, at the end of click's message about an argument that names a spec.

    >>> misplaced("Got unexpected extra argument (alie(tau=1.5))")
    '; did you mean --attack "alie(tau=1.5)"?'
    """
    found = re.fullmatch(r"Got unexpected extra argument \((.*)\)", message)
    if found is None:
        return ""
    from byzflower.registry import registered

    name, *_ = re.split(r"\W", found[1], maxsplit=1)
    for kind in _SPECS:
        if name in registered(kind):
            option = "rule" if kind == "preaggregator" else kind
            return f'; did you mean --{option} "{found[1]}"?'
    return ""
