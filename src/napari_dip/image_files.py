"""Read TIFF, OME-TIFF, PNG and JPEG; write TIFF and PNG, never half a file."""

from __future__ import annotations

import errno
import json
import math
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from .pixel_type import as_dtype
from .tiff_files import is_tiff, open_tiff
from .whole_files import write_atomically

TIFF_SUFFIXES = (".tif", ".tiff")
PNG_KEY = "napari-dip"  # of the PNG text chunk that holds the record
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_MODES = ("1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "F", "RGB", "RGBA")  # the Pillow modes that can be restored
_GREATEST_RATIO = 1032  # the most bytes that one byte of a PNG can expand to; a JPEG expands less
_SEPARATED = 5  # TIFF's photometric code for printing inks
_IMAGEJ_NAMES = {"Z": "spacing", "T": "finterval"}
_CENTIMETRES = {"pm": 1e-10, "nm": 1e-7, "µm": 1e-4, "mm": 0.1, "cm": 1.0, "m": 100.0}


def check_file(path: Path) -> None:
    """Check that a path is a regular, non-empty file: opening a pipe, for example, could block forever.

    Raises
    ------
    ValueError
        If it is not.
    """
    try:
        status = path.stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise ValueError(f"{path} does not exist.") from error
        raise ValueError(f"{path} cannot be opened: {error.strerror}.") from error
    if stat.S_ISDIR(status.st_mode):
        raise ValueError(f"{path} is a folder; give an image file.")
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is a pipe, socket or device; give an image file.")
    if status.st_size == 0:
        raise ValueError(f"{path} is empty.")


def check_memory(pixels: int) -> None:
    """Check that a plane of this many pixels fits into memory as float32.

    Raises
    ------
    ValueError
        If it does not; the message continues a sentence.
    """
    needed, free = 4 * pixels, psutil.virtual_memory().available
    if needed > free:
        raise ValueError(
            f"a plane of {pixels:,} pixels needs {needed / 1e9:,.0f} GB of memory; {free / 1e9:.0f} GB are free"
        )


def say_why(error: BaseException) -> str:
    """Return one line that says, after a colon, why something could not be read."""
    if isinstance(error, MemoryError):
        return "not enough memory."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}."
    text = " ".join(str(error).split())[:300] or type(error).__name__
    if not isinstance(error, ValueError | NotImplementedError):  # the reader was not prepared for such a file
        text = f"it is truncated or damaged: {text}"
    return text if text.endswith((".", "!", "?")) else f"{text}."


def read_image(path: Path) -> np.ndarray:
    """Read one plane, ``(h, w)`` or ``(h, w, c)``, in the file's dtype.

    The first bytes of the file, not its name, decide whether it is TIFF, PNG, JPEG or another format that Pillow reads.

    Raises
    ------
    ValueError
        If the file cannot be read, is truncated or damaged, or holds more than one plane.
    """
    check_file(path)
    try:
        image, is_cmyk = _read_tiff(path) if is_tiff(path) else _read_picture(path)
    except Exception as error:  # the libraries raise many exceptions of their own
        raise ValueError(f"{path} cannot be read as an image: {say_why(error)}") from error
    if is_cmyk:
        raise ValueError(f"{path} has the colours of printing inks (CMYK); save it as grey or RGB.")
    if image.ndim == 3 and image.shape[2] == 2:
        raise ValueError(f"{path} is grey with alpha; save it as grey or RGB.")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
        raise ValueError(f"{path} has shape {image.shape}; here only a single plane, grey or RGB, can be read.")
    return image


def _read_tiff(path: Path) -> tuple[np.ndarray, bool]:
    """Return the image in a TIFF, and whether it is CMYK."""
    with open_tiff(path) as (file, series):
        if series.dtype.kind not in "buif":
            raise ValueError(f"its pixels are {series.dtype}, not real numbers")
        check_memory(math.prod(series.shape))
        image = series.asarray()
        if series.axes.startswith("S") and image.ndim == 3:  # colours are stored plane by plane
            image = np.moveaxis(image, 0, -1)
        is_cmyk = file.pages.first.photometric == _SEPARATED
    is_colour = image.ndim > 2 and image.shape[-1] in (3, 4)
    leading = range(image.ndim - (3 if is_colour else 2))
    return np.squeeze(image, axis=tuple(axis for axis in leading if image.shape[axis] == 1)), is_cmyk


