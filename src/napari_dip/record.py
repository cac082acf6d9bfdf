"""The record of a restoration: enough to repeat it, as JSON or as a script.

A record that is read may come from anyone, so pydantic checks it against the types below, which say what each field may
hold. A record that a run has just written is trusted.
"""

from __future__ import annotations

import json
import platform
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import version
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from .measurement.task import find_task
from .outputs import OUTPUTS
from .pixel_text import digest_image, digest_images, digest_packed, pack_mask, unpack_mask
from .record_fields import (
    KNOWN_FIELDS_ONLY,
    Amount,
    Count,
    Digest,
    FilePath,
    Flag,
    Length,
    Number,
    Numbers,
    PackedMask,
    ParameterName,
    PixelType,
    Range,
    Seconds,
    SettingsRead,
    Text,
    VersionText,
    one_of,
)
from .record_script import write_script
from .setting_rules import show

_NO_RECORD = "this is not a record of napari-dip, or it is from another version"
_LONGEST_FAULT = 300


@dataclass(frozen=True, slots=True)
class Given:
    """The input of a restoration.

    Attributes
    ----------
    image_shape : tuple of int
        (Not called "shape", because tifffile would misread that in a TIFF's description.)
    dtype : str
        The image's.
    digest : str
        SHA-256 of the image's pixels, to recognise the same image.
    mask : str or None
        The mask as ``pack_mask`` writes it.
    path : str or None
        The file that the image came from.
    layer : str or None
        The name of the layer that the image came from.
    region : tuple or None
        ``((first row, end row), (first column, end column))`` if only a part of the file or layer was restored.
    colours : bool
        Whether the channels were treated as colours (RGB).
    neighbours : str or None
        SHA-256 of the neighbouring planes that could help, with their masks.
    along : str or None
        The letter of the axis that these are on.
    """

    __pydantic_config__ = KNOWN_FIELDS_ONLY

    image_shape: Annotated[tuple[Length, ...], Field(min_length=2, max_length=3)]
    dtype: PixelType
    digest: Digest
    mask: PackedMask | None = None
    path: FilePath | None = None
    layer: Text | None = None
    region: tuple[Range, Range] | None = None
    colours: Flag = True
    neighbours: Digest | None = None
    along: Text | None = None

    def with_neighbours(self, planes: Sequence[tuple[np.ndarray, np.ndarray | None]], along: str) -> Given:
        """Return this with the neighbouring planes that can help, each with its mask, and the letter of their axis."""
        return replace(self, neighbours=digest_images(planes), along=along)

    def read_mask(self) -> NDArray[np.bool_] | None:
        """Return the mask, ``(h, w)``, True = missing; None if there was none."""
        return None if self.mask is None else unpack_mask(self.mask, self.image_shape[:2])


@dataclass(frozen=True, slots=True)
class Output:
    """Which output the image beside a record is.

    Attributes
    ----------
    name : str
        The field of ``Restoration``.
    dtype : str
        If it is not float32, the image was rounded and clipped.
    clipped : int
        The number of clipped pixels.
    """

    __pydantic_config__ = KNOWN_FIELDS_ONLY

    name: Annotated[Text, one_of(*OUTPUTS)] = "restored"
    dtype: PixelType = "float32"
    clipped: Count = 0


@dataclass(frozen=True, slots=True)
class PlaneRecord:
    """The record of one plane of a stack.

    Attributes
    ----------
    place : dict
        The plane's position along each axis that is stepped through, by the axis's letter.
    step, stop_step, stop_reason, noise, seconds
        As in ``Record``.
    digest : str or None
        SHA-256 of the plane's pixels; None if it was restored in tiles.
    mask : str or None
        SHA-256 of its packed mask, if it had one.
    helped : int
        How many neighbouring planes helped.
    neighbours : str or None
        SHA-256 of the neighbouring planes that could help.
    """

    __pydantic_config__ = KNOWN_FIELDS_ONLY

    place: dict[str, Count]
    step: Count
    stop_step: Count
    stop_reason: Text
    noise: Amount | None
    seconds: Seconds
    digest: Digest | None = None
    mask: Digest | None = None
    helped: Count = 0
    neighbours: Digest | None = None


@dataclass(frozen=True, slots=True)
class StackRecord:
    """Which planes of a stack were restored, and how.

    Attributes
    ----------
    axes : str
        One letter for each axis of the stack.
    shape : tuple of int
        Of the whole input stack.
    planes : tuple of PlaneRecord
        The finished planes.
    channels : str
        "apart" or "together".
    warm_start : str or None
        As ``restore_stack`` takes it.
    neighbours : str or None
        The letter of the axis along which planes help one another.
    part : tuple or None
        ``(begin, end)`` along each axis, if the image beside this record is only a part of the stack.
    """

    __pydantic_config__ = KNOWN_FIELDS_ONLY

    axes: str
    shape: tuple[Length, ...]
    planes: Annotated[tuple[PlaneRecord, ...], Field(min_length=1)]
    channels: Annotated[Text, one_of("apart", "together")] = "apart"
    warm_start: str | None = None
    part: tuple[Range, ...] | None = None
    neighbours: str | None = None


