"""Image files: TIFF, OME-TIFF, PNG and JPEG are read, TIFF and PNG written, never half a file."""

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
from .whole_files import write_whole

TIFF_SUFFIXES = (".tif", ".tiff")
PNG_KEY = "napari-dip"  # of the text chunk of a PNG that says what it is
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_MODES = ("1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "F", "RGB", "RGBA")  # Pillow's names of what is restored
_GREATEST_RATIO = 1032  # bytes that one byte of a PNG can stand for; of a JPEG it is less
_SEPARATED = 5  # TIFF's number of printing inks
_OF_IMAGEJ = {"Z": "spacing", "T": "finterval"}
_CENTIMETRES = {"pm": 1e-10, "nm": 1e-7, "µm": 1e-4, "mm": 0.1, "cm": 1.0, "m": 100.0}


def check_file(path: Path) -> None:
    """Check that a path is that of a file with something in it; what is none (a pipe, say) might be opened for ever.

    Raises
    ------
    ValueError
        If not.
    """
    try:
        status = path.stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise ValueError(f"there is no file {path}.") from error
        raise ValueError(f"{path} cannot be opened: {error.strerror}.") from error
    if stat.S_ISDIR(status.st_mode):
        raise ValueError(f"{path} is a folder; give an image file.")
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is a pipe, socket or device; give an image file.")
    if status.st_size == 0:
        raise ValueError(f"{path} is empty.")


def check_memory(pixels: int) -> None:
    """Check that so many pixels can be held, as float32.

    Raises
    ------
    ValueError
        If not, in half a sentence.
    """
    needed, free = 4 * pixels, psutil.virtual_memory().available
    if needed > free:
        raise ValueError(
            f"a plane of {pixels:,} pixels takes {needed / 1e9:,.0f} GB of memory, and {free / 1e9:.0f} GB are free"
        )


def say_why(error: BaseException) -> str:
    """Return in one line, to follow a colon, why something could not be read."""
    if isinstance(error, MemoryError):
        return "there is too little memory."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}."
    text = " ".join(str(error).split())[:300] or type(error).__name__
    if not isinstance(error, ValueError | NotImplementedError):  # a reader that did not foresee such a file
        text = f"it is cut off or damaged: {text}"
    return text if text.endswith((".", "!", "?")) else f"{text}."


def read_image(path: Path) -> np.ndarray:
    """Read one plane, ``(h, w)`` or ``(h, w, c)``, in the file's dtype.

    What a file is, TIFF, PNG, JPEG or another that Pillow reads, is told by its first bytes and not by its name.

    Raises
    ------
    ValueError
        If the file cannot be read, is cut off or damaged, or holds more than one plane.
    """
    check_file(path)
    try:
        image, inks = _read_tiff(path) if is_tiff(path) else _read_picture(path)
    except Exception as error:  # the readers raise many kinds of their own
        raise ValueError(f"{path} cannot be read as an image: {say_why(error)}") from error
    if inks:
        raise ValueError(f"{path} is in printing inks (CMYK); save it as grey or RGB.")
    if image.ndim == 3 and image.shape[2] == 2:
        raise ValueError(f"{path} is grey with alpha; save it as grey or RGB.")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
        raise ValueError(f"{path} has shape {image.shape}; only single planes, grey or RGB, are restored so far.")
    return image


def _read_tiff(path: Path) -> tuple[np.ndarray, bool]:
    """Return the image of a TIFF, and whether it is in printing inks."""
    with open_tiff(path) as (file, series):
        if series.dtype.kind not in "buif":
            raise ValueError(f"its pixels are {series.dtype}, not real numbers")
        check_memory(math.prod(series.shape))
        image = series.asarray()
        if series.axes.startswith("S") and image.ndim == 3:  # colours stored plane by plane
            image = np.moveaxis(image, 0, -1)
        inks = file.pages.first.photometric == _SEPARATED
    is_colour = image.ndim > 2 and image.shape[-1] in (3, 4)
    leading = range(image.ndim - (3 if is_colour else 2))
    return np.squeeze(image, axis=tuple(axis for axis in leading if image.shape[axis] == 1)), inks


