"""Helpers for the sentences that the window shows."""

import re

_BEFORE_UNIT = re.compile(r"(?<=\d) (?=(?:s|min|h|GB)\b)|(?<=\bmin) (?=\d+ s\b)|(?<=\bh) (?=\d+ min\b)")


def capitalise(sentence: str) -> str:
    """Return a sentence with its first letter in upper case."""
    return sentence[:1].upper() + sentence[1:]


def keep_units(sentence: str) -> str:
    """Return a sentence in which no line ends between a number and its unit, or within "1 min 10 s"."""
    return _BEFORE_UNIT.sub("\N{NO-BREAK SPACE}", sentence)
