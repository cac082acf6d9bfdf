"""The outputs of a restoration: one table, read by the form, the files, tiles, records and the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .measurement.task import Task
    from .settings import Settings


@dataclass(frozen=True, slots=True)
class OutputKind:
    """One kind of output.

    Attributes
    ----------
    name : str
        Its field in ``Restoration``, and the field of ``Settings`` that requests it (the restored image needs none).
    words : str
        Its name within a sentence, such as "the residual".
    shows : str
        What it shows and what it costs, for the user.
    is_signed : bool
        Whether its intensities differ in kind from the image's (negative or small): it stays float32, is not written as
        PNG and gets its own contrast limits.
    is_enlarged : bool
        Whether super-resolution enlarges it.
    changes_fit : bool
        Whether requesting it changes how the image is fitted.
    takes_run : bool
        Whether it needs a run of its own, so that moments of another run do not have it.
    needs_network : bool
        Whether only tasks that let the network draw the restored image have it.
    """

    name: str
    words: str
    shows: str = ""
    is_signed: bool = False
    is_enlarged: bool = True
    changes_fit: bool = False
    takes_run: bool = False
    needs_network: bool = False

    @property
    def label(self) -> str:
        """Its name for the user, such as "detail-enhanced"."""
        return self.name.replace("_", "-")


# in the order of files and tick boxes; layers are stacked the other way round, the most important on top
OUTPUTS = {
    kind.name: kind
    for kind in (
        OutputKind("restored", "the restored image"),
        OutputKind(
            "detail_enhanced", "the detail-enhanced image",
            "The restored image with its fine detail amplified: it adds what the smoothed image lacks.", takes_run=True,
        ),
        OutputKind(
            "smoothed", "the smoothed image",
            "A strongly smoothed image, fitted with a small Lipschitz bound (x_s in the paper).", takes_run=True,
        ),
        OutputKind(
            "residual", "the residual",
            "What was removed. If you see structure in it, too much was removed.",
            is_signed=True, is_enlarged=False,
        ),
        OutputKind(
            "uncertainty", "the uncertainty",
            "Where errors are likely: how far four runs differ and the filters err. Takes longer.",
            is_signed=True, changes_fit=True, takes_run=True, needs_network=True,
        ),
    )
}  # fmt: skip
FURTHER_OUTPUTS = tuple(OUTPUTS)[1:]  # requested by a setting


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outputs:
    """The outputs of one restoration; None for those that were not requested.

    Attributes
    ----------
    restored : ndarray
        float32, in the input's shape (times the factor) and intensity units. For the task "enhance", the input with
        missing pixels filled.
    smoothed, detail_enhanced : ndarray or None
        The same, if requested by the settings or the task, and if the run was not stopped before they were finished.
        (For the task "enhance", whatever the smoothing had reached.)
    uncertainty : ndarray or None
        A standard deviation, float32, in the shape and units of ``restored`` (alpha 0), if requested: it combines the
        spread of several runs, the noise that filters let through, and what filters blur. With Langevin dynamics
        (``weight_noise`` above 0) it is always there: the spread of the posterior's samples. It ranks where errors are
        likely, but cannot see an error that all runs share.
    residual : ndarray or None
        What was removed, if requested: the image minus the restored one (for super-resolution, minus the restored one
        made small again), float32, in the shape and units of the image; NaN where pixels are missing.
    """

    restored: NDArray[np.float32]
    smoothed: NDArray[np.float32] | None = None
    detail_enhanced: NDArray[np.float32] | None = None
    uncertainty: NDArray[np.float32] | None = None
    residual: NDArray[np.float32] | None = None


def list_wanted(task: Task, settings: Settings) -> list[OutputKind]:
    """Return the outputs of a task with these settings, its main output first."""
    further = (name for name in FURTHER_OUTPUTS if getattr(settings, name))
    wanted = [OUTPUTS[name] for name in dict.fromkeys((task.main_output, *further))]
    return [kind for kind in wanted if task.removes_noise or not kind.needs_network]


def subtract_restored(
    image: NDArray[Any], restored: NDArray[Any], missing: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Return what was removed, as the output "residual" shows it: the image minus the restored one.

    For tasks that leave every pixel in its place. Where a restoration rounds its result, this has the rounding in it.

    Parameters
    ----------
    image, restored : ndarray
        ``(h, w)`` or ``(h, w, c)``. A fourth channel is alpha, and becomes 0.
    missing : ndarray, optional
        ``(h, w)`` bool; the residual is NaN there, and where the image is not finite.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        residual = (np.asarray(image, np.float64) - restored).astype(np.float32)
    if image.ndim == 3 and image.shape[2] == 4:
        residual[:, :, 3] = 0
    if missing is not None:
        residual[np.asarray(missing, bool)] = np.nan
    residual[~np.isfinite(residual)] = np.nan
    return residual