def _check_stack(stack: StackRecord) -> StackRecord:
    """Check that the axes are valid, and that everything else agrees with them."""
    letters = stack.axes
    if not letters.isalpha() or len(set(letters)) != len(letters) or not {"Y", "X"} <= set(letters):
        raise ValueError("axes should have one letter for each axis, Y and X among them")
    if len(stack.shape) != len(letters) or (stack.part is not None and len(stack.part) != len(letters)):
        raise ValueError(f"shape and part should match the axes {letters!a}")
    if stack.warm_start is not None and stack.warm_start not in tuple(letters):
        raise ValueError(f"warm_start should be one of the axes {letters!a}")
    if stack.neighbours is not None and stack.neighbours not in tuple(letters):
        raise ValueError(f"neighbours should be one of the axes {letters!a}")
    sizes = dict(zip(letters, stack.shape, strict=True))
    stepped = list(stack.planes[0].place)
    if [letter for letter in letters if letter in stepped] != stepped or {"Y", "X"} & set(stepped):
        raise ValueError(f"the place of a plane should name axes from {letters!a}, in their order, without Y and X")
    for plane in stack.planes:
        if list(plane.place) != stepped or any(number >= sizes[letter] for letter, number in plane.place.items()):
            raise ValueError("the place of a plane should lie within the stack")
    return stack