@contextmanager
def _open_picture(path: Path) -> Iterator[Any]:
    """Open a file that is not a TIFF with Pillow.

    PNG and JPEG are opened with their own classes, because ``Image.open`` refuses large pictures as decompression bombs
    and its limit is global. ``_check_picture`` compares the promised size with the file's size instead.
    """
    from PIL import Image, UnidentifiedImageError
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile

    with path.open("rb") as file:
        head = file.read(26)
    try:
        if head.startswith(_PNG):
            if head[24:25] == b"\x10" and head[25:26] in (b"\2", b"\4", b"\6"):
                raise ValueError("it has 16-bit colours or alpha, and only 8 bits would be read; save it as TIFF")
            with PngImageFile(path) as picture:
                _check_picture(picture, path)
                picture.verify()  # reading does not check the checksums
            opened: Any = PngImageFile(path)
        elif head.startswith(_JPEG):
            opened = JpegImageFile(path)
        else:
            opened = Image.open(path)
    except UnidentifiedImageError as error:
        raise ValueError("it is not a TIFF, PNG or JPEG, or its beginning is damaged") from error
    with opened as picture:
        _check_picture(picture, path)
        yield picture


def _check_picture(picture: Any, path: Path) -> None:
    width, height = picture.size
    check_memory(width * height * len(picture.getbands()))
    frames = getattr(picture, "n_frames", 1)
    if frames > 1:
        raise ValueError(f"it has {frames} frames; save them as TIFF")
    if picture.format in ("PNG", "JPEG") and width * height > 8 * _GREATEST_RATIO * path.stat().st_size:
        raise ValueError(f"it promises {width} x {height} pixels, more than its bytes can hold")


def _read_picture(path: Path) -> tuple[np.ndarray, bool]:
    """Return the image in a file that is not a TIFF, and whether it is CMYK."""
    with _open_picture(path) as picture:
        if picture.mode == "CMYK":
            return np.zeros((1, 1), np.uint8), True
        if picture.mode == "P":
            picture = picture.convert(picture.palette.mode)
        elif picture.mode == "I" and picture.format == "PNG":
            picture = picture.convert("I;16")
        if picture.mode not in _MODES:
            raise ValueError(f"its colour mode is {picture.mode}; save it as grey or RGB")
        return np.array(picture), False


