"""The types of a record's fields: a record may come from anyone, so it is checked against them when it is read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, ConfigDict, Field, PlainValidator

from .settings import Settings

_LONGEST_TEXT = 100_000
_MOST_NUMBERS = 256 * 256 * 4  # in a parameter: enough for a point spread function for each of four channels
_BASE_64 = "(?:[A-Za-z0-9+/]{4})*[A-Za-z0-9+/]{2}(?:[A-Za-z0-9+/]{2}|[A-Za-z0-9+/]=|==)"
_PIXEL_TYPES = (  # numpy's names; the longest types exist only on some machines
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "float80", "float96", "float128", "longdouble",
)  # fmt: skip


def _check_text(text: Any) -> str:
    if not isinstance(text, str):
        raise ValueError("should be text")
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"should be no longer than {_LONGEST_TEXT:,} characters")
    return str.__str__(text)


def _written_as(pattern: str, words: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"should be {words}")
        return text

    return AfterValidator(check)


def one_of(*words: str) -> AfterValidator:
    """Return the rule that a text must be one of these words."""
    return _written_as("|".join(map(re.escape, words)), f"one of {', '.join(words)}")


def _check_range(ends: tuple[int, int]) -> tuple[int, int]:
    if not ends[0] < ends[1]:
        raise ValueError("should end after it begins")
    return ends


def read_numbers(value: Any) -> Any:
    """Return a number as a Python number, and an array or rows of numbers as nested tuples."""
    rows = _read_rows(value.tolist() if isinstance(value, np.ndarray | np.generic) else value, 3)
    try:
        array = np.asarray(rows)
    except ValueError:
        raise ValueError("should have rows of equal length") from None
    if array.dtype.kind not in "iuf" or array.size > _MOST_NUMBERS:
        raise ValueError(f"should have at most {_MOST_NUMBERS:,} numbers, of at most 64 bits each")
    return rows


def _read_rows(value: Any, dimensions: int) -> Any:
    # not with numpy, which would pad everything beside a long text to the text's length
    if isinstance(value, list | tuple) and dimensions:
        return tuple(_read_rows(each, dimensions - 1) for each in value)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf:
        return value
    raise ValueError("should be a finite number, or rows of finite numbers, in at most 3 dimensions")


def _read_settings(values: Any) -> Settings:
    if not isinstance(values, Mapping):
        raise ValueError("should hold the name and the value of each setting")
    # settings without an optimiser date from when there was only Adam
    return Settings.from_dict({"optimiser": "adam"} | dict(values))


Text = Annotated[str, PlainValidator(_check_text)]  # not pydantic's, which refuses file names that are not UTF-8
FilePath = Annotated[Text, _written_as(r"[^\0]*", "a path")]
PackedMask = Annotated[str, Field(strict=True), _written_as(_BASE_64, "a mask in base 64")]
PixelType = Annotated[Text, one_of(*_PIXEL_TYPES)]
Digest = Annotated[Text, _written_as("[0-9a-f]{64}", "a SHA-256 of 64 hexadecimal digits")]
VersionText = Annotated[Text, _written_as("[A-Za-z0-9.+!_-]{1,64}", "the name or number of a version")]
Flag = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=0, le=2**53)]
Length = Annotated[int, Field(strict=True, ge=1, le=2**53)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Amount = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0)]
Seconds = Annotated[float, Field(strict=True, ge=0, le=1e12)]
Range = Annotated[tuple[Count, Count], AfterValidator(_check_range)]
ParameterName = Annotated[Text, _written_as("[a-z_]{1,64}", "the name of a parameter")]
Numbers = Annotated[Any, PlainValidator(read_numbers)]  # a parameter's; its task checks them further
SettingsRead = Annotated[Settings, PlainValidator(_read_settings)]
KNOWN_FIELDS_ONLY = ConfigDict(extra="forbid")
