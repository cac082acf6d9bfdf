"""What is asked of a restoration. A task is data: no task has code of its own elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

LARGEST_FACTOR = 1024  # of super-resolution: far beyond what there is to see, and a number that a record may hold


@dataclass(frozen=True, slots=True)
class Task:
    """What a task needs and how its result is read.

    Attributes
    ----------
    name : str
    label : str
        In the user's words.
    needs_mask : bool
        Whether it makes sense only with missing pixels.
    keeps_known : bool
        Whether the result may be made to agree with what is known exactly (``Settings.keep_known``).
    needs_factor : bool
        Whether the result is larger than the image.
    knows_quantisation : bool
        Whether the image was a JPEG, whose quantisation says where the original lies.
    noise_is_independent : bool
        Whether the noise may be estimated as independent from pixel to pixel, so that classical filters can help.
    removes_noise : bool
        Whether the restored image is the network's, so that details are enhanced without the noise.
    """

    name: str
    label: str
    needs_mask: bool = False
    keeps_known: bool = False
    needs_factor: bool = False
    knows_quantisation: bool = False
    noise_is_independent: bool = False
    removes_noise: bool = True

    @property
    def main_output(self) -> str:
        """The field of ``Restoration`` that it is done for."""
        return "restored" if self.removes_noise else "detail_enhanced"


TASKS = {
    task.name: task
    for task in (
        Task("denoise", "Remove noise", noise_is_independent=True),
        Task("inpaint", "Fill in missing pixels", needs_mask=True, keeps_known=True),
        Task("deblock", "Remove JPEG artefacts", knows_quantisation=True),
        Task("super_resolve", "Enlarge", keeps_known=True, needs_factor=True),
        Task("enhance", "Enhance detail", removes_noise=False),
    )
}


def find_task(name: str) -> Task:
    """Return the task of that name.

    Raises
    ------
    ValueError
        If there is none.
    """
    try:
        return TASKS[name]
    except KeyError:
        raise ValueError(f"there is no task {name!r}; choose one of {', '.join(TASKS)}.") from None


def check_factor(task: Task, factor: object) -> None:
    """Check that a factor goes with a task.

    Raises
    ------
    ValueError
        If not.
    """
    if not task.needs_factor:
        if factor is not None:
            raise ValueError(f"factor is for super-resolution; the task {task.name!r} takes none.")
    elif not isinstance(factor, Integral) or not 2 <= int(factor) <= LARGEST_FACTOR:
        raise ValueError(f"super-resolution needs a factor, a whole number from 2 to {LARGEST_FACTOR}, not {factor!r}.")
