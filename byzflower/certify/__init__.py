"""Adversarial certification: search for the input on which a rule errs most, and replay it."""

from __future__ import annotations

from byzflower.certify.certificate import Certificate, Witness, replay
from byzflower.certify.ratio import Ratios, ratios
from byzflower.certify.verdict import certify

__all__ = ["Certificate", "Ratios", "Witness", "certify", "ratios", "replay"]
