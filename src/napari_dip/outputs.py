"""The outputs of a restoration: one table, read by the form, the files, tiles, records and the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    """

    name: str
    words: str
    shows: str = ""
    is_signed: bool = False
    is_enlarged: bool = True
    changes_fit: bool = False
    takes_run: bool = False

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
            "Where errors are likely: how far four runs differ. Takes longer.",
            is_signed=True, changes_fit=True, takes_run=True,
        ),
    )
}  # fmt: skip
FURTHER_OUTPUTS = tuple(OUTPUTS)[1:]  # requested by a setting


def list_wanted(task: Task, settings: Settings) -> list[OutputKind]:
    """Return the outputs of a task with these settings, its main output first."""
    further = (name for name in FURTHER_OUTPUTS if getattr(settings, name))
    return [OUTPUTS[name] for name in dict.fromkeys((task.main_output, *further))]
