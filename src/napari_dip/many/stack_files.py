"""Stacks in TIFF, OME-TIFF and OME-Zarr: open them without reading their pixels, write them plane by plane."""

from __future__ import annotations

import math
import re
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..image_files import (
    TIFF_SUFFIXES,
    Pages,
    check_file,
    check_png,
    is_ome,
    is_png,
    ome_size_name,
    read_image,
    read_mask,
    read_record,
    say_why,
    write_png,
    write_tiff,
)
from ..tiff_files import is_tiff, open_tiff
from .image_stack import SHORT_UNITS, FilePixels, Stack, check_pixels, read_size
from .ome_zarr import ZARR_SUFFIX, holds_zarr, open_zarr, read_zarr_record, write_zarr

_IMAGEJ_LETTERS, _IMAGEJ_TYPES = "TZCYXS", ("uint8", "uint16", "float32")


def is_zarr(path: Path) -> bool:
    """Return whether a path has an OME-Zarr name."""
    return path.name.lower().rstrip("/").endswith(ZARR_SUFFIX)


def open_stack(path: Path) -> Stack:
    """Open an image file; the pixels of TIFF and OME-Zarr are read when the array is indexed.

    Raises
    ------
    ValueError
        If the file cannot be read. Indexing the array raises it too, if that part of the file is damaged.
    """
    of_zarr = is_zarr(path) or holds_zarr(path)
    if not of_zarr:
        check_file(path)
    try:
        if of_zarr or is_tiff(path):
            opened = open_zarr(path) if of_zarr else _open_tiff(path)
            check_pixels(opened.array, opened.axes)
            return replace(opened, array=FilePixels(opened.array, path))
    except Exception as error:  # the libraries raise many exceptions of their own
        raise ValueError(f"{path} cannot be read as an image: {say_why(error)}") from error
    image = read_image(path)
    return Stack(image, "YXS" if image.ndim == 3 else "YX")


def open_mask(path: Path) -> Any:
    """Open a mask (not 0 = missing): ``(h, w)`` for all planes, or a stack with a mask for each.

    Raises
    ------
    ValueError
        As in ``open_stack``.
    """
    opened = open_stack(path)
    shape, is_colour = opened.array.shape, (opened.axes or "").endswith("S")
    if math.prod(shape[: -3 if is_colour else -2]) > 1:
        return opened.array
    if is_zarr(path) or holds_zarr(path):
        return np.asarray(opened.array).reshape(shape[-2:]) != 0
    return read_mask(path)


def read_stack_record(path: Path) -> dict[str, Any] | None:
    """Return the napari-dip record in a TIFF, OME-TIFF, ImageJ TIFF, PNG or OME-Zarr; None if there is none."""
    return read_zarr_record(path) if is_zarr(path) or holds_zarr(path) else read_record(path)


def check_stack_name(path: Path, axes: str, dtype: DTypeLike, *, is_single: bool = False) -> None:
    """Check that a file of this name can hold a stack or a single image, as ``write_stack`` writes it.

    Raises
    ------
    ValueError
        If it cannot.
    """
    dtype = np.dtype(dtype)
    if is_zarr(path):
        letters = axes.replace("S", "C") if "C" not in axes else axes
        if set(letters) - set("TCZYX"):
            raise ValueError(f"an OME-Zarr can only have the axes TCZYX, not {axes}; end the name in .ome.tif.")
        return
    if is_single and is_png(path):
        check_png(dtype, has_colours=axes.endswith("S"))
        return
    if path.suffix.lower() not in TIFF_SUFFIXES:
        if is_single:
            raise ValueError(f"{path} has no image suffix; end OUT in .tif or .png.")
        raise ValueError(f"{path.name} cannot hold a stack; end it in .tif, .ome.tif or .zarr.")
    if is_single or is_ome(path):
        return
    in_order = "".join(letter for letter in _IMAGEJ_LETTERS if letter in axes) == axes
    types = ("uint8",) if axes.endswith("S") else _IMAGEJ_TYPES
    if not in_order or dtype.name not in types:
        raise ValueError(f"an ImageJ TIFF cannot hold a {dtype} stack with the axes {axes}; end the name in .ome.tif.")


