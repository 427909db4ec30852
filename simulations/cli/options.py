"""The options of an experiment as options of a command, from the one list of its fields."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_type_hints

import typer

from byzflower.simulations.errors import ExperimentError
from byzflower.simulations.experiment import SIGN_VOTES, Experiment

__all__ = ["experiment_options", "experiments"]


def experiment_options(*, repeated: tuple[str, ...] = ()) -> Callable[..., Any]:
    """Decorate a command that ends in ``**options``: typer sees one option a field.

    An option that was not given is absent from ``options``; those in ``repeated`` are lists.
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


def _parameters(repeated: tuple[str, ...]) -> list[inspect.Parameter]:
    hints = get_type_hints(Experiment)
    parameters = []
    for field in dataclasses.fields(Experiment):
        several = field.name in repeated
        hint: Any = hints[field.name]
        kind: Any = list[hint] if several else hint
        flag = "--" + field.name.replace("_", "-")
        text = f"{field.metadata['help']}{'; repeat for several' if several else ''}"
        if field.default not in ("", None, False) and not several:
            text += f" [default: {field.default}]"
        option = typer.Option(flag, help=text, rich_help_panel=field.metadata["panel"])
        parameters.append(
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[kind | None, option],
            )
        )
    return parameters


def experiments(options: Mapping[str, Any], default_rules: list[str]) -> list[Experiment]:
    """Build one experiment a rule."""
    merged = dict(options)
    rules = merged.pop("rule", [SIGN_VOTES] if merged.get("client") == "rsa" else default_rules)
    rules = rules if isinstance(rules, list) else [rules]
    if not rules:
        raise ExperimentError("`rule` needs at least one rule; found none")
    built = (Experiment.from_options({**merged, "rule": rule}) for rule in rules)
    return list(dict.fromkeys(built))
