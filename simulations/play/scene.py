"""A scene in the plane: honest and malicious updates, and what rules make of them.

What the page sends is checked here, by hand: every value has a type, a range and a bound on its
size, names come from the catalogue, and nothing is evaluated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import torch

from byzflower.certify.ratio import ratios, squared_distances
from byzflower.errors import InfeasibleError, SpecError
from byzflower.geometry import Geometry
from byzflower.specs import parse
from byzflower.steps import Aggregator, Pipeline
from byzflower.theory import bounds
from byzflower.updates import Updates

from .catalogue import (
    attack_of,
    attacks_offered,
    before_offered,
    rules_offered,
)

__all__ = ["MOST_POINTS", "Scene", "SceneError", "answer"]

Array = npt.NDArray[np.float64]

MOST_POINTS = 25
"""Honest and malicious points together."""
_FARTHEST = 1e6
_MOST_SUBSETS = {"smea": 60_000}
"""Rules that search all subsets, and how many a drag can wait for."""
_LARGEST_SEED = 2**31 - 1


class SceneError(ValueError):
    """One line: which field of a scene needs what, and what was found."""


@dataclass(frozen=True)
class Scene:
    """What the page asks about.

    Attributes
    ----------
    honest, malicious : tuple of (x, y)
        Points; together at most `MOST_POINTS`. An attack takes the malicious points' place.
    f : int
        Faults that the rules assume.
    rules : tuple of str
        Names of rules.
    before : str
        Pre-aggregators, joined by ``>``; "" for none.
    attack : str
        Name of an attack; "" leaves the malicious points where they are.
    factor : float, "adaptive" or None
        The attack's factor.
    against : str
        The rule that an adaptive attack searches against.
    seed : int
        Of whatever is random.
    """

    honest: tuple[tuple[float, float], ...]
    malicious: tuple[tuple[float, float], ...] = ()
    f: int = 0
    rules: tuple[str, ...] = ()
    before: str = ""
    attack: str = ""
    factor: float | str | None = None
    against: str = "mean"
    seed: int = 0

    @classmethod
    def from_json(cls, value: object) -> Scene:
        """Check what came over the wire.

        Raises
        ------
        SceneError
            For anything but a scene.

        >>> Scene.from_json({"honest": [[0, 1], [2, 1]], "rules": ["mean"]}).honest
        ((0.0, 1.0), (2.0, 1.0))
        >>> Scene.from_json({"honest": [], "eval": "1"})
        Traceback (most recent call last):
        byzflower.simulations.play.scene.SceneError: `scene` needs known fields; found 'eval'
        """
        if not isinstance(value, dict):
            _refuse("scene", "an object", value)
        unknown = [key for key in value if key not in cls.__dataclass_fields__]
        if unknown:
            _refuse("scene", "known fields", unknown[0])
        scene = cls(
            honest=_points("honest", value.get("honest")),
            malicious=_points("malicious", value.get("malicious", [])),
            f=_whole("f", value.get("f", 0), MOST_POINTS),
            rules=_names("rules", value.get("rules", []), rules_offered()),
            before=_name("before", value.get("before", ""), ["", *before_offered()]),
            attack=_name("attack", value.get("attack", ""), ["", *attacks_offered()]),
            factor=_factor(value.get("factor")),
            against=_name("against", value.get("against", "mean"), rules_offered()),
            seed=_whole("seed", value.get("seed", 0), _LARGEST_SEED),
        )
        n = len(scene.honest) + len(scene.malicious)
        if not scene.honest or n > MOST_POINTS:
            _refuse("honest", f"1 to {MOST_POINTS} points with the malicious ones", n)
        return scene


def answer(scene: Scene) -> dict[str, Any]:
    """Return where the malicious points, the steps before the rules and the rules end up.

    Returns
    -------
    dict
        ``malicious``: points (null where not finite); ``mean``, ``diameter``: of the honest points;
        ``before``: the points that the pre-aggregators make, and ARC's or clip's ``threshold``;
        ``rules``: for each, its point, how far it is from the honest mean, the ratios λ and κ, the
        weights of all points, the radius of the ball that a theorem keeps it in, and the theorem;
        or the ``error`` that says why it is not defined here.

    >>> scene = Scene(((0.0, 0.0), (2.0, 0.0)), ((8.0, 0.0),), f=1, rules=("median",))
    >>> found = answer(scene)["rules"][0]
    >>> found["value"], found["lambda"]
    ([2.0, 0.0], 0.5)
    """
    honest = np.array(scene.honest)
    malicious, problem = _malicious(scene)
    rows = np.concatenate([honest, malicious])
    mean = honest.mean(axis=0)
    return {
        "malicious": malicious.tolist(),
        "problem": problem,
        "mean": mean.tolist(),
        "diameter": math.sqrt(float(squared_distances(honest).max())),
        "before": _before(scene, rows),
        "rules": [_rule(scene, name, rows, len(honest)) for name in scene.rules],
    }


def _malicious(scene: Scene) -> tuple[Array, str]:
    """Return the malicious points, and why an attack left them where they were, if it did."""
    at_hand = np.array(scene.malicious).reshape(-1, 2)
    if not scene.attack:
        return at_hand, ""
    try:
        rows = attack_of(scene.attack, scene.factor)(
            torch.tensor(scene.honest, dtype=torch.float64),
            len(at_hand),
            rng=torch.Generator().manual_seed(scene.seed),
            rule=_with_before(scene, scene.against),
            center=torch.zeros(2, dtype=torch.float64),
        )
    except ValueError as error:  # InfeasibleError and SpecError are such
        return at_hand, str(error)
    return rows.numpy().astype(np.float64), ""


def _with_before(scene: Scene, name: str) -> Aggregator:
    return parse(f"{scene.before} > {name}" if scene.before else name)


def _before(scene: Scene, rows: Array) -> dict[str, Any] | None:
    """Return the rows as the pre-aggregators leave them for the rule."""
    if not scene.before:
        return None
    chain = parse(f"{scene.before} > mean")
    assert isinstance(chain, Pipeline)
    kept = rows[np.isfinite(rows).all(axis=1)]
    f = max(0, scene.f - (len(rows) - len(kept)))
    rng = torch.Generator().manual_seed(scene.seed)
    geometry, threshold = Geometry.of(Updates.of(torch.from_numpy(kept))), None
    try:
        for step in chain.before:
            step.check(geometry.n, f)
            mixing = step.mix(geometry, f, rng)
            threshold = mixing.note.get("threshold", threshold)
            geometry, f = geometry.mixed(mixing.matrix), mixing.f
    except InfeasibleError as error:
        return {"spec": scene.before, "error": str(error)}
    points = (geometry.matrix @ kept).tolist()
    return {"spec": scene.before, "points": points, "threshold": threshold}


def _rule(scene: Scene, name: str, rows: Array, h: int) -> dict[str, Any]:
    n, f = len(rows), scene.f
    try:
        rule = _with_before(scene, name)
        if math.comb(n, min(f, n)) > _MOST_SUBSETS.get(name, math.inf):
            raise InfeasibleError(f"`{name}` would search too many subsets to be drawn live")
        rule.check(n, f)
        found = rule.explain(
            torch.from_numpy(rows),
            f,
            rng=torch.Generator().manual_seed(scene.seed),
            center=torch.zeros(2, dtype=torch.float64) if rule.needs_center else None,
        )
    except (InfeasibleError, SpecError) as error:
        return {"name": name, "error": str(error)}
    value = found.value.numpy()
    finite = np.isfinite(rows).all(axis=1)
    honest = np.arange(n) < h
    measured = ratios(rows[finite], honest[finite], value)
    return {
        "name": name,
        "spec": rule.spec,
        "value": value.tolist(),
        "distance": float(np.linalg.norm(value - rows[:h].mean(axis=0))),
        "lambda": measured.lam,
        "kappa": measured.kappa,
        "weights": None if found.weights is None else found.weights.tolist(),
        **_promise(rule, rows[:h], n, f),
    }


def _promise(rule: Aggregator, honest: Array, n: int, f: int) -> dict[str, Any]:
    """Return the ball around the honest mean that a theorem keeps the rule in, if one does."""
    if n - len(honest) > f:  # the rule assumes fewer than there are: nothing is promised
        return {"radius": None, "source": ""}
    proved = bounds(rule, n, f, d=2)
    radii = {}
    if proved.lambda_bound is not None:
        diameter = math.sqrt(float(squared_distances(honest).max()))
        radii[proved.lambda_bound * diameter] = f"λ ≤ {proved.lambda_bound:.3g}"
    if proved.kappa_bound is not None:
        variance = float(((honest - honest.mean(axis=0)) ** 2).sum()) / len(honest)
        radii[math.sqrt(proved.kappa_bound * variance)] = f"κ ≤ {proved.kappa_bound:.3g}"
    if not radii:
        return {"radius": None, "source": proved.source}
    radius = min(radii)
    return {"radius": radius, "source": f"{radii[radius]} ({proved.source})"}


def _refuse(field: str, needs: str, found: object) -> NoReturn:
    raise SceneError(f"`{field}` needs {needs}; found {repr(found)[:60]}")


def _points(field: str, value: object) -> tuple[tuple[float, float], ...]:
    if not isinstance(value, list) or len(value) > MOST_POINTS:
        _refuse(field, f"a list of at most {MOST_POINTS} points", value)
    for point in value:
        if not (isinstance(point, list) and len(point) == 2 and all(map(_is_near, point))):
            _refuse(field, f"points [x, y] of numbers up to {_FARTHEST:g}", point)
    return tuple((float(x), float(y)) for x, y in value)


def _is_near(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) <= _FARTHEST  # type: ignore[arg-type]  # False for NaN


def _whole(field: str, value: object, largest: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= largest:
        _refuse(field, f"a whole number from 0 to {largest}", value)
    return value


def _name(field: str, value: object, offered: Sequence[str] | Mapping[str, Any]) -> str:
    if not isinstance(value, str) or value not in offered:
        _refuse(field, "a name from the catalogue", value)
    return value


def _names(field: str, value: object, offered: Mapping[str, Any]) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > len(offered):
        _refuse(field, f"a list of at most {len(offered)} names", value)
    return tuple(dict.fromkeys(_name(field, name, offered) for name in value))


def _factor(value: object) -> float | str | None:
    if value is None or value == "adaptive":
        return value
    if not _is_near(value):
        _refuse("factor", f'a number up to {_FARTHEST:g} or "adaptive"', value)
    return float(value)  # type: ignore[arg-type]