@contextmanager
def _open_picture(path: Path) -> Iterator[Any]:
    """Open a file that is no TIFF with Pillow.

    Of a PNG or JPEG its own class is used: ``Image.open`` takes a large picture for a bomb, and its limit is one of the
    whole process. What such a file can hold is told by its size.
    """
    from PIL import Image, UnidentifiedImageError
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile

    with path.open("rb") as file:
        head = file.read(26)
    try:
        if head.startswith(_PNG):
            if head[24:25] == b"\x10" and head[25:26] in (b"\2", b"\4", b"\6"):
                raise ValueError("it holds 16-bit colours or alpha, of which 8 bits would be read; save it as TIFF")
            with PngImageFile(path) as picture:
                _check_picture(picture, path)
                picture.verify()  # the checksums, which reading passes over
            opened: Any = PngImageFile(path)
        elif head.startswith(_JPEG):
            opened = JpegImageFile(path)
        else:
            opened = Image.open(path)
    except UnidentifiedImageError as error:
        raise ValueError("it is no TIFF, PNG or JPEG, or its beginning is damaged") from error
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
    """Return the image of a file that is no TIFF, and whether it is in printing inks."""
    with _open_picture(path) as picture:
        if picture.mode == "CMYK":
            return np.zeros((1, 1), np.uint8), True
        if picture.mode == "P":
            picture = picture.convert(picture.palette.mode)
        elif picture.mode == "I" and picture.format == "PNG":
            picture = picture.convert("I;16")
        if picture.mode not in _MODES:
            raise ValueError(f"its colours are {picture.mode}; save it as grey or RGB")
        return np.array(picture), False


def read_quantisation_table(path: Path) -> NDArray[np.float64] | None:
    """Return the luminance quantisation steps of a grey JPEG file, ``(8, 8)``; None of any other file.

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
    except Exception as error:  # the readers raise many kinds of their own
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
    """An image that is written plane by plane, so that one of them is in memory at a time.

    Attributes
    ----------
    planes : iterable of ndarray
        ``(h, w)`` or ``(h, w, colours)``, in the order of the axes before them; taken one by one.
    shape : tuple of int
        Of the image.
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
    """Write an image as TIFF in its dtype, with the record as JSON in the description.

    A name that ends in .ome.tif gives an OME-TIFF, whose metadata hold the record and the size of a pixel. Any other
    gives a TIFF as ImageJ writes it, or a plain one, whose resolution holds the size of a pixel.

    Parameters
    ----------
    path : Path
        Written beside and renamed, so that no partial file ever bears this name.
    image : ndarray or Pages
        ``(h, w)`` or ``(h, w, colours)``; with ``axes`` anything.
    record : mapping, optional
        Plain types.
    axes : str, optional
        One letter for each axis; ends in YX or YXS (S for colours). OME-TIFF knows TZC beside, and calls others Q.
    distances : mapping
        By letter, how far pixels, planes or frames lie apart, and in which unit, as OME names them:
        ``{"X": (0.1, "µm"), "T": (2.0, "s")}``.
    channel_names : sequence of str
        For axis C, as many as there are channels.
    is_imagej : bool
        Whether a TIFF that is no OME-TIFF is one of ImageJ's.

    Raises
    ------
    ValueError
        If TIFF cannot hold such an image.
    """
    import tifffile

    axes = axes or ("YX" if len(image.shape) == 2 else "YXS")
    shape, dtype = image.shape, np.dtype(np.uint8 if image.dtype == bool else image.dtype)  # few read one bit a pixel
    colours = shape[-1] if axes.endswith("S") else 1
    options: dict[str, Any] = {"photometric": "rgb" if colours > 1 else "minisblack"}
    if colours == 4:
        options["extrasamples"] = ["unassalpha"]
    text = None if record is None else encode_record(record)
    names = list(map(str, channel_names)) if "C" in axes and len(channel_names) == shape[axes.index("C")] else []
    distances = distances or {}
    sizes = tuple(distances[letter][0] for letter in "XY" if letter in distances)
    units = [distances[letter][1] for letter in "XY" if letter in distances]
    told: dict[str, Any] = {}
    if is_ome(path):
        told = {"axes": "".join(each if each in "TZCYXS" else "Q" for each in axes), "Description": text}
        told["Channel"] = {"Name": names} if names else None
        for letter in "XYZT":
            if letter in axes and letter in distances:
                size, unit = distances[letter]
                told |= {name_of_size(letter): float(size), f"{name_of_size(letter)}Unit": unit}
        options["ome"] = True
    elif is_imagej:
        told = {"axes": axes, "Info": text, "Labels": names or None}
        if len(sizes) == 2:
            told["unit"] = _in_ascii(units[0])
            options["resolution"] = tuple(1 / size for size in sizes)
        told |= {name: distances[letter][0] for letter, name in _OF_IMAGEJ.items() if letter in distances}
        options["imagej"] = True
    else:
        options["description"] = text
        if len(sizes) == 2 and set(units) <= _CENTIMETRES.keys():
            options["resolution"] = tuple(
                1 / (size * _CENTIMETRES[unit]) for size, unit in zip(sizes, units, strict=True)
            )
            options["resolutionunit"] = "CENTIMETER"
    options["metadata"] = {name: each for name, each in told.items() if each is not None} or None
    page = shape[-3:] if axes.endswith("S") else shape[-2:]
    planes = image.planes if isinstance(image, Pages) else image.reshape(math.prod(shape[: -len(page)]), *page)
    pages = (np.ascontiguousarray(plane, dtype) for plane in planes)
    try:
        write_whole(path, lambda beside: tifffile.imwrite(beside, pages, shape=shape, dtype=dtype, **options))
    except (tifffile.TiffFileError, tifffile.OmeXmlError, ValueError, TypeError) as error:
        raise ValueError(f"{path.name} cannot hold this image: {error}") from error


