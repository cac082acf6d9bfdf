"""The reports of a run as a table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .band_figure import band_names

if TYPE_CHECKING:
    from ..outcome import Report

_COLUMNS = ("step", "loss", "held_out_error", "prior_error", "ratio", "lipschitz_bound")


def write_table(path: Path, reports: Sequence[Report]) -> None:
    """Write reports as CSV, one per row, in full precision; missing values are empty.

    Columns are step, loss, held_out_error, prior_error, ratio, lipschitz_bound, and "band NAME" for each band, lowest
    first.

    Parameters
    ----------
    path : Path
    reports : sequence of Report
        At least one.
    """
    names = band_names(len(reports[0].band_correspondence))
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([*_COLUMNS, *(f"band {name}" for name in names)])
        for report in reports:
            table.writerow([*(getattr(report, name) for name in _COLUMNS), *report.band_correspondence])
