"""The tasks: what each takes beside the image, and how its data term is built; no other module knows them apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .data_term import DataTerm, Measured

LARGEST_FACTOR = 1024  # of super-resolution: far beyond what there is to see, and a number that a record may hold


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a task takes beside image and mask: a keyword of ``restore`` and its like.

    Attributes
    ----------
    name : str
    purpose : str
        What it is for, in words.
    read : callable
        Returns what a caller gave as the engine takes it: a number, or an array of float64. Raises ValueError. What it
        returned it returns again, to the bit: a record holds that, and is read.
    check_image : callable
        ``check_image(image)`` raises ValueError if the parameter does not go with such an image.
    is_required : bool
    """

    name: str
    purpose: str
    read: Callable[[Any], Any]
    check_image: Callable[[NDArray], None] = lambda image: None
    is_required: bool = False


def _read_factor(factor: Any) -> int:
    if not isinstance(factor, Integral) or not 2 <= int(factor) <= LARGEST_FACTOR:
        raise ValueError(f"super-resolution needs a factor, a whole number from 2 to {LARGEST_FACTOR}, not {factor!r}.")
    return int(factor)


def _read_table(table: Any) -> NDArray[np.float64]:
    try:
        steps = np.asarray(table)
    except (TypeError, ValueError) as error:
        raise TypeError(f"quantisation_table is no array: {error}") from error
    if steps.dtype.kind not in "buif" or steps.shape != (8, 8) or not ((steps >= 1) & (steps < np.inf)).all():
        raise ValueError("quantisation_table must hold 8 x 8 steps of at least 1, vertical frequency first.")
    return steps.astype(np.float64)


def _check_jpeg(image: NDArray) -> None:
    if image.min() < 0 or not 1 < image.max() <= 255 or (image != np.round(image)).any():
        raise ValueError("quantisation_table is in steps of 8 bits: give the JPEG's intensities, whole, from 0 to 255.")


FACTOR = Parameter("factor", "super-resolution", _read_factor, is_required=True)
QUANTISATION_TABLE = Parameter("quantisation_table", "deblocking", _read_table, _check_jpeg)


def _measure_pixels(measured: Measured) -> DataTerm:
    from .data_term import measure_pixels

    return measure_pixels(measured)


def _measure_jpeg(measured: Measured) -> DataTerm:
    from .data_term import measure_jpeg

    return measure_jpeg(measured)


def _measure_small_image(measured: Measured) -> DataTerm:
    from .data_term import measure_small_image

    return measure_small_image(measured)


@dataclass(frozen=True, slots=True)
class Task:
    """What a task needs and how its result is read.

    Attributes
    ----------
    name : str
    label : str
        In the user's words.
    parameters : tuple of Parameter
    build_data_term : callable
        Returns what an image that was measured tells about the one that is sought.
    needs_mask : bool
        Whether it makes sense only with missing pixels.
    keeps_known : bool
        Whether the result may be made to agree with what is known exactly (``Settings.keep_known``).
    block : int
        Side of the blocks, from the top left corner, whose pixels were measured together; 1 for single pixels.
    noise_is_independent : bool
        Whether the noise may be estimated as independent from pixel to pixel, so that classical filters can help.
    removes_noise : bool
        Whether the restored image is the network's, so that details are enhanced without the noise.
    """

    name: str
    label: str
    parameters: tuple[Parameter, ...] = ()
    build_data_term: Callable[[Measured], DataTerm] = _measure_pixels
    needs_mask: bool = False
    keeps_known: bool = False
    block: int = 1
    noise_is_independent: bool = False
    removes_noise: bool = True

    @property
    def main_output(self) -> str:
        """The field of ``Restoration`` that it is done for."""
        return "restored" if self.removes_noise else "detail_enhanced"

    def takes(self, parameter: str) -> bool:
        """Return whether it takes a parameter of that name."""
        return any(each.name == parameter for each in self.parameters)

    def read_parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return its parameters as the engine takes them.

        Parameters
        ----------
        given : mapping
            By name, as a caller gave them; None means not given.

        Raises
        ------
        ValueError, TypeError
            If one is missing, is of no use, or is another task's.
        """
        for name, value in given.items():
            if value is not None and not self.takes(name):
                known = {each.name: each.purpose for task in TASKS.values() for each in task.parameters}
                purpose = known.get(name, "no task")
                raise ValueError(f"{name} is for {purpose}; the task {self.name!r} takes none.")
        return {
            each.name: each.read(given.get(each.name))
            for each in self.parameters
            if each.is_required or given.get(each.name) is not None
        }

    def check_image(self, image: NDArray, parameters: Mapping[str, Any]) -> None:
        """Check that an image, ``(h, w)`` or ``(h, w, c)``, goes with the parameters given.

        Raises
        ------
        ValueError
            If not.
        """
        for each in self.parameters:
            if each.name in parameters:
                each.check_image(image)


TASKS = {
    task.name: task
    for task in (
        Task("denoise", "Remove noise", noise_is_independent=True),
        Task("inpaint", "Fill in missing pixels", needs_mask=True, keeps_known=True),
        Task("deblock", "Remove JPEG artefacts", (QUANTISATION_TABLE,), _measure_jpeg, block=8),
        Task("super_resolve", "Enlarge", (FACTOR,), _measure_small_image, keeps_known=True),
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
