"""Helpers for the sentences that the window shows."""

import re

_BEFORE_UNIT = re.compile(r"(?<=\d) (?=(?:s|min|h|GB)\b)|(?<=\bmin) (?=\d+ s\b)|(?<=\bh) (?=\d+ min\b)")
_LONG_WORD = re.compile(r"\S{25,}")  # such as a file's name: it would be cut off at the edge of the form
_WITHIN_WORD = re.compile(r"(?<=[_./\\-])(?=\w)|(?<=[^\W_]{20})(?=[^\W_])")


def capitalise(sentence: str) -> str:
    """Return a sentence with its first letter in upper case."""
    return sentence[:1].upper() + sentence[1:]


def set_lines(sentence: str) -> str:
    """Return a sentence whose lines may end within a long word, but not between a number and its unit."""
    sentence = _BEFORE_UNIT.sub("\N{NO-BREAK SPACE}", sentence)
    return _LONG_WORD.sub(lambda word: _WITHIN_WORD.sub("\N{ZERO WIDTH SPACE}", word[0]), sentence)
