"""What a run reports on the way, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .outputs import Outputs
from .record import Record
from .settings import Settings

if TYPE_CHECKING:
    import torch

    from .optimisation.stopping import StopReason


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one report.

    Attributes
    ----------
    step : int
    loss : float
        Mean squared error on the fitted pixels, with intensities scaled to [0, 1].
    held_out_error : float or None
        Mean squared error of the estimate on the held-out pixels.
    prior_error : float or None
        The same for the network's output alone, if filters improve it.
    band_correspondence : tuple of float
        For each frequency band, lowest first, in [0, 1] (Eq. 1).
    ratio : float
        Blurriness over sharpness (Eq. 8).
    lipschitz_bound : float or None
        λ at this step.
    """

    step: int
    loss: float
    held_out_error: float | None
    prior_error: float | None
    band_correspondence: tuple[float, ...]
    ratio: float
    lipschitz_bound: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """A kept step of a finished run; its image is computed on request.

    Attributes
    ----------
    step : int
    """

    step: int
    _read: Callable[[], Restoration] = field(repr=False)

    def restoration(self) -> Restoration:
        """Return what the run would have returned with ``Settings.chosen_step`` at this step.

        It has the restored image, residual, note and record; outputs that need a run of their own are None. This may
        take as long as a report.
        """
        return self._read()


@dataclass(frozen=True, slots=True, eq=False)
class WarmStart:
    """A trained network from which another fit can start.

    Attributes
    ----------
    network : mapping
        The weights at the chosen step.
    lambda_step : int
        The step of λ's schedule at which they were trained; the schedule continues from there.
    """

    network: Mapping[str, torch.Tensor]
    lambda_step: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Restoration(Outputs):
    """A finished restoration: its outputs, and how they came about.

    Attributes
    ----------
    note : str
        What the noise and the residual say about the result, for the user; may be empty.
    step : int
        The chosen step.
    stop_reason : StopReason
    history : tuple of Report
    settings : Settings
        The settings used, with every "auto" resolved.
    record : Record
        All that is needed to repeat the run.
    moments : tuple of Moment
        The kept steps of the run in order, the chosen one among them, if ``Settings.snapshots`` is above 0. The task
        "enhance" has none.
    warm_start : WarmStart or None
        The network from which a similar image can start, if requested.
    """

    note: str
    step: int
    stop_reason: StopReason
    history: tuple[Report, ...]
    settings: Settings
    record: Record
    moments: tuple[Moment, ...] = ()
    warm_start: WarmStart | None = None

    @property
    def was_stopped(self) -> bool:
        """Whether the user stopped the run before its end."""
        return self.record.stopped_after is not None


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of an image that is too large to restore at once.

    Attributes
    ----------
    number, count : int
        Which tile it is, counted from 1, and how many there are.
    rows, columns : slice
        Where it lies in the input image.
    sample : bool
        Whether it only helps to find the step at which all tiles end.
    """

    number: int
    count: int
    rows: slice
    columns: slice
    sample: bool = False

    def describe(self) -> str:
        """Return which tile it is, in words."""
        return f"{'sample' if self.sample else 'tile'} {self.number} of {self.count}"


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """One report of a run.

    Attributes
    ----------
    step, step_limit : int
        Of the current stage.
    stage : {"restoring", "smoothing"}
    loss, held_out_error, prior_error, ratio, lipschitz_bound
        As in ``Report``.
    band_correspondence : ndarray
        ``(n_bands,)``.
    estimate : ndarray
        What stopping here would return: float32, full size (or the size of the tile), in the input's units.
    seconds_left : (float, float) or None
        The least time to the result, if nothing gets better any more, and what it probably takes at most. Estimated
        from the steps so far, so it is None at the first report of a stage.
    result : Restoration or None
        Only the last report carries it.
    tile : Tile or None
        The tile that the figures and the estimate belong to; None in the last report, or if they belong to the whole
        image.
    """

    step: int
    step_limit: int
    stage: str
    loss: float
    held_out_error: float | None
    prior_error: float | None
    ratio: float
    lipschitz_bound: float | None
    band_correspondence: NDArray[np.float64]
    estimate: NDArray[np.float32]
    seconds_left: tuple[float, float] | None = None
    result: Restoration | None = None
    tile: Tile | None = None

    @property
    def fraction(self) -> float:
        """How much is done, in [0, 1], assuming that the run goes on to the step limit."""
        done = self.step / self.step_limit
        return done if self.tile is None else (self.tile.number - 1 + done) / self.tile.count

    @property
    def corner(self) -> tuple[int, int]:
        """The row and column of the input image at which the estimate begins."""
        return (0, 0) if self.tile is None else (self.tile.rows.start, self.tile.columns.start)

    @property
    def doing(self) -> str:
        """The stage and the tile, in words."""
        if self.tile is None:
            return self.stage
        which = self.tile.describe()
        return f"finding the step, {which}" if self.tile.sample else f"{self.stage} {which}"

    @property
    def report(self) -> Report:
        """The figures alone."""
        bands = tuple(self.band_correspondence.tolist())
        return Report(
            self.step, self.loss, self.held_out_error, self.prior_error, bands, self.ratio, self.lipschitz_bound
        )