def read_quantisation_table(path: Path) -> NDArray[np.float64] | None:
    """Return the luminance quantisation steps of a grey JPEG file, ``(8, 8)``; None for any other file.

    Raises
    ------
    ValueError
        If the file cannot be read.
    """
    check_file(path)
    try:
        with path.open("rb") as file:
            if not file.read(2).startswith(_JPEG):
                return None
        with _open_picture(path) as picture:
            if picture.mode != "L":
                return None
            steps = picture.quantization[0]
        return np.asarray(steps, dtype=np.float64).reshape(8, 8)
    except Exception as error:  # the libraries raise many exceptions of their own
        raise ValueError(f"{path} cannot be read as an image: {say_why(error)}") from error


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask, ``(h, w)``, True where the file is not 0.

    Raises
    ------
    ValueError
        As ``read_image``.
    """
    image = read_image(path)
    if image.ndim == 3:
        image = image[:, :, :3].max(axis=2)
    missing: NDArray[np.bool_] = image != 0
    return missing


@dataclass(frozen=True, slots=True, eq=False)
class Pages:
    """An image that is written plane by plane, with one plane in memory at a time.

    Attributes
    ----------
    planes : iterable of ndarray
        ``(h, w)`` or ``(h, w, colours)``, in the order of the leading axes.
    shape : tuple of int
        Of the image, leading axes included.
    dtype : dtype
    """

    planes: Iterable[np.ndarray]
    shape: tuple[int, ...]
    dtype: np.dtype


def write_tiff(
    path: Path,
    image: np.ndarray | Pages,
    record: Mapping[str, Any] | None = None,
    *,
    axes: str | None = None,
    distances: Mapping[str, tuple[float, str]] | None = None,
    channel_names: Sequence[str] = (),
    is_imagej: bool = False,
) -> None:
    """Write an image as TIFF in its dtype, with the record as JSON in its description.

    A name ending in .ome.tif gives an OME-TIFF, with the record and the pixel size in its metadata. Any other name
    gives an ImageJ TIFF or a plain TIFF, with the pixel size in its resolution.

    Parameters
    ----------
    path : Path
        The file is written beside it and renamed, so a partial file never has this name.
    image : ndarray or Pages
        ``(h, w)`` or ``(h, w, colours)``; with ``axes``, any shape.
    record : mapping, optional
        Plain types only.
    axes : str, optional
        One letter per axis; ends in YX or YXS (S for colours). OME-TIFF also knows T, Z and C; it gets Q for others.
    distances : mapping
        By letter, the distance between pixels, z-slices or frames, with its unit as OME names it:
        ``{"X": (0.1, "µm"), "T": (2.0, "s")}``.
    channel_names : sequence of str
        One for each channel of axis C.
    is_imagej : bool
        Whether to write an ImageJ TIFF, if the name does not ask for an OME-TIFF.

    Raises
    ------
    ValueError
        If TIFF cannot hold such an image.
    """
    import tifffile

    axes = axes or ("YX" if len(image.shape) == 2 else "YXS")
    shape = image.shape
    dtype = np.dtype(np.uint8 if image.dtype == bool else image.dtype)  # few programs read 1-bit TIFFs
    colours = shape[-1] if axes.endswith("S") else 1
    options: dict[str, Any] = {"photometric": "rgb" if colours > 1 else "minisblack"}
    if colours == 4:
        options["extrasamples"] = ["unassalpha"]
    text = None if record is None else encode_record(record)
    names = list(map(str, channel_names)) if "C" in axes and len(channel_names) == shape[axes.index("C")] else []
    distances = distances or {}
    sizes = tuple(distances[letter][0] for letter in "XY" if letter in distances)
    units = [distances[letter][1] for letter in "XY" if letter in distances]
    metadata: dict[str, Any] = {}
    if is_ome(path):
        metadata = {"axes": "".join(each if each in "TZCYXS" else "Q" for each in axes), "Description": text}
        metadata["Channel"] = {"Name": names} if names else None
        for letter in "XYZT":
            if letter in axes and letter in distances:
                size, unit = distances[letter]
                metadata |= {ome_size_name(letter): float(size), f"{ome_size_name(letter)}Unit": unit}
        options["ome"] = True
    elif is_imagej:
        metadata = {"axes": axes, "Info": text, "Labels": names or None}
        if len(sizes) == 2:
            metadata["unit"] = _in_ascii(units[0])
            options["resolution"] = tuple(1 / size for size in sizes)
        metadata |= {name: distances[letter][0] for letter, name in _IMAGEJ_NAMES.items() if letter in distances}
        options["imagej"] = True
    else:
        options["description"] = text
        if len(sizes) == 2 and set(units) <= _CENTIMETRES.keys():
            options["resolution"] = tuple(
                1 / (size * _CENTIMETRES[unit]) for size, unit in zip(sizes, units, strict=True)
            )
            options["resolutionunit"] = "CENTIMETER"
    options["metadata"] = {name: each for name, each in metadata.items() if each is not None} or None
    page = shape[-3:] if axes.endswith("S") else shape[-2:]
    planes = image.planes if isinstance(image, Pages) else image.reshape(math.prod(shape[: -len(page)]), *page)
    pages = (np.ascontiguousarray(plane, dtype) for plane in planes)
    try:
        write_atomically(path, lambda hidden: tifffile.imwrite(hidden, pages, shape=shape, dtype=dtype, **options))
    except (tifffile.TiffFileError, tifffile.OmeXmlError, ValueError, TypeError) as error:
        raise ValueError(f"{path.name} cannot hold this image: {error}") from error


def ome_size_name(letter: str) -> str:
    """Return OME's name for the distance between pixels, z-slices or frames along an axis."""
    return "TimeIncrement" if letter == "T" else f"PhysicalSize{letter}"


