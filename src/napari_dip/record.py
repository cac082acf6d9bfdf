"""What was done: enough to repeat a restoration, as JSON, and as a script."""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .settings import Settings


@dataclass(frozen=True, slots=True)
class Given:
    """What a restoration was given.

    Attributes
    ----------
    image_shape : tuple of int
        ("shape" alone, in the description of a TIFF, means something of its own to tifffile.)
    dtype : str
        Of the image.
    digest : str
        SHA-256 of the image's pixels: tells whether another image is the same.
    mask : str or None
        The mask as ``pack_mask`` writes it.
    quantisation_table : tuple or None
        8 rows of 8 steps.
    path : str or None
        The file that the image, or what it is a region of, was read from.
    layer : str or None
        The name of that layer.
    region : tuple or None
        ``((first row, end row), (first column, end column))`` if it was a part of that image.
    colours : bool
        Whether channels were taken for colours of one light.
    """

    image_shape: tuple[int, ...]
    dtype: str
    digest: str
    mask: str | None = None
    quantisation_table: tuple[tuple[float, ...], ...] | None = None
    path: str | None = None
    layer: str | None = None
    region: tuple[tuple[int, int], tuple[int, int]] | None = None
    colours: bool = True


@dataclass(frozen=True, slots=True)
class Output:
    """Which of the results an image is.

    Attributes
    ----------
    name : str
        The field of ``Restoration``.
    dtype : str
        Of another type than float32, it was rounded and clipped.
    clipped : int
        Pixels that were.
    """

    name: str = "restored"
    dtype: str = "float32"
    clipped: int = 0


@dataclass(frozen=True, slots=True)
class PlaneRecord:
    """What became of one plane of a stack.

    Attributes
    ----------
    place : dict
        The letter of each axis that is stepped through, and the number along it.
    step, stop_step, stop_reason, noise, seconds
        As in ``Record``.
    digest : str or None
        SHA-256 of the plane's pixels; None where it was restored in tiles.
    mask : str or None
        The same of its mask, if it had one.
    """

    place: dict[str, int]
    step: int
    stop_step: int
    stop_reason: str
    noise: float | None
    seconds: float
    digest: str | None = None
    mask: str | None = None


