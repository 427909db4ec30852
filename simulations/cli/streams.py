"""Standard streams that take whatever the commands print, on any console."""

from __future__ import annotations

import codecs
import os
import sys
import unicodedata

__all__ = ["prepare_streams"]

_WRITTEN = {
    "≥": ">=",
    "≤": "<=",
    "−": "-",
    "–": "-",
    "×": "x",
    "…": "...",
    "→": "->",
    "∞": "inf",
    "∇": "grad ",
    "√": "sqrt",
    "≈": "~",
    "∈": "in",
    "⟨": "<",
    "⟩": ">",
    "‖": "|",
    "λ": "lambda",  # Unicode calls it lamda
    "━": "-",
    "█": "#",
}
"""What a character is written as where the console has none such; Greek letters by their names."""


def prepare_streams() -> None:
    """Let standard output and error write "≥" as ">=" where they must, and be closed."""
    codecs.register_error("byzflower", _spelt)
    # Flower, too, prints; and what is opened next must not get a standard stream's number.
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif not (stream.encoding or "utf-8").lower().startswith("utf"):
            stream.reconfigure(errors="byzflower")


def _spelt(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    return "".join(map(_letter, found)), error.end


def _letter(letter: str) -> str:
    if letter in _WRITTEN:
        return _WRITTEN[letter]
    name = unicodedata.name(letter, "")
    if name.startswith("GREEK"):
        return name.rpartition(" ")[2].lower()
    plain = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return plain or "?"
