"""Draw the curves of a run (frequency bands, loss, ratio) with matplotlib, without a display."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..outcome import Report

# From lowest to highest band; Okabe and Ito's, which colour-blind readers can tell apart on dark and light backgrounds.
_COLOURS = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#999999")
_MORE_COLOURS = "viridis"  # if there are more bands than colours
# The other fields of a report that are drawn over the steps: label and colour.
ERROR_CURVES = {
    "loss": ("loss on fitted pixels", "#56B4E9"),
    "held_out_error": ("error on held-out pixels", "#E69F00"),
    "prior_error": ("the same, network alone", "#CC79A7"),
}
RATIO_CURVE = ("blurriness / sharpness", "#009E73")
_CAPTION_WIDTH = 95  # letters a line
_FIVE_BANDS = ("lowest", "low", "medium", "high", "highest")


def band_names(bands: int) -> list[str]:
    """Return a name for each band, lowest first: the paper's names for five bands, otherwise fractions of Nyquist."""
    if bands == len(_FIVE_BANDS):
        return list(_FIVE_BANDS)
    return [f"{n / bands:.2g}-{(n + 1) / bands:.2g} of Nyquist" for n in range(bands)]


def band_colours(bands: int) -> list[str]:
    """Return a colour for each band, lowest first, as #RRGGBB."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    if bands <= len(_COLOURS):
        return list(_COLOURS[:bands])
    return [to_hex(colormaps[_MORE_COLOURS](0.15 + 0.8 * n / (bands - 1))) for n in range(bands)]


def draw_bands(
    steps: Sequence[int], bands: Sequence[Sequence[float]], *, chosen_step: int | None = None, caption: str = ""
) -> Figure:
    """Draw one curve per frequency band over the steps.

    Parameters
    ----------
    steps : sequence of int
    bands : sequence
        For each step, the correspondence of each band, lowest first.
    chosen_step : int, optional
        Marked with a line.
    caption : str
        For example why the run stopped.

    Returns
    -------
    Figure
        Not shown; save it with ``savefig``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    count = len(bands[0])
    for n, (name, colour) in enumerate(zip(band_names(count), band_colours(count), strict=True)):
        axes.plot(steps, [row[n] for row in bands], color=colour, label=name)
    _mark_chosen(axes, chosen_step)
    axes.set(xlabel="step", ylabel="frequency-band correspondence", ylim=(0, 1.02))
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), fontsize="small", title="band")
    _caption(figure, caption)
    return figure


def draw_loss_and_ratio(reports: Sequence[Report], *, chosen_step: int | None = None, caption: str = "") -> Figure:
    """Draw the loss and the held-out errors, and beside them the ratio of blurriness to sharpness, over the steps.

    Parameters
    ----------
    reports : sequence of Report
    chosen_step : int, optional
        Marked with a line.
    caption : str
        For example why the run stopped.

    Returns
    -------
    Figure
        Not shown; save it with ``savefig``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [report.step for report in reports]
    for field, (name, colour) in ERROR_CURVES.items():
        errors = [getattr(report, field) for report in reports]
        if any(error is not None for error in errors):
            left.plot(steps, [math.nan if error is None else error for error in errors], color=colour, label=name)
    left.set(xlabel="step", ylabel="mean squared error (intensities in [0, 1])", yscale="log")
    right.plot(steps, [report.ratio for report in reports], color=RATIO_CURVE[1])
    right.set(xlabel="step", ylabel=RATIO_CURVE[0], yscale="log")  # it falls by powers of ten in the first steps
    for axes in (left, right):
        _mark_chosen(axes, chosen_step)
    left.legend(fontsize="small")
    _caption(figure, caption)
    return figure


def _caption(figure: Figure, caption: str) -> None:
    if caption:
        figure.suptitle(textwrap.fill(caption, _CAPTION_WIDTH), fontsize="medium")


def _mark_chosen(axes: Axes, step: int | None) -> None:
    if step is not None:
        axes.axvline(step, color="0.35", linestyle="--", linewidth=1, label=f"chosen: step {step}")
