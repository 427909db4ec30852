"""What the page is told: what the library says, and nothing for questions that are none."""

from __future__ import annotations

import math

import pytest
import torch

import byzflower as bf
from byzflower.simulations.play.catalogue import attacks_offered, before_offered, rules_offered
from byzflower.simulations.play.scene import MOST_POINTS, Scene, SceneError, answer
from byzflower.theory import bounds

HONEST = tuple((math.cos(i), 1 + math.sin(2 * i)) for i in range(8))
MALICIOUS = ((-9.0, 4.0), (-8.0, 3.0))


@pytest.mark.parametrize("before", ["", "nnm", "arc > nnm", "clip(c=2.0)"])
def test_every_rule_s_point_is_the_library_s(before: str) -> None:
    names = tuple(name for name in rules_offered() if name not in ("mixtailor", "monna", "bulyan"))
    rows = torch.tensor([*HONEST, *MALICIOUS], dtype=torch.float64)
    found = answer(Scene(HONEST, MALICIOUS, f=2, rules=names, before=before))
    assert [rule["name"] for rule in found["rules"]] == list(names)
    for told in found["rules"]:
        rule = bf.parse(told["spec"])
        center = torch.zeros(2, dtype=torch.float64) if rule.needs_center else None
        expected = rule(rows, f=2, center=center)
        torch.testing.assert_close(torch.tensor(told["value"], dtype=torch.float64), expected)
        mean = rows[:8].mean(dim=0)
        assert told["distance"] == pytest.approx(float((expected - mean).norm()))
        assert told["lambda"] == pytest.approx(told["distance"] / found["diameter"])


@pytest.mark.parametrize("name", attacks_offered())
def test_every_attack_that_is_offered_strikes(name: str) -> None:
    offered = attacks_offered()[name]
    factor = None if offered["factor"] is None else 1.5
    found = answer(Scene(HONEST, MALICIOUS, 2, ("median",), attack=name, factor=factor))
    assert found["problem"] == ""
    spec = name if factor is None else f"{name}({offered['factor']}=1.5)"
    rows = torch.tensor(HONEST, dtype=torch.float64)
    expected = bf.parse_attack(spec)(rows, 2, rule="mean", rng=torch.Generator().manual_seed(0))
    drawn = torch.tensor(found["malicious"], dtype=torch.float64)
    torch.testing.assert_close(drawn, expected, equal_nan=True)


def test_an_adaptive_attack_does_more_harm_to_the_rule_it_searches_against() -> None:
    def harm(factor: float | str) -> float:
        scene = Scene(HONEST, MALICIOUS, 2, ("krum",), "", "foe", factor, against="krum")
        return answer(scene)["rules"][0]["distance"]

    assert harm("adaptive") >= max(harm(0.5), harm(3.0))
    assert harm("adaptive") > 0


def test_the_dashed_ball_is_the_theorem_s_and_only_where_it_speaks() -> None:
    def radius(name: str, f: int, before: str = "") -> tuple[float | None, float]:
        found = answer(Scene(HONEST, MALICIOUS, f, (name,), before))
        return found["rules"][0]["radius"], found["diameter"]

    proved = bounds("median", 10, 2, d=2).lambda_bound
    assert proved is not None
    found, diameter = radius("median", 2)
    assert found == pytest.approx(proved * diameter)
    assert radius("median", 1)[0] is None  # more malicious points than it assumes
    assert radius("mean", 2)[0] is None
    kappa = bounds("nnm > median", 10, 2).kappa_bound
    honest = torch.tensor(HONEST, dtype=torch.float64)
    assert kappa is not None
    variance = float(honest.var(dim=0, correction=0).sum())
    assert radius("median", 2, "nnm")[0] == pytest.approx(math.sqrt(kappa * variance))


def test_what_pre_aggregators_make_of_the_points_is_told() -> None:
    found = answer(Scene(HONEST, MALICIOUS, 2, ("mean",), "arc"))["before"]
    norms = torch.tensor(found["points"]).norm(dim=1)
    assert float(norms.max()) == pytest.approx(found["threshold"])
    averaged = torch.tensor(found["points"], dtype=torch.float64).mean(dim=0)
    rows = torch.tensor([*HONEST, *MALICIOUS], dtype=torch.float64)
    torch.testing.assert_close(averaged, bf.parse("arc > mean")(rows, f=2))
    assert len(answer(Scene(HONEST, MALICIOUS, 2, (), "bucketing(s=2)"))["before"]["points"]) == 5


