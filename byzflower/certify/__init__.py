"""Adversarial certification: search for the inputs on which a rule errs most.

:func:`certify` looks for inputs that maximise the two ratios that λ and κ bound, and returns a
:class:`Certificate`: the largest ratios found, the proved bounds, and the inputs as a
:class:`Witness` that :func:`replay` evaluates again from a file.

``ratio`` computes the ratios. ``starts`` and ``catalogue`` give inputs to begin with, from proofs
and from attacks; ``ascent`` improves them; ``search`` does all this in one dimension, ``verdict``
in several, and compares. A search that finds nothing proves nothing.
"""

from __future__ import annotations

from byzflower.certify.certificate import Certificate, Witness, replay
from byzflower.certify.ratio import Ratios, ratios
from byzflower.certify.verdict import certify

__all__ = ["Certificate", "Ratios", "Witness", "certify", "ratios", "replay"]
