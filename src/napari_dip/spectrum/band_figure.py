"""The frequency-band curves as a figure, drawn with matplotlib and without a display."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# From lowest to highest band; Okabe and Ito's, which the colour-blind can tell apart on dark and light grounds.
_COLOURS = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#999999")
_MORE_COLOURS = "viridis"  # for more bands than these
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
    if chosen_step is not None:
        axes.axvline(chosen_step, color="0.35", linestyle="--", linewidth=1, label=f"chosen: step {chosen_step}")
    axes.set(xlabel="step", ylabel="frequency-band correspondence", ylim=(0, 1.02), title=caption)
    axes.title.set_fontsize("medium")
    figure.legend(loc="outside right upper", fontsize="small", title="band")
    return figure
