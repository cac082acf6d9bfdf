"""The curves of a run as figures: frequency bands, loss and ratio; drawn with matplotlib and without a display."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# From lowest to highest band; Okabe and Ito's, which the colour-blind can tell apart on dark and light grounds.
_COLOURS = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#999999")
_MORE_COLOURS = "viridis"  # for more bands than these
FIGURE_COLOURS = ("#56B4E9", "#E69F00", "#009E73")  # loss, held-out error, ratio
ERROR_LABEL, RATIO_LABEL = "mean squared error", "blurriness / sharpness"
_CAPTION_WIDTH = 95  # letters a line
_FIVE_BANDS = ("lowest", "low", "medium", "high", "highest")


def band_names(bands: int) -> list[str]:
    """Return a name for each band, lowest first: the paper's for five, else the part of half the sampling frequency."""
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
        Per step, the correspondence of each band, lowest first.
    chosen_step : int, optional
        Marked by a line.
    caption : str
        Says why it stopped.

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


def draw_loss_and_ratio(
    steps: Sequence[int],
    losses: Sequence[float],
    held_out_errors: Sequence[float | None],
    ratios: Sequence[float],
    *,
    chosen_step: int | None = None,
    caption: str = "",
) -> Figure:
    """Draw the loss and the held-out error, and beside them the ratio of blurriness to sharpness, over the steps.

    Parameters
    ----------
    steps : sequence of int
    losses, ratios : sequence of float
    held_out_errors : sequence of float or None
    chosen_step : int, optional
        Marked by a line.
    caption : str
        Says why it stopped.

    Returns
    -------
    Figure
        Not shown; save it with ``savefig``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    loss_colour, held_out_colour, ratio_colour = FIGURE_COLOURS
    left.plot(steps, losses, color=loss_colour, label="loss, of fitted pixels")
    if any(error is not None for error in held_out_errors):
        errors = [float("nan") if error is None else error for error in held_out_errors]
        left.plot(steps, errors, color=held_out_colour, label="error of held-out pixels")
    left.set(xlabel="step", ylabel=f"{ERROR_LABEL} (of intensities in [0, 1])", yscale="log")
    right.plot(steps, ratios, color=ratio_colour)
    right.set(xlabel="step", ylabel=RATIO_LABEL, yscale="log")  # it falls by powers of ten in the first steps
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
