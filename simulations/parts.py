"""Parts of models that do not fit one machine, each in a process of Ray of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any

from byzflower.parts import Ask, Part

__all__ = ["on_actors"]


def on_actors(makers: Sequence[Callable[[], Part]], **options: Any) -> list[Ask]:
    """Make each part where it is to live, in an actor of Ray, and say how to reach it.

    The columns are loaded by ``makers`` in the actors; only what
    :func:`byzflower.parts.aggregate_parts` asks for leaves them. An actor ends with the last
    reference to what reaches it; if it dies, asking it raises Ray's error.

    Parameters
    ----------
    makers
        A function for each part; it travels by cloudpickle.
    options
        Of each actor, such as ``num_cpus=8``, ``num_gpus=1`` or ``scheduling_strategy="SPREAD"``.
    """
    ray = import_module("ray")  # a heavy import
    host = ray.remote(**{"num_cpus": 1, **options})(_Host)
    actors = [host.remote(make) for make in makers]
    return [partial(_ask, ray.get, actor) for actor in actors]


def _ask(get: Callable[[Any], Any], actor: Any, method: str, *arguments: object) -> Any:
    return partial(get, actor.call.remote(method, *arguments))


class _Host:
    """The actor."""

    def __init__(self, make: Callable[[], Part]) -> None:
        self._part = make()

    def call(self, method: str, *arguments: object) -> Any:
        return getattr(self._part, method)(*arguments)
