"""The tasks: each one's parameters and data term; no other module distinguishes between tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .data_term import DataTerm, Measured

LARGEST_FACTOR = 1024  # far beyond anything sensible, and small enough for a record


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument of a task besides image and mask: a keyword of ``restore`` and its relatives.

    Attributes
    ----------
    name : str
    purpose : str
        What it is for, in words.
    read : callable
        Converts a caller's value to the engine's, a number or an array of float64, or raises ValueError. It must return
        its own results unchanged, because a record stores them and is read back.
    check_image : callable
        ``check_image(image)`` raises ValueError if the parameter cannot be used with this image.
    is_required : bool
    """

    name: str
    purpose: str
    read: Callable[[Any], Any]
    check_image: Callable[[np.ndarray], None] = lambda image: None
    is_required: bool = False


def _read_factor(factor: Any) -> int:
    if not isinstance(factor, Integral) or not 2 <= int(factor) <= LARGEST_FACTOR:
        raise ValueError(f"super-resolution needs a factor, a whole number from 2 to {LARGEST_FACTOR}, not {factor!r}.")
    return int(factor)


def _read_table(table: Any) -> NDArray[np.float64]:
    try:
        steps = np.asarray(table)
    except (TypeError, ValueError) as error:
        raise TypeError(f"quantisation_table is not an array: {error}") from error
    if steps.dtype.kind not in "buif" or steps.shape != (8, 8) or not ((steps >= 1) & (steps < np.inf)).all():
        raise ValueError("quantisation_table must hold 8 x 8 steps of at least 1, vertical frequency first.")
    return steps.astype(np.float64)


def _check_jpeg(image: np.ndarray) -> None:
    if image.min() < 0 or not 1 < image.max() <= 255 or (image != np.round(image)).any():
        raise ValueError(
            "quantisation_table needs the JPEG's own intensities; give an image of whole numbers from 0 to 255."
        )


def _read_psf(psf: Any) -> NDArray[np.float64]:
    if psf is None:
        raise ValueError(
            "deconvolution needs a psf, the image of a point: from a bead, from the optics (numerical aperture, "
            "wavelength and pixel size), or a Gaussian."
        )
    from .psf import read_psf

    return read_psf(psf)


FACTOR = Parameter("factor", "super-resolution", _read_factor, is_required=True)
QUANTISATION_TABLE = Parameter("quantisation_table", "deblocking", _read_table, _check_jpeg)
PSF = Parameter("psf", "deconvolution", _read_psf, is_required=True)


def _measure_pixels(measured: Measured) -> DataTerm:
    from .data_term import measure_pixels

    return measure_pixels(measured)


def _measure_jpeg(measured: Measured) -> DataTerm:
    from .data_term import measure_jpeg

    return measure_jpeg(measured)


def _measure_small_image(measured: Measured) -> DataTerm:
    from .data_term import measure_small_image

    return measure_small_image(measured)


def _measure_blurred_image(measured: Measured) -> DataTerm:
    from .data_term import measure_blurred_image

    return measure_blurred_image(measured)


def _read_enlargement(parameters: Mapping[str, Any]) -> int:
    factor: int | None = parameters.get("factor")  # perhaps not checked yet
    return factor or 1


def _reach_of_psf(parameters: Mapping[str, Any]) -> tuple[int, int]:
    rows, columns = parameters["psf"].shape[:2]
    return rows // 2, columns // 2