def test_what_is_not_defined_says_why_instead_of_a_point() -> None:
    few = answer(Scene(HONEST[:3], MALICIOUS, 2, ("krum", "mean"), "nnm"))
    assert few["rules"][0]["error"] == "`krum` needs n ≥ 2f+3 rows; found n = 5, f = 2"
    assert "value" in few["rules"][1]
    many = tuple((math.sin(i), math.cos(i * i)) for i in range(13))
    slow = answer(Scene(many, many[:12], 12, ("smea",)))["rules"][0]
    assert slow["error"] == "`smea` would search too many subsets to be drawn live"
    not_finite = answer(Scene(HONEST, MALICIOUS, 1, ("median",), "nnm", attack="nan"))
    assert "rows that hold NaN" in not_finite["rules"][0]["error"]


def test_malicious_points_that_are_no_numbers_are_removed() -> None:
    found = answer(Scene(HONEST, MALICIOUS, 2, ("median", "mean"), attack="inf"))
    assert all("value" in rule for rule in found["rules"])
    assert found["rules"][0]["lambda"] < 1


def test_every_pre_aggregator_that_is_registered_is_offered() -> None:
    assert {spec.partition("(")[0] for spec in before_offered()} >= set(bf.preaggregators())


GOOD = {"honest": [[0, 1], [2, 1]], "malicious": [[1, 1]], "f": 1, "rules": ["mean"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"honest": []}, "`honest` needs 1 to 25 points with the malicious ones; found 1"),
        ({"honest": [[0, 1]] * 25}, "`honest` needs 1 to 25 points with the malicious ones"),
        ({"honest": [[0, 1]] * 10_000}, "`honest` needs a list of at most 25 points"),
        ({"honest": "[[0, 1]]"}, "`honest` needs a list of at most 25 points"),
        ({"honest": [[0, 1, 2]]}, "`honest` needs points [x, y] of numbers up to 1e+06"),
        ({"honest": [[0, float("nan")]]}, "`honest` needs points [x, y]"),
        ({"honest": [[0, True]]}, "`honest` needs points [x, y]"),
        ({"malicious": [[0, 1e300]]}, "`malicious` needs points [x, y]"),
        ({"f": -1}, "`f` needs a whole number from 0 to 25; found -1"),
        ({"f": 1.0}, "`f` needs a whole number"),
        ({"f": 10**400}, "`f` needs a whole number"),
        ({"rules": ["krum(p=3)"]}, "`rules` needs a name from the catalogue; found 'krum(p=3)'"),
        ({"rules": ["__import__('os')"]}, "`rules` needs a name from the catalogue"),
        ({"rules": [["mean"]]}, "`rules` needs a name from the catalogue"),
        ({"rules": ["mean"] * 100}, "`rules` needs a list of at most"),
        ({"before": "nnm > nnm > nnm"}, "`before` needs a name from the catalogue"),
        ({"attack": "foe(tau=1)"}, "`attack` needs a name from the catalogue"),
        ({"factor": "1"}, "`factor` needs a number up to 1e+06 or \"adaptive\"; found '1'"),
        ({"against": None}, "`against` needs a name from the catalogue; found None"),
        ({"seed": 2**31}, "`seed` needs a whole number"),
        ({"extra": 1}, "`scene` needs known fields; found 'extra'"),
    ],
)
def test_what_is_no_scene_is_refused_in_one_line(change: dict, message: str) -> None:
    with pytest.raises(SceneError) as refused:
        Scene.from_json(GOOD | change)
    assert str(refused.value).startswith(message)
    assert len(str(refused.value)) < 200
    assert Scene.from_json(GOOD).malicious == ((1.0, 1.0),)
    assert len(HONEST) < MOST_POINTS


@pytest.mark.parametrize("value", [None, 1, "scene", [GOOD]])
def test_a_scene_is_an_object(value: object) -> None:
    with pytest.raises(SceneError, match="`scene` needs an object"):
        Scene.from_json(value)