@dataclass(frozen=True, slots=True)
class StackRecord:
    """Which planes of a stack were restored, and how they went.

    Attributes
    ----------
    axes : str
        One letter for each axis of the stack.
    shape : tuple of int
        Of the whole stack, as it was measured.
    planes : tuple of PlaneRecord
        Those that are done.
    channels : str
        "apart" or "together".
    warm_start : str or None
        As ``restore_stack`` takes it.
    part : tuple or None
        ``(begin, end)`` along each axis, if the image beside this record is only a part of the stack.
    """

    axes: str
    shape: tuple[int, ...]
    planes: tuple[PlaneRecord, ...]
    channels: str = "apart"
    warm_start: str | None = None
    part: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """How a restoration came about.

    Attributes
    ----------
    task : str
    factor : int or None
        Of super-resolution.
    settings : Settings
        As asked for: these repeat the run.
    used : Settings
        The same with every "auto" resolved.
    compared : str
        What of the image was compared with what the network draws, and how: the data term.
    missing : int
        How many pixels were marked as missing, were not finite, or were hot.
    device : str
        The device in words, and why.
    step : int
        Step of the estimate that was returned.
    stop_step : int
        Step at which the run stopped.
    stop_reason : str
    residual_correlation : float
        Of neighbours in what was taken away, the larger of rows' and columns': near 0 for white noise.
    note : str
        What noise and residual say about the result.
    seconds : float
        From the call to the result.
    versions : dict
        Of napari-dip, torch, numpy and Python.
    given : Given or None
        The image and what belongs to it; None in records of version 0.1.0 and before.
    stopped_after : int or None
        If the user stopped it: after so many steps, of all stages.
    restarts : int
        How many networks were given up, since their output stayed a constant. Of a restoration the settings have the
        seed of the one that learned; a smoothing, repeated, gives up the same ones again.
    noise : float or None
        Estimated deviation of the noise, in the image's intensities (of channels that are no colours: as a share of
        their ranges); None where none could be told.
    output : Output
        Which result the image beside this record is.
    stack : StackRecord or None
        If the image is a stack: all above is of its first plane, but for ``seconds``, of all.
    threads : int or None
        How many torch computed with on a CPU: with another number the last digits differ. None in older records.
    """

    task: str
    factor: int | None
    settings: Settings
    used: Settings
    compared: str
    missing: int
    device: str
    step: int
    stop_step: int
    stop_reason: str
    residual_correlation: float
    note: str
    seconds: float
    versions: dict[str, str]
    given: Given | None = None
    stopped_after: int | None = None
    restarts: int = 0
    noise: float | None = None
    output: Output = Output()
    stack: StackRecord | None = None
    threads: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain types only, as a layer's metadata or a JSON file can hold them."""
        return _plain(asdict(self))

    def as_json(self) -> str:
        """Return the record as JSON text."""
        return json.dumps(self.as_dict(), indent=1)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Record:
        """Return the record that ``as_dict`` or its JSON describes.

        Raises
        ------
        ValueError
            If that is no record, or one of a version that this one does not understand.
        """
        values = dict(values)
        names = {field.name for field in fields(cls)}
        try:
            for name in ("settings", "used"):
                # a record that does not name the optimiser is of a time when there was only Adam
                values[name] = Settings.from_dict({"optimiser": "adam"} | values[name])
            if values.get("given") is not None:
                given = {name: _tuples(value) for name, value in values["given"].items()}
                values["given"] = Given(**given)
            values["output"] = Output(**values.get("output", {}))
            if values.get("stack") is not None:
                stack = values["stack"]
                planes = tuple(PlaneRecord(**each) for each in stack["planes"])
                told = {name: _tuples(value) for name, value in stack.items()}
                values["stack"] = StackRecord(**told | {"planes": planes})
            return cls(**{name: value for name, value in values.items() if name in names})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("this is not a record of napari-dip, or one of another version.") from error

    def of_output(self, name: str, image: NDArray, clipped: int = 0, **origin: Any) -> Record:
        """Return the record as it belongs beside one of the results.

        Parameters
        ----------
        name : str
            The field of ``Restoration``.
        image : ndarray
            As it is shown or written.
        clipped : int
            Pixels that its type could not hold.
        **origin
            Fields of ``Given`` that say where the image came from.
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
        """Return the record of one plane as that of a stack.

        Parameters
        ----------
        axes, shape, channels, warm_start, part
            As ``StackRecord`` has them.
        planes : sequence of (dict, Record)
            The place and the record of each plane that is done.
        """
        described = tuple(
            PlaneRecord(
                dict(place), each.step, each.stop_step, each.stop_reason, each.noise, each.seconds,
                None if each.given is None else each.given.digest,
                None if each.given is None or each.given.mask is None else _digest_text(each.given.mask),
            )
            for place, each in planes
        )  # fmt: skip
        stack = StackRecord(axes, shape, described, channels, warm_start, part)
        return replace(self, stack=stack, seconds=sum(each.seconds for each in described))

    @property
    def exactness(self) -> str:
        """How exactly the same seed and settings repeat the result, in words that follow "Repeats it"."""
        if self.used.device.partition(":")[0] == "cpu":
            threads = "number of threads" if self.threads is None else f"number of threads ({self.threads})"
            return f"to the last bit with the same versions, kind of processor and {threads}"
        return (
            "nearly: a GPU adds up in changing order, and two runs of one seed drift apart (on an NVIDIA H100 by up to "
            "1% of the range in 120 steps)"
        )

    def as_python(self) -> str:
        """Return a script that repeats the result, as exactly as ``exactness`` says."""
        from .record_script import write_script

        return write_script(self)


def read_versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    return {"python": platform.python_version()} | {name: version(name) for name in ("napari-dip", "torch", "numpy")}


def describe_given(
    image: NDArray, mask: NDArray | None, quantisation_table: NDArray | None, colours: bool = True
) -> Given:
    """Describe what a restoration was given."""
    return Given(
        image_shape=image.shape,
        dtype=image.dtype.name,
        digest=digest_image(image),
        mask=None if mask is None else pack_mask(mask),
        quantisation_table=None if quantisation_table is None else _tuples(quantisation_table.tolist()),
        colours=colours,
    )


def digest_image(image: NDArray) -> str:
    """Return the SHA-256 of an image's type, shape and pixels, the same for either byte order."""
    native = np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("="))
    digest = hashlib.sha256(f"{native.dtype.name} {native.shape}".encode())
    if native.dtype == np.longdouble and native.dtype.itemsize > 8:  # some of its bytes are no pixel's, and at random
        with np.errstate(over="ignore"):
            native = native.astype(np.float64)
    digest.update(native.view(np.uint8).data if native.ndim else native.tobytes())
    return digest.hexdigest()


def _digest_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def pack_mask(mask: NDArray) -> str:
    """Return a mask, ``(h, w)`` bool, as text: its bits, compressed, in base 64."""
    bits = np.packbits(np.asarray(mask, dtype=bool))
    return base64.b64encode(zlib.compress(bits.tobytes(), 9)).decode("ascii")


def unpack_mask(text: str, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask of that shape that ``pack_mask`` wrote.

    Raises
    ------
    ValueError
        If the text is no mask of that shape.
    """
    try:
        packed = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8)
        if packed.size != -(-shape[0] * shape[1] // 8):
            raise ValueError(f"it has {packed.size} bytes.")
    except (ValueError, zlib.error) as error:
        raise ValueError(f"the text is no mask of {shape[0]} x {shape[1]} pixels.") from error
    return np.unpackbits(packed, count=shape[0] * shape[1]).astype(bool).reshape(shape)


def _plain(value: Any) -> Any:
    """Return numpy's numbers as Python's, at any depth."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(each) for each in value)
    return value.item() if isinstance(value, np.generic) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(each) for each in value) if isinstance(value, list | tuple) else value
