"""Sentences about files, as the window shows them: it is narrow, and its user has chosen the folders a moment ago."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from ...many.file_plan import spell

_INSTEAD = {  # of what to do in the terminal, what to do in the window
    "choose another name or add --overwrite": "choose another folder for the results",
    "give a folder or pattern of": "choose a folder with",
}


def shorten_paths(sentence: str, folders: Iterable[Path]) -> str:
    """Return a sentence without these folders before the names of their files."""
    sentence = _spell(sentence)
    for folder in sorted(map(_spell, folders), key=len, reverse=True):  # one may lie in the other
        sentence = sentence.replace(f"{folder}{os.sep}", "")
        alone = re.compile(rf"{re.escape(folder)}(?=[\s,;:)'\"]|\.?$)")
        sentence = f"“{folder.rpartition(os.sep)[2]}”".join(alone.split(sentence))
    for in_terminal, in_window in _INSTEAD.items():
        sentence = sentence.replace(in_terminal, in_window)
    return sentence


def _spell(text: object) -> str:
    """Return a text as the report on many files spells it."""
    return spell(" ".join(str(text).split()))