def write_stack(
    path: Path,
    planes: Iterable[np.ndarray],
    shape: tuple[int, ...],
    dtype: DTypeLike,
    like: Stack,
    axes: str,
    record: Mapping[str, Any] | None = None,
) -> None:
    """Write the planes of a stack as ImageJ TIFF, OME-TIFF or OME-Zarr, according to the name.

    A single image is written as plain TIFF, OME-TIFF or PNG. The file is written completely or not at all.

    Parameters
    ----------
    path : Path
    planes : iterable of ndarray
        ``(h, w)`` or ``(h, w, colours)``, in the order of the leading axes; taken one by one.
    shape : tuple of int
        Of the stack.
    dtype : dtype
    like : Stack
        Its channel names and pixel sizes are written; it also says whether this is a single image.
    axes : str
        One letter for each axis of ``shape``; ends in YX or YXS.
    record : mapping, optional
        Plain types only.

    Raises
    ------
    ValueError
        If a file of this type cannot hold the stack.
    """
    check_stack_name(path, axes, dtype, is_single=like.is_single)
    pages = Pages(planes, shape, np.dtype(dtype))
    if is_zarr(path):
        write_zarr(path, pages, like, axes, record)
    elif is_png(path):
        (image,) = planes
        write_png(path, image, pages.dtype, record)
    else:
        write_tiff(
            path, pages, record, axes=axes, distances=like.distances,
            channel_names=like.channel_names, is_imagej=not like.is_single,
        )  # fmt: skip


def _read_unit(text: str) -> str:
    """Return the short name of a unit as ImageJ writes it."""
    unit = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda found: chr(int(found[1], 16)), text)
    return SHORT_UNITS.get(unit, unit)


def _open_tiff(path: Path) -> Stack:
    import tifffile
    import zarr

    with open_tiff(path) as (file, series):
        axes, shape = series.axes, series.shape
        names: tuple[str, ...] = ()
        sizes: dict[str, float] = {}
        units: dict[str, str] = {}
        try:
            if file.ome_metadata:
                names, sizes, units = _read_ome(tifffile.xml2dict(file.ome_metadata))
            elif file.imagej_metadata:
                names, sizes, units = _read_imagej(file)
        except (SyntaxError, KeyError, ValueError, TypeError, AttributeError):
            pass  # the image can be read without this metadata
        store = series.aszarr(level=0)
    array: Any = zarr.open_array(store, mode="r")  # reads pages on demand
    weakref.finalize(array, store.close)  # the store keeps the file open between pages
    for letter in set(axes) - set("YXSC"):
        if axes.count(letter) > 1:  # the file does not name its axes
            axes = ""
    return Stack(array, axes if len(axes) == len(shape) and _are_named(axes) else None, names, sizes, units)


def _are_named(axes: str) -> bool:
    """Return whether the file names its axes: tifffile uses I and Q for axes without a name."""
    return "Y" in axes and "X" in axes and not set(axes) & set("IQ")


def _read_ome(metadata: dict[str, Any]) -> tuple[tuple[str, ...], dict[str, float], dict[str, str]]:
    image = metadata["OME"]["Image"]
    pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
    channels = pixels.get("Channel", [])
    channels = channels if isinstance(channels, list) else [channels]
    names = tuple(str(each["Name"]) for each in channels if "Name" in each)
    sizes, units = {}, {}
    for letter in "XYZT":
        name = ome_size_name(letter)
        if (size := read_size(pixels.get(name))) is not None:
            sizes[letter] = size
            units[letter] = str(pixels.get(f"{name}Unit", "s" if letter == "T" else "µm"))
    return (names if len(names) == len(channels) else ()), sizes, units


def _read_imagej(file: Any) -> tuple[tuple[str, ...], dict[str, float], dict[str, str]]:
    metadata = file.imagej_metadata
    sizes: dict[str, float] = {}
    unit = _read_unit(str(metadata.get("unit", "")))
    if unit and unit != "pixel":
        for letter, resolution in zip("XY", file.pages.first.resolution, strict=True):
            if resolution:
                sizes[letter] = 1 / resolution
        if (spacing := read_size(metadata.get("spacing"))) is not None:
            sizes["Z"] = spacing
    units = dict.fromkeys(sizes, unit)
    if (interval := read_size(metadata.get("finterval"))) is not None:
        sizes["T"], units["T"] = interval, "s"
    labels = metadata.get("Labels") or ()
    names = tuple(str(each) for each in labels) if len(labels) == int(metadata.get("channels", 0)) else ()
    return names, sizes, units
