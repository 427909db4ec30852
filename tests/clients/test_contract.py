"""What every client algorithm does; one is tested by being registered."""

from __future__ import annotations

import pytest

from byzflower.registry import registered
from byzflower.testing import CLIENT_CHECKS, check_client

VARIANTS = [
    "gradient(clip=0.5)",
    "momentum(beta=0.5, clip=0.1)",
    "local_sgd(steps=3, lr=0.1, momentum=0.9)",
]
FOR_THE_CLASS = {"says_what_it_does"}
CASES = [(spec, check) for spec in registered("client") for check in CLIENT_CHECKS] + [
    (spec, check) for spec in VARIANTS for check in CLIENT_CHECKS if check not in FOR_THE_CLASS
]


@pytest.mark.parametrize(("spec", "check"), CASES)
def test_client(spec: str, check: str) -> None:
    check_client(spec, only={check})


@pytest.mark.cuda
@pytest.mark.parametrize("spec", [*registered("client"), *VARIANTS])
def test_client_on_a_gpu(spec: str) -> None:
    check_client(spec, device="cuda")