@dataclass(frozen=True, slots=True)
class Task:
    """A task: what it takes, and how it treats the measurement and the result.

    Attributes
    ----------
    name : str
    label : str
        For the user.
    parameters : tuple of Parameter
    build_data_term : callable
        Builds the data term of a ``Measured`` image.
    needs_mask : bool
        Whether the task makes sense only with missing pixels.
    keeps_known : bool
        Whether the result can be made to agree exactly with the known pixels (``Settings.keep_known``).
    enlargement : callable
        ``enlargement(parameters)``: how many times more rows and columns the result has.
    surroundings : callable
        ``surroundings(parameters)``: how many rows and columns the network draws beyond the image on each side, because
        they shine into it.
    block : int
        Side of the blocks, from the top left corner, whose pixels were measured together; 1 for single pixels.
    noise_is_independent : bool
        Whether to estimate noise that is independent from pixel to pixel, so that classical filters can help.
    takes_neighbours : bool
        Whether neighbouring planes of a stack can help.
    removes_noise : bool
        Whether the network draws the restored image. If not, the image is kept as it is and its detail enhanced.
    usual_step : int
        The step at which a run with the task's filters is usually at its best; used only to estimate its time.
    """

    name: str
    label: str
    parameters: tuple[Parameter, ...] = ()
    build_data_term: Callable[[Measured], DataTerm] = _measure_pixels
    needs_mask: bool = False
    keeps_known: bool = False
    enlargement: Callable[[Mapping[str, Any]], int] = lambda parameters: 1
    surroundings: Callable[[Mapping[str, Any]], tuple[int, int]] = lambda parameters: (0, 0)
    block: int = 1
    noise_is_independent: bool = False
    takes_neighbours: bool = False
    removes_noise: bool = True
    usual_step: int = 400

    @property
    def main_output(self) -> str:
        """The field of ``Restoration`` that holds the task's main result."""
        return "restored" if self.removes_noise else "detail_enhanced"

    def takes(self, parameter: str) -> bool:
        """Return whether the task takes a parameter of that name."""
        return any(each.name == parameter for each in self.parameters)

    def read_parameters(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Check a caller's arguments and convert them for the engine.

        Parameters
        ----------
        arguments : mapping
            By name; None means that the argument was not given.

        Raises
        ------
        ValueError, TypeError
            If one is missing, is invalid, or belongs to another task.
        """
        for name, value in arguments.items():
            if value is not None and not self.takes(name):
                purposes = {each.name: each.purpose for task in TASKS.values() for each in task.parameters}
                purpose = purposes.get(name, "no task")
                raise ValueError(f"{name} is for {purpose}; the task {self.name!r} takes none.")
        return {
            each.name: each.read(arguments.get(each.name))
            for each in self.parameters
            if each.is_required or arguments.get(each.name) is not None
        }

    def drawn_size(self, size: tuple[int, int], parameters: Mapping[str, Any]) -> tuple[int, int]:
        """Return the rows and columns that the network draws for an image of ``size``, with parameters as read."""
        factor, beyond = self.enlargement(parameters), self.surroundings(parameters)
        return size[0] * factor + 2 * beyond[0], size[1] * factor + 2 * beyond[1]

    def check_image(self, image: np.ndarray, parameters: Mapping[str, Any]) -> None:
        """Check that an image, ``(h, w)`` or ``(h, w, c)``, can be used with these parameters.

        Raises
        ------
        ValueError
            If it cannot.
        """
        for each in self.parameters:
            if each.name in parameters:
                each.check_image(image)


TASKS = {
    task.name: task
    for task in (
        Task("denoise", "Remove noise", noise_is_independent=True, takes_neighbours=True, usual_step=50),
        Task(
            "inpaint", "Fill in missing pixels", needs_mask=True, keeps_known=True, takes_neighbours=True,
            usual_step=120,
        ),
        Task("deblock", "Remove JPEG artefacts", (QUANTISATION_TABLE,), _measure_jpeg, block=8),
        Task(
            "super_resolve", "Enlarge", (FACTOR,), _measure_small_image, keeps_known=True,
            enlargement=_read_enlargement,
        ),
        Task(
            "deconvolve", "Take out the blur", (PSF,), _measure_blurred_image, noise_is_independent=True,
            surroundings=_reach_of_psf, usual_step=210,
        ),
        Task("enhance", "Enhance detail", removes_noise=False),
    )
}  # fmt: skip


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
