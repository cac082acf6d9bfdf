"""The values that a field of ``Settings`` accepts, read from its type, and their description in errors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from numbers import Integral, Real
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

_DEVICE = re.compile(r"[a-z][a-z0-9_]{0,39}(:[0-9]{1,4})?")  # as torch names them
_SHOWN = 80  # characters of a value in an error


@dataclass(frozen=True, slots=True)
class Bounds:
    """The numbers that a field of ``Settings`` accepts.

    Attributes
    ----------
    least, most : float
        Both inclusive.
    step : int
        Whole numbers must be ``least`` plus a multiple of this.
    """

    least: float
    most: float
    step: int = 1

    def hold(self, number: float) -> bool:
        """Return whether they include a number."""
        in_step = isinstance(number, float) or (number - self.least) % self.step == 0
        return self.least <= number <= self.most and in_step

    def describe(self, *, integers: bool) -> str:
        """Return the bounds in words, such as "an odd whole number from 1 to 15"."""
        kind = "a number"
        if integers:
            kind = "a whole number" if self.step == 1 else "an odd whole number" if self.least % 2 else "an even number"
        return f"{kind} from {_write_number(self.least)} to {_write_number(self.most)}"


@dataclass(frozen=True, slots=True)
class Rule:
    """What one field accepts."""

    kind: type  # bool, int, float or str
    words: tuple[str, ...]  # such as "auto"
    none: bool  # whether None is allowed
    bounds: Bounds | None  # for numbers

    def check(self, name: str, value: Any) -> Any:
        """Return a value as a plain Python value (NumPy's numbers are converted); raise ValueError if it is refused."""
        if value is None and self.none:
            return None
        if isinstance(value, str):
            if value in self.words or (self.kind is str and not self.words and _DEVICE.fullmatch(value)):
                return str.__str__(value)
        elif self.kind is bool and isinstance(value, bool | np.bool_):
            return bool(value)
        elif self.bounds is not None and isinstance(value, Real) and not isinstance(value, bool):
            number = _as_python(value, self.kind)
            if number is not None and self.bounds.hold(number):
                return number
        raise ValueError(f"{name} is {show(value)}; {self.describe()}.")

    def describe(self) -> str:
        """Return advice on what to give instead."""
        if self.kind is bool:
            return "give True or False"
        if self.bounds is not None:
            others = [*(f'"{word}"' for word in self.words), *(["None"] if self.none else [])]
            return " or ".join(["give " + ", ".join([self.bounds.describe(integers=self.kind is int), *others[:-1]]),
                                *others[-1:]])  # fmt: skip
        if self.words:
            return f"choose one of {', '.join(self.words)}"
        return 'give "auto" or the name of a torch device, such as "cpu" or "cuda:1"'


def read_rules(settings: type) -> dict[str, Rule]:
    """Return the rule of each field of a settings class, read from its type."""
    rules = {}
    for name, hint in get_type_hints(settings, include_extras=True).items():
        plain, *extra = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        kinds = get_args(plain) if get_origin(plain) in (Union, UnionType) else (plain,)
        words = tuple(word for each in kinds if get_origin(each) is Literal for word in get_args(each))
        kind = next((each for each in kinds if each in (bool, int, float, str)), str)
        rules[name] = Rule(kind, words, type(None) in kinds, next(iter(extra), None))
    return rules


def show(value: object, *, quoted: bool = True) -> str:
    """Return any value as text for an error: short, on one line, with nothing invisible."""
    try:
        text = repr(value) if quoted or not isinstance(value, str) else repr(value)[1:-1]
    except Exception:  # integers with too many digits, lists nested too deeply
        return f"a value of type {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _write_number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) and value >= 10_000 else f"{value:g}"


def _as_python(value: Real, kind: type) -> Any:
    """Return a number as Python's int or float; None if that is impossible."""
    try:
        if kind is int:
            return int(value) if isinstance(value, Integral) else None
        return float(value)
    except (OverflowError, ValueError):
        return None