def _in_ascii(unit: str) -> str:
    """Return a unit in ASCII, as ImageJ writes it."""
    return "".join(each if each.isascii() else f"\\u{ord(each):04X}" for each in unit.replace("µ", "u"))


def is_ome(path: Path) -> bool:
    """Return whether a path has an OME-TIFF name."""
    return path.name.lower().endswith((".ome.tif", ".ome.tiff"))


def is_png(path: Path) -> bool:
    """Return whether a path has a PNG name."""
    return path.suffix.lower() == ".png"


def encode_record(record: Mapping[str, Any]) -> str:
    """Return a record as JSON that can be a TIFF's description.

    tifffile takes every description that contains ``"shape":`` for its own, and fails; a space avoids that.
    """
    return json.dumps(record).replace('"shape":', '"shape" :')


def read_record(path: Path) -> dict[str, Any] | None:
    """Return the napari-dip record in a TIFF, OME-TIFF, ImageJ TIFF or PNG; None if there is none."""
    import tifffile

    try:
        check_file(path)
        if is_png(path):
            record = json.loads(read_png_text(path) or "")
        else:
            with tifffile.TiffFile(path) as file:
                description = file.pages.first.description
                if file.ome_metadata:
                    image = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
                    description = (image[0] if isinstance(image, list) else image).get("Description", "")
                elif file.is_imagej:
                    description = (file.imagej_metadata or {}).get("Info", "")
            record = json.loads(description)
    except Exception:  # the libraries raise many exceptions of their own
        return None
    return record if isinstance(record, dict) and "settings" in record else None


def read_png_text(path: Path) -> str | None:
    """Return the napari-dip text chunk of a PNG; None for any other file."""
    from PIL.PngImagePlugin import PngImageFile

    try:
        with path.open("rb") as file, PngImageFile(file) as image:  # Image.open would refuse large ones
            text = image.info.get(PNG_KEY)
    except Exception:  # as above
        return None
    return text if isinstance(text, str) else None


def check_png(dtype: np.dtype, *, has_colours: bool = False) -> None:
    """Check that a PNG can hold intensities of this type.

    Raises
    ------
    ValueError
        If it cannot.
    """
    if dtype not in (np.uint8, np.uint16):
        raise ValueError(f"a PNG cannot hold {dtype} intensities; write a .tif instead.")
    if dtype == np.uint16 and has_colours:
        raise ValueError("16-bit colours cannot be written as PNG; write a .tif instead.")


def write_png(path: Path, image: np.ndarray, like: np.dtype, record: Mapping[str, Any] | None = None) -> None:
    """Write an image as an 8- or 16-bit PNG, rounded and clipped to the range of ``like``.

    Parameters
    ----------
    path : Path
    image : ndarray
        ``(h, w)`` or ``(h, w, c)``, in the units of ``like``.
    like : dtype
        uint8 or uint16.
    record : mapping, optional
        Plain types only; written as JSON into the text chunk "napari-dip".

    Raises
    ------
    ValueError
        As ``check_png``.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    rounded, _ = as_dtype(image, np.dtype(like).newbyteorder("="))
    rounded = rounded[:, :, 0] if rounded.ndim == 3 and rounded.shape[2] == 1 else rounded
    check_png(rounded.dtype, has_colours=rounded.ndim == 3)
    texts = PngInfo()
    if record is not None:
        texts.add_text(PNG_KEY, json.dumps(record))
    write_atomically(path, lambda hidden: Image.fromarray(rounded).save(hidden, format="PNG", pnginfo=texts))
