"""The report on many files: one row per file, appended as it is finished, so a killed run leaves its rows."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..whole_files import write_atomically

_JSON_START, _JSON_END = b"[\n", b"\n]\n"
_EMPTY_JSON = ("[\n]\n", "[\n")


@dataclass(frozen=True, slots=True)
class Row:
    """The report's row for one file.

    Attributes
    ----------
    source, out : str
        File names; characters that cannot be printed or are not UTF-8 are escaped as in Python.
    status : {"done", "kept", "failed"}
        "kept": the output existed, and a run that resumed kept it.
    error : str
        Why it failed; or what to know about a file that is done or kept.
    planes, step, stop_reason, noise, seconds, device
        As in ``FileOutcome``; empty if unknown.
    settings : str
        JSON.
    """

    source: str
    out: str
    status: str
    error: str = ""
    planes: int | None = None
    step: int | None = None
    stop_reason: str = ""
    noise: float | None = None
    seconds: float | None = None
    device: str = ""
    settings: str = ""


def write_report(path: Path, rows: Sequence[Row]) -> None:
    """Write the report as CSV or JSON, according to its name; completely or not at all."""
    if path.suffix.lower() == ".json":
        text = "[\n" + ",\n".join(map(_as_json, rows)) + ("\n]\n" if rows else "]\n")
    else:
        text = _as_csv([field.name for field in fields(Row)]) + "".join(_as_csv(asdict(row).values()) for row in rows)
    write_atomically(path, lambda hidden: hidden.write_text(text, encoding="utf-8"))


def append_row(path: Path, row: Row) -> None:
    """Append a row to a report without rewriting the others; if that fails, restore the report as it was."""
    with path.open("r+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if path.suffix.lower() == ".json":
            is_first = size == len(_JSON_START + _JSON_END) - 1
            place = len(_JSON_START) if is_first else size - len(_JSON_END)
            added = ("" if is_first else ",\n") + _as_json(row) + "\n]\n"
        else:
            place, added = size, _as_csv(asdict(row).values())
        file.seek(place)
        replaced = file.read()
        try:
            file.seek(place)
            if file.write(added.encode()) < len(added.encode()):
                raise OSError(errno.ENOSPC, "the disk is full")
        except OSError:
            file.seek(place)
            file.write(replaced)
            file.truncate()
            raise


def read_report(path: Path) -> dict[str, Row]:
    """Return the rows of a report by output (the last one counts); an empty dict if it is not a report."""
    return {row.out: row for row in _read_rows(path) or []}


def is_report(path: Path) -> bool:
    """Return whether a file is a napari-dip report, even if its last row is incomplete."""
    return _read_rows(path) is not None


def _read_rows(path: Path) -> list[Row] | None:
    """Return the complete rows; None if it is not a report."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            text = file.read()
        if path.suffix.lower() == ".json":
            found = _read_json(text)
            is_ours = text in _EMPTY_JSON or bool(found)
        else:
            table = csv.DictReader(io.StringIO(text))
            is_ours = table.fieldnames == [field.name for field in fields(Row)]
            found = list(table) if is_ours else []
    except (OSError, ValueError, RecursionError, csv.Error):
        return None
    rows = []
    for values in found:
        with suppress(ValueError, KeyError, TypeError):
            rows.append(_read_row(values))
    return rows if is_ours and (rows or not found) else None


def _as_json(row: Row) -> str:
    return json.dumps(asdict(row) | {"settings": json.loads(row.settings or "{}")})


def _as_csv(values: Iterable[Any]) -> str:
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()


def _read_json(text: str) -> list[Any]:
    """Return the rows of a JSON report; if its end is missing, the complete ones."""
    try:
        values = json.loads(text)
        return values if isinstance(values, list) else []
    except ValueError:
        rows = []
        for line in text.splitlines():
            with suppress(ValueError):
                rows.append(json.loads(line.rstrip(",")))
        return rows


def _read_row(values: Any) -> Row:
    read: dict[str, Any] = {}
    for field in fields(Row):
        value = values[field.name]
        if field.name == "settings":
            value = json.dumps(value) if isinstance(value, dict) else value
            json.loads(value or "{}")  # fails if the row is incomplete
        elif field.name in ("planes", "step"):
            value = None if value in ("", None) else int(value)
        elif field.name in ("noise", "seconds"):
            value = None if value in ("", None) else float(value)
        elif not isinstance(value, str):
            raise TypeError(f"{field.name} is not text: the row is incomplete.")
        read[field.name] = value
    return Row(**read)
