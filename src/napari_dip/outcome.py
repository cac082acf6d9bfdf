"""What a run reports as it goes on, and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

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
        Mean squared error on the fitted pixels, of intensities brought to [0, 1].
    held_out_error : float or None
        The same of the estimate on the pixels that were held out.
    prior_error : float or None
        The same of the network's output, where filters make more of it.
    band_correspondence : tuple of float
        Per frequency band, lowest first, in [0, 1] (Eq. 1).
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
    """A step of a finished run that was kept; its image is made when it is asked for.

    Attributes
    ----------
    step : int
    """

    step: int
    _read: Callable[[], Restoration] = field(repr=False)

    def restoration(self) -> Restoration:
        """Return what the run would have returned with ``Settings.chosen_step`` at this step.

        That is, restored image, residual, note and record; further outputs, which take a run of their own, are None.
        It may take as long as a report did.
        """
        return self._read()


@dataclass(frozen=True, slots=True, eq=False)
class WarmStart:
    """Where a fit can begin instead of afresh.

    Attributes
    ----------
    network : mapping
        The weights as they were at the step that was chosen.
    lambda_step : int
        The step whose λ they obeyed: the schedule goes on from there.
    """

    network: Mapping[str, torch.Tensor]
    lambda_step: int


@dataclass(frozen=True, slots=True, eq=False)
class Restoration:
    """A finished restoration.

    Attributes
    ----------
    restored : ndarray
        float32, the input's shape (times the factor) and intensity units. For the task "enhance", the input with
        missing pixels filled.
    smoothed, detail_enhanced : ndarray or None
        The same, if the settings or the task asked for them and the run was not stopped before they were done. (For the
        task "enhance", as far as the smoothing had come.)
    uncertainty : ndarray or None
        A standard deviation, float32, the shape and units of ``restored`` (alpha 0), if the settings asked for it: of
        several runs, of the noise that filters let pass, and of what they blur; with Langevin dynamics
        (``weight_noise`` above 0) always, of the posterior's samples. It ranks where errors are likely; what every run
        gets wrong alike it does not know.
    residual : ndarray or None
        What was taken away, if the settings asked for it: the image less the restored one (of super-resolution, less
        what would be measured of it), float32, the shape and units of the image; NaN where pixels are missing.
    note : str
        What the noise and the residual say about the result, for the user; may be empty.
    step : int
        Step of the estimate that was chosen.
    stop_reason : StopReason
    history : tuple of Report
    settings : Settings
        What was used, every "auto" resolved.
    record : Record
        What repeats it.
    moments : tuple of Moment
        Steps of the run that were kept, in order, if ``Settings.snapshots`` asked for them: earlier ones, this one, and
        later ones. For the task "enhance" there are none.
    warm_start : WarmStart or None
        Where a similar image can begin, if that was asked for.
    """

    restored: NDArray[np.float32]
    smoothed: NDArray[np.float32] | None
    detail_enhanced: NDArray[np.float32] | None
    uncertainty: NDArray[np.float32] | None
    residual: NDArray[np.float32] | None
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
        """Whether the user stopped it before its end."""
        return self.record.stopped_after is not None


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of an image that is too large to be restored whole.

    Attributes
    ----------
    number, count : int
        It is the number-th, from 1, of so many.
    rows, columns : slice
        Of the image as it is given.
    sample : bool
        Whether it only tells at which step all tiles end.
    """

    number: int
    count: int
    rows: slice
    columns: slice
    sample: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """One report of a run.

    Attributes
    ----------
    step, step_limit : int
        Of the present stage.
    stage : {"restoring", "smoothing"}
    loss, held_out_error, prior_error, ratio, lipschitz_bound
        As in ``Report``.
    band_correspondence : ndarray
        ``(n_bands,)``.
    estimate : ndarray
        float32, full size (of a tile, the tile's), the input's units: what stopping here would return.
    seconds_left : (float, float) or None
        From here to the result: the least, if it stops as soon as its rule allows, and the most, if it goes on to the
        step limit. Measured on the steps so far, hence None at the first report of a stage.
    result : Restoration or None
        None, until the last one carries it.
    tile : Tile or None
        What the figures and the estimate are of, until the last one; None if they are of the whole image.
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
        """How much is done, in [0, 1], if it goes on to the step limit."""
        done = self.step / self.step_limit
        return done if self.tile is None else (self.tile.number - 1 + done) / self.tile.count

    @property
    def corner(self) -> tuple[int, int]:
        """The row and the column of the image, as it is given, at which the estimate begins."""
        return (0, 0) if self.tile is None else (self.tile.rows.start, self.tile.columns.start)

    @property
    def doing(self) -> str:
        """What is being done, in words: the stage, and of which tile."""
        if self.tile is None:
            return self.stage
        which = f"{self.tile.number} of {self.tile.count}"
        return f"finding the step, sample {which}" if self.tile.sample else f"{self.stage} tile {which}"

    @property
    def report(self) -> Report:
        """The figures alone."""
        bands = tuple(self.band_correspondence.tolist())
        return Report(
            self.step, self.loss, self.held_out_error, self.prior_error, bands, self.ratio, self.lipschitz_bound
        )
