"""What `Robust` refuses at construction, with what to write instead."""

from __future__ import annotations

import inspect

import flwr.server.strategy as former
from flwr.serverapp.strategy import (
    Bulyan,
    DifferentialPrivacyClientSideAdaptiveClipping,
    DifferentialPrivacyClientSideFixedClipping,
    DifferentialPrivacyServerSideAdaptiveClipping,
    DifferentialPrivacyServerSideFixedClipping,
    FedAvg,
    FedMedian,
    FedTrimmedAvg,
    FedXgbBagging,
    FedXgbCyclic,
    Krum,
    MultiKrum,
    Strategy,
)

from byzflower.wire.payload import check_payload

from .server_sgd import ServerSGD

__all__ = ["PRIVACY_WRAPPERS", "check_fits", "check_inner", "check_not_wrapped"]

_DIFFERENTIAL_PRIVACY = (
    DifferentialPrivacyClientSideAdaptiveClipping,
    DifferentialPrivacyClientSideFixedClipping,
    DifferentialPrivacyServerSideAdaptiveClipping,
    DifferentialPrivacyServerSideFixedClipping,
)
PRIVACY_WRAPPERS = (
    former.DPFedAvgAdaptive,
    former.DPFedAvgFixed,
    former.DifferentialPrivacyClientSideAdaptiveClipping,
    former.DifferentialPrivacyClientSideFixedClipping,
    former.DifferentialPrivacyServerSideAdaptiveClipping,
    former.DifferentialPrivacyServerSideFixedClipping,
)
"""Those of Flower's former interface."""
_TREES = (FedXgbBagging, FedXgbCyclic)
# Krum is a MultiKrum, so it stands first.
_WITH_A_RULE: tuple[tuple[type[FedAvg], str], ...] = (
    (Krum, "krum"),
    (MultiKrum, "multi_krum"),
    (Bulyan, "bulyan"),
    (FedMedian, "median"),
    (FedTrimmedAvg, "trimmed_mean"),
)


def check_inner(inner: object) -> None:
    """Refuse what is no strategy, or one that cannot take its step with one aggregate.

    Raises
    ------
    TypeError
        If `inner` is a class, a strategy of Flower's former interface, one that adds noise,
        aggregates trees, has a rule or a loop over the rounds of its own.
    """
    if isinstance(inner, type):
        raise TypeError(
            f"`inner` needs a Flower strategy; found the class `{inner.__name__}`: write "
            f"`{inner.__name__}(…)`"
        )
    if any(base.__module__.startswith("flwr.server.strategy") for base in type(inner).__mro__):
        raise TypeError(
            "`inner` needs a strategy of `flwr.serverapp.strategy`; found "
            f"`{type(inner).__name__}` of Flower's former interface `flwr.server.strategy`: wrap "
            "it in `byzflower.strategies.legacy.LegacyRobust`"
        )
    if not isinstance(inner, Strategy):
        raise TypeError(f"`inner` needs a Flower strategy; found {inner!r}")
    name = type(inner).__name__
    if isinstance(inner, _DIFFERENTIAL_PRIVACY):
        raise TypeError(
            f"`inner` needs a strategy without differential privacy; found `{name}`, whose "
            "guarantee is void here: it would clip the one aggregate and add noise to it as if it "
            "were a mean of n updates"
        )
    if isinstance(inner, _TREES):
        raise TypeError(
            f"`inner` needs a strategy that aggregates vectors; found `{name}`, which collects "
            "trees that no rule here can aggregate: run it without `Robust`"
        )
    for strategy, rule in _WITH_A_RULE:
        if isinstance(inner, strategy):
            raise TypeError(
                f"`inner` needs a strategy without a rule of its own; found `{name}`, which would "
                f"see one aggregate: write `Robust(FedAvg(…), {rule!r}, num_malicious_nodes)`"
            )
    if type(inner).start is not Strategy.start:
        raise TypeError(
            f"`inner` needs a strategy that leaves `start` alone; found `{name}`, whose own "
            "`start` would never be called: move what it does to `configure_train` or "
            "`aggregate_train`"
        )


def check_fits(inner: Strategy, payload: str) -> None:
    """Refuse a payload that the inner strategy would mistake for the other one."""
    check_payload(payload)
    if isinstance(inner, ServerSGD) and payload == "model":
        raise ValueError("`ServerSGD` needs payload='gradient'; found 'model'")
    if type(inner).__module__.startswith("flwr.") and payload == "gradient":
        raise ValueError(
            f"`{type(inner).__name__}` needs payload='model'; found 'gradient', which a "
            "`ServerSGD` applies"
        )


def check_not_wrapped(strategy: object) -> None:
    """Refuse to work inside one of Flower's differential-privacy wrappers.

    They are made without a word to the strategy inside, so who calls it is all there is to go by.

    Raises
    ------
    TypeError
        If such a wrapper around ``strategy`` is among the callers.
    """
    frame = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        wrappers = (*_DIFFERENTIAL_PRIVACY, *PRIVACY_WRAPPERS)
        if isinstance(caller, wrappers) and caller.strategy is strategy:
            raise TypeError(
                f"`{type(strategy).__name__}` needs to be the outermost strategy; found it inside "
                f"`{type(caller).__name__}`, whose noise is made for the mean of n updates: one "
                "update moves a robust aggregate by more than clipping norm / n, so the privacy "
                "promised would not be had. Clip and add noise on the clients instead"
            )
        frame = frame.f_back
