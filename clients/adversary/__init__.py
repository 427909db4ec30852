"""The omniscient, colluding adversary: a grid that answers for the colluders.

``grid`` withholds the colluders' train messages and decides when to forge; ``forgery`` turns honest
replies into a matrix of updates, and a forged update back into a reply that looks like theirs.
"""

from __future__ import annotations

from .grid import Adversary

__all__ = ["Adversary"]
