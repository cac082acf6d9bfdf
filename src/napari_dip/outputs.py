"""What a restoration can give: one table, which form, files, tiles, records and command line read."""

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
        Its field of ``Restoration``; of all but the restored image also that of ``Settings`` which asks for it.
    words : str
        As a sentence has it, such as "the residual".
    shows : str
        What it shows, and what it costs, for the user.
    is_signed : bool
        Whether its intensities are of another kind than the image's, negative or small: it stays float32, goes into no
        PNG and has a contrast of its own.
    is_enlarged : bool
        Whether super-resolution enlarges it.
    changes_fit : bool
        Whether the image is fitted in another way if it is asked for.
    takes_run : bool
        Whether it takes a run of its own, so that no moment of another run has it.
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


# in the order of files and tick-boxes; layers lie the other way round, what matters most on top
OUTPUTS = {
    kind.name: kind
    for kind in (
        OutputKind("restored", "the restored image"),
        OutputKind(
            "detail_enhanced", "the detail-enhanced image",
            "The restored image plus what the smoothed one lacks of it.", takes_run=True,
        ),
        OutputKind(
            "smoothed", "the smoothed image",
            "A strongly smoothed image: the prior held to a small Lipschitz bound (x_s in the paper).", takes_run=True,
        ),
        OutputKind(
            "residual", "the residual",
            "What was taken away. Look for structure in it: there the restoration went too far.",
            is_signed=True, is_enlarged=False,
        ),
        OutputKind(
            "uncertainty", "the uncertainty",
            "How uncertain each pixel is: four runs instead of one, and their spread. Takes longer.",
            is_signed=True, changes_fit=True, takes_run=True,
        ),
    )
}  # fmt: skip
FURTHER_OUTPUTS = tuple(OUTPUTS)[1:]  # that a setting asks for


def list_wanted(task: Task, settings: Settings) -> list[OutputKind]:
    """Return what a task gives under some settings, its main output first."""
    further = (name for name in FURTHER_OUTPUTS if getattr(settings, name))
    return [OUTPUTS[name] for name in dict.fromkeys((task.main_output, *further))]