def name_of_size(letter: str) -> str:
    """Return what OME calls the distance of pixels, planes or frames along an axis."""
    return "TimeIncrement" if letter == "T" else f"PhysicalSize{letter}"


def _in_ascii(unit: str) -> str:
    """Return a unit as ImageJ writes it."""
    return "".join(each if each.isascii() else f"\\u{ord(each):04X}" for each in unit.replace("µ", "u"))


def is_ome(path: Path) -> bool:
    """Return whether a name promises an OME-TIFF."""
    return path.name.lower().endswith((".ome.tif", ".ome.tiff"))


def is_png(path: Path) -> bool:
    """Return whether a name promises a PNG."""
    return path.suffix.lower() == ".png"


def encode_record(record: Mapping[str, Any]) -> str:
    """Return a record as JSON that can stand in the description of a TIFF.

    tifffile takes every description with ``"shape":`` in it for its own, and fails; a space makes the difference.
    """
    return json.dumps(record).replace('"shape":', '"shape" :')


def read_record(path: Path) -> dict[str, Any] | None:
    """Return the record in a TIFF, OME-TIFF, ImageJ-TIFF or PNG that was written here; None if there is none."""
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
    except Exception:  # the readers raise many kinds of their own
        return None
    return record if isinstance(record, dict) and "settings" in record else None


def read_png_text(path: Path) -> str | None:
    """Return what a PNG that was written here says of itself; None of any other file."""
    from PIL.PngImagePlugin import PngImageFile

    try:
        with path.open("rb") as file, PngImageFile(file) as image:  # Image.open would refuse large ones
            text = image.info.get(PNG_KEY)
    except Exception:  # as above
        return None
    return text if isinstance(text, str) else None


def check_png(dtype: np.dtype, *, has_colours: bool = False) -> None:
    """Check that a PNG can keep intensities of that type.

    Raises
    ------
    ValueError
        If it cannot.
    """
    if dtype not in (np.uint8, np.uint16):
        raise ValueError(f"PNG cannot keep {dtype} intensities; write a .tif instead.")
    if dtype == np.uint16 and has_colours:
        raise ValueError("16-bit colours cannot be written as PNG here; write a .tif instead.")


def write_png(path: Path, image: np.ndarray, like: np.dtype, record: Mapping[str, Any] | None = None) -> None:
    """Write an image as 8- or 16-bit PNG, rounded and clipped to the range of ``like``.

    Parameters
    ----------
    path : Path
    image : ndarray
        ``(h, w)`` or ``(h, w, c)``, in the units of ``like``.
    like : dtype
        uint8 or uint16.
    record : mapping, optional
        Plain types; written as JSON into a text chunk called "napari-dip".

    Raises
    ------
    ValueError
        As ``check_png``.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    whole, _ = as_dtype(image, np.dtype(like).newbyteorder("="))
    whole = whole[:, :, 0] if whole.ndim == 3 and whole.shape[2] == 1 else whole
    check_png(whole.dtype, has_colours=whole.ndim == 3)
    texts = PngInfo()
    if record is not None:
        texts.add_text(PNG_KEY, json.dumps(record))
    write_whole(path, lambda beside: Image.fromarray(whole).save(beside, format="PNG", pnginfo=texts))
