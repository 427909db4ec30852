"""What holds for every registered attack."""

from __future__ import annotations

import pickle

import pytest
import torch

import byzflower as bf
from byzflower.attack import Attack

# One spec an attack (two for those with modes): a new attack must be added to be tested.
SPECS = [
    "sign_flip(scale=5)",
    "foe(tau=1.1)",
    "foe(tau=adaptive, grid=[0.5, 2, 10])",
    "alie(tau=1.5)",
    "alie(z=baruch)",
    "alie(tau=adaptive, grid=[0.5, 1, 2])",
    "mimic(warmup=3)",
    "gaussian",
    "duplicate(row=1)",
    "tailored(eps=0.1)",
    "tailored(eps=random)",
    "tailored(eps=search, known=2, grid=[0.1, 1])",
    "minmax(pool=['krum', 'median'], grid=[0, 1])",
    "minmax(grid=[0, 1])",
    "nan",
    "inf",
    "zero",
    "random",
]
RULE = bf.parse("trimmed_mean")


def forged(attack: Attack, honest: torch.Tensor, f: int, seed: int = 0) -> torch.Tensor:
    return attack(honest, f, rng=torch.Generator().manual_seed(seed), rule=RULE)


def test_every_attack_is_among_the_specs() -> None:
    names = {bf.parse_attack(spec).name for spec in SPECS}
    assert names == set(bf.attacks()) - {"label_flip"}
    assert bf.parse_attack("label_flip").level == "data"


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str
)
def test_rows_have_the_honest_dtype_and_are_finite(spec, dtype, honest) -> None:
    rows = honest(7, 40, dtype=dtype)
    before = rows.clone()
    attack = bf.parse_attack(spec)
    faulty = forged(attack, rows, 2)
    assert faulty.shape == (2, 40)
    assert faulty.dtype == dtype
    assert bool(faulty.isfinite().all()) == (attack.name not in ("nan", "inf"))
    assert torch.equal(rows, before)


@pytest.mark.parametrize("spec", SPECS)
def test_rows_never_share_memory_with_honest_ones(spec, honest) -> None:
    rows = honest(7, 40)
    faulty = forged(bf.parse_attack(spec), rows, 1)
    before = rows.clone()
    faulty[0] = 9.0
    assert torch.equal(rows, before)


@pytest.mark.parametrize("spec", SPECS)
def test_no_colluders_send_nothing(spec, honest) -> None:
    rows, state = bf.parse_attack(spec).step(honest(5), 0, rule=RULE, state="kept")
    assert rows.shape == (0, 120)
    assert state == "kept"


@pytest.mark.parametrize("spec", SPECS)
def test_one_honest_worker_is_enough(spec, honest) -> None:
    rule = bf.parse("mean")
    if "krum" in spec:
        spec = "minmax(pool=['mean'])"
    rows = bf.parse_attack(spec)(honest(1), 1, rng=torch.Generator(), rule=rule)
    assert bool(rows.isnan().any()) == (spec == "nan")


@pytest.mark.parametrize("spec", SPECS)
def test_huge_updates_stay_finite(spec, honest) -> None:
    rows = honest(7, 40)
    rows = rows / rows.abs().max() * 3e38
    attack = bf.parse_attack(spec)
    faulty = forged(attack, rows, 2)
    assert bool(faulty.isfinite().all()) == (attack.name not in ("nan", "inf"))


@pytest.mark.parametrize("spec", SPECS)
def test_same_generator_same_rows(spec, honest) -> None:
    attack, rows = bf.parse_attack(spec), honest(7)
    assert torch.equal(forged(attack, rows, 2).nan_to_num(), forged(attack, rows, 2).nan_to_num())


@pytest.mark.parametrize("spec", ["gaussian", "random", "tailored(eps=random)"])
def test_random_attacks_follow_the_generator(spec, honest) -> None:
    attack, rows = bf.parse_attack(spec), honest(7)
    drawn = {tuple(forged(attack, rows, 1, seed=s)[0].tolist()) for s in range(12)}
    assert len(drawn) == (2 if attack.name == "tailored" else 12)


@pytest.mark.parametrize("spec", [*SPECS, "label_flip"])
def test_spec_and_pickle_round_trip(spec) -> None:
    attack = bf.parse_attack(spec)
    assert bf.parse_attack(attack.spec) == attack
    assert pickle.loads(pickle.dumps(attack)) == attack
    assert hash(attack) == hash(bf.parse_attack(spec))


@pytest.mark.parametrize("spec", [s for s in SPECS if bf.parse_attack(s).needs_rule])
def test_searches_ask_for_the_rule(spec, honest) -> None:
    with pytest.raises(ValueError, match="needs the server's rule; found none"):
        bf.parse_attack(spec)(honest(5), 1)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("foe", "`foe` needs `tau`; found 'foe'"),
        ("foe(tau=inf)", "`foe` needs a number or adaptive for tau; found 'inf'"),
        ("foe(tau=adaptive, grid=[])", "`foe` needs a grid of at least one number"),
        ("foe(tau=adaptive, draws=0)", "`foe` needs an integer draws ≥ 1; found 0"),
        ("alie", "`alie` needs either tau or z; found neither"),
        ("alie(tau=1, z=baruch)", "`alie` needs either tau or z; found both"),
        ("alie(z=max)", "`alie` needs z = baruch or none; found 'max'"),
        ("tailored(eps=0)", "`tailored` needs eps > 0; found 0"),
        ("tailored(eps=largest)", "`tailored` needs a number, random or search for eps"),
        ("tailored(eps=search, grid=[-1])", "`tailored` needs grid ≥ 0; found -1"),
        ("tailored(eps=1, known=0)", "`tailored` needs an integer known ≥ 1; found 0"),
        ("minmax(pool=[])", "`minmax` needs a pool of specs; found ()"),
        ("minmax(pool=['crum'])", "unknown rule `crum`"),
        ("mimic(warmup=0)", "`mimic` needs an integer warmup ≥ 1; found 0"),
        ("gaussian(std=0)", "`gaussian` needs std > 0; found 0"),
        ("duplicate(row=-1)", "`duplicate` needs an integer row ≥ 0; found -1"),
        ("sign_flip(scale=-1)", "`sign_flip` needs scale > 0; found -1"),
    ],
)
def test_parameters_are_checked_when_built(spec, message) -> None:
    with pytest.raises(bf.SpecError) as error:
        bf.parse_attack(spec)
    assert message in str(error.value)


def test_updates_and_rule_come_in_the_forms_that_rules_take() -> None:
    attack, honest = bf.parse_attack("foe(tau=adaptive)"), torch.randn(7, 5)
    sent = attack(honest, 2, rule=bf.parse("nnm > median"))
    assert torch.equal(attack([*honest], 2, rule="nnm > median"), sent)


def test_honest_updates_are_checked() -> None:
    attack = bf.parse_attack("zero")
    with pytest.raises(ValueError, match=r"needs honest updates \(h, d\), h ≥ 1; found \(0, 3\)"):
        attack(torch.zeros(0, 3), 1)
    with pytest.raises(TypeError, match=r"floating-point dtype; found torch\.int64"):
        attack(torch.zeros(2, 3, dtype=torch.int64), 1)


def test_label_flip_forges_nothing() -> None:
    with pytest.raises(TypeError, match="there is no update to forge"):
        bf.parse_attack("label_flip")(torch.zeros(2, 3), 1)