@dataclass(frozen=True, slots=True)
class Record:
    """How a result was obtained.

    Attributes
    ----------
    task : str
    parameters : dict
        The task's own arguments by name: a number, or rows of numbers.
    settings : Settings
        As requested; they repeat the run.
    used : Settings
        The same with every "auto" resolved.
    compared : str
        The data term in words: what was compared with the network's output, and how.
    missing : int
        How many pixels were marked as missing, not finite, or hot.
    device : str
        The device in words, and why it was chosen.
    step : int
        Step of the estimate that was returned.
    stop_step : int
        Step at which the run stopped.
    stop_reason : str
    residual_correlation : float
        Correlation of neighbouring pixels in the residual, along rows or columns, whichever is larger: near 0 for white
        noise.
    note : str
        What noise and residual say about the result.
    seconds : float
        From the call to the result.
    versions : dict
        Of napari-dip, torch, numpy and Python.
    given : Given or None
        The input; None in records of version 0.1.0 and before.
    stopped_after : int or None
        If the user stopped the run: the number of steps until then, over all stages.
    cut_short : bool
        Whether that stop left out the last filters, which a script cannot repeat.
    restarts : int
        How many networks were given up because their output stayed constant. The settings hold the seed of the
        restoring network that learned; repeating a smoothing gives up the same networks again.
    noise : float or None
        Estimated standard deviation of the noise, in the image's intensities (if the channels are not colours: as a
        share of their ranges); None if it is unknown.
    output : Output
        Which output the image beside this record is.
    stack : StackRecord or None
        If the image is a stack. Everything above then describes its first plane, except ``seconds``, which is the sum.
    neighbours : int
        How many neighbouring planes helped.
    threads : int or None
        Number of CPU threads that torch used; with another number the last digits differ. None in older records.
    """

    task: Text
    parameters: dict[ParameterName, Numbers]
    settings: SettingsRead
    used: SettingsRead
    compared: Text
    missing: Count
    device: Text
    step: Count
    stop_step: Count
    stop_reason: Text
    residual_correlation: Number
    note: Text
    seconds: Seconds
    versions: Annotated[dict[VersionText, VersionText], Field(max_length=100)]
    given: Given | None = None
    stopped_after: Count | None = None
    cut_short: Flag = False
    restarts: Count = 0
    noise: Amount | None = None
    output: Output = Output()
    stack: Annotated[StackRecord, AfterValidator(_check_stack)] | None = None
    threads: Annotated[int, Field(strict=True, ge=1, le=100_000)] | None = None
    neighbours: Count = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain types, for a layer's metadata or a JSON file."""
        return json.loads(self.as_json(indent=None))

    def as_json(self, indent: int | None = 1) -> str:
        """Return the record as JSON text."""
        return json.dumps(asdict(self), indent=indent, default=lambda value: value.tolist())  # numpy's

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Record:
        """Read a record from what ``as_dict`` returned or from its JSON, whoever wrote it.

        Raises
        ------
        ValueError
            If it is not a record, or is from a version that this one does not understand.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"{_NO_RECORD}.")
        try:
            record = _reader().validate_python(_gather_parameters(values))
            find_task(record.task).read_parameters(record.parameters)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{_NO_RECORD}: {_describe_fault(error)}.") from None
        return record

    def of_output(self, name: str, image: np.ndarray, clipped: int = 0, **origin: Any) -> Record:
        """Return the record to store with one of the outputs.

        Parameters
        ----------
        name : str
            The field of ``Restoration``.
        image : ndarray
            The output as shown or written, or any part of it.
        clipped : int
            Number of clipped pixels.
        **origin
            Fields of ``Given`` that say where the input came from.
        """
        given = None if self.given is None else replace(self.given, **origin)
        return replace(self, given=given, output=Output(name, image.dtype.name, clipped))

    def of_stack(
        self,
        axes: str,
        shape: tuple[int, ...],
        planes: Sequence[tuple[Mapping[str, int], Record]],
        *,
        channels: str = "apart",
        warm_start: str | None = None,
        part: tuple[tuple[int, int], ...] | None = None,
    ) -> Record:
        """Turn the record of the first plane into the record of a stack.

        Parameters
        ----------
        axes, shape, channels, warm_start, part
            As in ``StackRecord``.
        planes : sequence of (dict, Record)
            The place and the record of each finished plane.
        """
        described = tuple(
            PlaneRecord(
                dict(place), each.step, each.stop_step, each.stop_reason, each.noise, each.seconds,
                None if each.given is None else each.given.digest,
                None if each.given is None or each.given.mask is None else digest_packed(each.given.mask),
                each.neighbours,
                None if each.given is None else each.given.neighbours,
            )
            for place, each in planes
        )  # fmt: skip
        neighbours = None if self.given is None else self.given.along
        stack = StackRecord(axes, shape, described, channels, warm_start, part, neighbours)
        return replace(self, stack=stack, seconds=sum(each.seconds for each in described))

    @property
    def factor(self) -> int | None:
        """The factor of super-resolution; None for other tasks."""
        return self.parameters.get("factor")

    @property
    def exactness(self) -> str:
        """How exactly the same seed and settings repeat the result, in words that follow "Repeats …"."""
        if self.used.device.partition(":")[0] == "cpu":
            threads = "number of threads" if self.threads is None else f"number of threads ({self.threads})"
            return f"to the last bit with the same versions, kind of processor and {threads}"
        return (
            "nearly: a GPU adds in an order that changes, so two runs with the same seed drift apart (on an NVIDIA "
            "H100 by up to 1% of the range in 120 steps)"
        )

    def as_python(self) -> str:
        """Return a script that repeats the result, as exactly as ``exactness`` says."""
        return write_script(self)


@cache
def _reader() -> TypeAdapter[Record]:
    return TypeAdapter(Record)


def _gather_parameters(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with its parameters in one field; in older records each had its own field."""
    values = dict(values)
    if "factor" in values and "parameters" not in values:
        parameters = {"factor": values.pop("factor")}
        if isinstance(values.get("given"), Mapping):
            values["given"] = dict(values["given"])
            parameters["quantisation_table"] = values["given"].pop("quantisation_table", None)
        values["parameters"] = {name: value for name, value in parameters.items() if value is not None}
    return values


def _describe_fault(error: Exception) -> str:
    """Return the first thing that is wrong with a record, on one line and without a full stop."""
    if not isinstance(error, ValidationError):  # a task's own error, which may quote a long value
        return textwrap.shorten(str(error).removesuffix("."), _LONGEST_FAULT, placeholder=" …")
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(show(part, quoted=False) for part in fault["loc"]) or "it"
    if fault["type"] == "missing":
        return f"{where} is missing"
    if fault["type"] == "unexpected_keyword_argument":
        return f"{where} is unknown"
    reason = str(fault["ctx"]["error"]) if fault["type"] == "value_error" else fault["msg"]
    reason = reason.removeprefix("Input ").partition(" or an instance of ")[0].removesuffix(".")
    return f"{where} {reason}" if reason.startswith("should ") else f"{where}: {reason}"


def read_versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    return {"python": platform.python_version()} | {name: version(name) for name in ("napari-dip", "torch", "numpy")}


def describe_given(image: np.ndarray, mask: np.ndarray | None, colours: bool = True) -> Given:
    """Describe the input of a restoration."""
    return Given(
        image_shape=image.shape,
        dtype=image.dtype.name,
        digest=digest_image(image),
        mask=None if mask is None else pack_mask(mask),
        colours=colours,
    )
