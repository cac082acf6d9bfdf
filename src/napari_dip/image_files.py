"""Image files: TIFF, OME-TIFF, PNG and JPEG are read, TIFF and PNG written, never half a file."""

from __future__ import annotations

import errno
import json
import math
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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


def write_tiff(
    path: Path,
    image: np.ndarray,
    record: Mapping[str, Any] | None = None,
    *,
    axes: str | None = None,
    pixel_sizes: Sequence[float] | None = None,
    unit: str = "µm",
    distances: Mapping[str, tuple[float, str]] | None = None,
    channel_names: Sequence[str] = (),
) -> None:
    """Write an image as TIFF in its dtype, with the record as JSON in the description.

    A name that ends in .ome.tif gives an OME-TIFF, whose metadata hold the record and the size of a pixel; any other a
    plain TIFF, whose resolution holds it, for two dimensions.

    Parameters
    ----------
    path : Path
        Written beside and renamed, so that no partial file ever bears this name.
    image : ndarray
        ``(h, w)`` or ``(h, w, c)``; with ``axes`` anything.
    record : mapping, optional
        Plain types.
    axes : str, optional
        One letter for each axis, of TZCYXS (S for colours) and Q for any other.
    pixel_sizes : sequence of float, optional
        Rows and columns: the height and the width of a pixel, in ``unit``.
    unit : str
        Of length, as OME names them, such as "µm" or "nm".
    distances : mapping, optional
        For axes Z and T of an OME-TIFF: how far planes or frames lie apart, and in which unit: ``{"T": (2.0, "s")}``.
    channel_names : sequence of str
        For axis C of an OME-TIFF, as many as there are channels.

    Raises
    ------
    ValueError
        If TIFF cannot hold such an image.
    """
    import tifffile

    if axes is None:
        axes = "YXS" if image.ndim == 3 and image.shape[2] in (3, 4) else ("CYX" if image.ndim == 3 else "YX")
        image = np.moveaxis(image, -1, 0) if axes == "CYX" else image
    description = None if record is None else encode_record(record)
    colours = image.shape[-1] if axes.endswith("S") else 1
    options: dict[str, Any] = {"photometric": "rgb" if colours > 1 else "minisblack", "metadata": None}
    if colours == 4:
        options["extrasamples"] = ["unassalpha"]
    if is_ome(path):
        metadata: dict[str, Any] = {"axes": axes}
        if description is not None:
            metadata["Description"] = description
        if "C" in axes and len(channel_names) == image.shape[axes.index("C")]:
            metadata["Channel"] = {"Name": [str(name) for name in channel_names]}
        for letter, size in zip("YX", pixel_sizes or (), strict=False):
            metadata |= {f"PhysicalSize{letter}": float(size), f"PhysicalSize{letter}Unit": unit}
        for letter, (size, its_unit) in (distances or {}).items():
            name = "TimeIncrement" if letter == "T" else f"PhysicalSize{letter}"
            if letter in axes:
                metadata |= {name: float(size), f"{name}Unit": its_unit}
        options |= {"ome": True, "metadata": metadata}
    else:
        options["description"] = description
        centimetres = _CENTIMETRES.get(unit)
        if pixel_sizes is not None and centimetres is not None:
            options["resolution"] = tuple(1 / (size * centimetres) for size in reversed(pixel_sizes))
            options["resolutionunit"] = "CENTIMETER"
    if image.dtype == bool:
        image = image.astype(np.uint8)  # one bit a pixel is read by few
    try:
        write_whole(path, lambda beside: tifffile.imwrite(beside, image, **options))
    except (tifffile.TiffFileError, tifffile.OmeXmlError, ValueError, TypeError) as error:
        raise ValueError(f"{path.name} cannot hold this image: {error}") from error


def is_ome(path: Path) -> bool:
    """Return whether a name promises an OME-TIFF."""
    return path.name.lower().endswith((".ome.tif", ".ome.tiff"))


def encode_record(record: Mapping[str, Any]) -> str:
    """Return a record as JSON that can stand in the description of a TIFF.

    tifffile takes every description with ``"shape":`` in it for its own, and fails; a space makes the difference.
    """
    return json.dumps(record).replace('"shape":', '"shape" :')


def read_record(path: Path) -> dict[str, Any] | None:
    """Return the record in a TIFF, OME-TIFF or ImageJ-TIFF that was written here; None if there is none."""
    import tifffile

    try:
        check_file(path)
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


def check_png(image: np.ndarray) -> None:
    """Check that a PNG can keep intensities such as an image's, ``(h, w)`` or ``(h, w, c)``.

    Raises
    ------
    ValueError
        If it cannot.
    """
    if image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"PNG cannot keep {image.dtype} intensities; write a .tif instead.")
    if image.dtype == np.uint16 and image.ndim == 3 and image.shape[2] > 1:
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
    check_png(whole)
    whole = whole[:, :, 0] if whole.ndim == 3 and whole.shape[2] == 1 else whole
    texts = PngInfo()
    if record is not None:
        texts.add_text(PNG_KEY, json.dumps(record))
    write_whole(path, lambda beside: Image.fromarray(whole).save(beside, format="PNG", pnginfo=texts))
