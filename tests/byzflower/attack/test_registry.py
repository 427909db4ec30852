"""What holds for every registered attack."""

from __future__ import annotations

import pytest
import torch

import byzflower as bf
from byzflower.attack import Attack
from byzflower.testing import ATTACK_CHECKS, check_attack

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
    "tailored(eps=search, known=4, grid=[0.1, 1])",
    "tailored(eps=search, along=aggregate, grid=[0.1, 1])",
    "tailored(eps=0.1, along=sum)",
    "against_pool(pool=mean, grid=[0.1, 1], apart=0.5)",
    "against_pool(pool=['mean', 'median'], grid=[0, 1])",
    "against_pool(grid=[0, 1])",
    "ipm(epsilon=0.5)",
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
    assert names == set(bf.attacks()) - {"label_flip", "own_sign_flip"}
    assert bf.parse_attack("label_flip").level == "data"
    assert bf.parse_attack("own_sign_flip").level == "reply"


@pytest.mark.parametrize("check", ATTACK_CHECKS)
@pytest.mark.parametrize("spec", [*SPECS, "label_flip", "own_sign_flip(scale=5)"])
def test_attack(spec, check) -> None:
    check_attack(spec, only={check})


@pytest.mark.cuda
@pytest.mark.parametrize("spec", [*SPECS, "label_flip", "own_sign_flip(scale=5)"])
def test_attack_on_a_gpu(spec) -> None:
    check_attack(spec, device="cuda")


@pytest.mark.parametrize("spec", SPECS)
def test_only_nan_and_inf_send_what_is_not_finite(spec, honest) -> None:
    attack = bf.parse_attack(spec)
    assert bool(forged(attack, honest(7), 2).isfinite().all()) == (
        attack.name not in ("nan", "inf")
    )


@pytest.mark.parametrize("spec", ["gaussian", "random", "tailored(eps=random)"])
def test_random_attacks_follow_the_generator(spec, honest) -> None:
    attack, rows = bf.parse_attack(spec), honest(7)
    drawn = {tuple(forged(attack, rows, 1, seed=s)[0].tolist()) for s in range(12)}
    assert len(drawn) == (2 if attack.name == "tailored" else 12)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("foe", "`foe` needs `tau`, for instance foe(tau=1.5); found 'foe'"),
        ("foe(tau=inf)", "`foe` needs a number or adaptive for tau; found 'inf'"),
        ("foe(tau=adaptive, grid=[])", "`foe` needs a grid of at least one number"),
        ("foe(tau=adaptive, draws=0)", "`foe` needs an integer draws ≥ 1; found 0"),
        ("alie", "`alie` needs either tau or z, for instance alie(tau=1.5); found neither"),
        (
            "alie(tau=1, z=baruch)",
            "`alie` needs either tau or z, for instance alie(tau=1.5); found both",
        ),
        ("alie(z=max)", "`alie` needs z = baruch or none; found 'max'"),
        ("tailored(eps=0)", "`tailored` needs eps > 0; found 0"),
        ("tailored(eps=largest)", "`tailored` needs a number, random or search for eps"),
        ("tailored(eps=search, grid=[-1])", "`tailored` needs grid ≥ 0; found -1"),
        ("tailored(eps=1, known=0)", "`tailored` needs an integer known ≥ 1; found 0"),
        ("against_pool(pool=[])", "`against_pool` needs a pool of specs; found ()"),
        ("against_pool(pool=['crum'])", "unknown rule `crum`"),
        ("ipm", "`ipm` needs `epsilon`; found 'ipm'"),
        ("ipm(epsilon=0)", "`ipm` needs epsilon > 0; found 0"),
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


def test_the_former_name_of_against_pool_is_read_with_a_warning() -> None:
    with pytest.warns(FutureWarning, match="the attack `minmax` is now called `against_pool`"):
        attack = bf.parse_attack("minmax(pool=[krum, median])")
    assert attack.spec == "against_pool(pool=('krum', 'median'))"


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 7.5])
def test_ipm_is_foe_counted_from_zero(epsilon) -> None:
    honest = torch.randn(6, 20, generator=torch.Generator().manual_seed(0))
    found = bf.parse_attack(f"ipm(epsilon={epsilon})")(honest, f=2)
    torch.testing.assert_close(found, bf.parse_attack(f"foe(tau={1 + epsilon})")(honest, f=2))


def test_attacks_say_nothing_about_rows_they_need() -> None:
    for cls in bf.attacks().values():
        assert not {"needs", "rows_needed", "needs_gram", "feasible", "check"} & set(dir(cls))
