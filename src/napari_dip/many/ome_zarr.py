"""OME-Zarr: of an image of any version to 0.5 the finest level is read; one level is written, as 0.5."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..image_files import Pages
from ..whole_files import write_folder_whole
from .image_stack import LONG_UNITS, SHORT_UNITS, Stack, as_size

ZARR_SUFFIX = ".zarr"
_RECORD = "napari-dip"  # of the attributes of an image that was written here
_METADATA = ("zarr.json", ".zgroup", ".zarray")


def holds_zarr(path: Path) -> bool:
    """Return whether a path is that of a folder with the metadata of a zarr group or array, whatever its name."""
    return path.is_dir() and any((path / name).is_file() for name in _METADATA)


def open_zarr(path: Path) -> Stack:
    """Open the finest level of an OME-Zarr of any version up to 0.5; of a zarr without OME metadata its one array.

    Raises
    ------
    ValueError
        If it holds no image, or several, in half a sentence; its readers have errors of their own.
    """
    import zarr

    from .zarr_store import WholeFiles

    if not path.is_dir():
        raise ValueError("there is no such folder" if not path.exists() else "an OME-Zarr is a folder, this is a file")
    if not holds_zarr(path):
        raise ValueError("it holds no metadata of a zarr")
    node: Any = zarr.open(WholeFiles(path, read_only=True), mode="r")
    if isinstance(node, zarr.Array):
        return Stack(_checked(node), None)
    told = _read_ome(node)
    if not told.get("multiscales") and "bioformats2raw.layout" in told:
        images = sorted((name for name in node.group_keys() if name.isdecimal()), key=int)
        if len(images) == 1:  # what bioformats2raw makes of a file with one image
            node = node[images[0]]
            told = _read_ome(node)
        elif images:
            raise ValueError(f"it holds {len(images)} images; give the folder of one, such as {path / images[0]}")
    if not told.get("multiscales"):
        raise ValueError(_say_what_else(told))
    scale = _first(told["multiscales"])
    finest = _first(scale.get("datasets"))
    array = node[str(finest.get("path"))]
    if not isinstance(array, zarr.Array):
        raise ValueError(f"there is no array at {finest.get('path')}")
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in scale.get("axes") or ()]
    letters = "".join(str(axis.get("name"))[:1].upper() for axis in axes)
    if not axes and array.ndim == 5:  # versions 0.1 and 0.2 have always these
        letters = "TCZYX"
    if len(letters) != array.ndim:
        raise ValueError(f"its metadata name {len(letters)} axes, and its array has {array.ndim}")
    scales = [_read_scale(each, array.ndim) for each in (finest, scale)]
    sizes, units = {}, {}
    for n, letter in enumerate(letters):
        size = as_size(math.prod(each[n] for each in scales if each is not None))
        if letter != "C" and size is not None and any(each is not None for each in scales):
            sizes[letter] = size
            unit = axes[n].get("unit") if axes else None
            if unit:
                units[letter] = SHORT_UNITS.get(str(unit), str(unit))
    is_told = len(set(letters)) == len(letters) and {"Y", "X"} <= set(letters)
    return Stack(_checked(array), letters if is_told else None, _read_channel_names(told), sizes, units)


def _read_ome(group: Any) -> dict[str, Any]:
    """Return what a group says of its image: since version 0.5 it stands apart from other attributes."""
    attributes = dict(group.attrs)
    told = attributes.get("ome", attributes)
    return told if isinstance(told, dict) else {}


def _checked(array: Any) -> Any:
    """Return an array whose store has been told what its chunks are."""
    packed = array.compressors
    array.store.holds_blosc = array.shards is None and bool(packed) and type(packed[-1]).__name__.startswith("Blosc")
    return array


def _first(values: Any) -> dict[str, Any]:
    if not isinstance(values, list) or not values or not isinstance(values[0], dict):
        raise ValueError("its metadata name no array")
    return values[0]


def _say_what_else(told: Mapping[str, Any]) -> str:
    """Return what a group without an image is."""
    if "plate" in told or "well" in told:
        name = "plate" if "plate" in told else "well"
        return f"it is a {name}, which holds many images; give the folder of one of them, such as A/1/0 of a plate"
    if "labels" in told:
        return "it is a group of labels; give the folder of one of them"
    return "it holds no multiscale image; give the folder of one image within it"


def _read_scale(level: Mapping[str, Any], count: int) -> list[float] | None:
    """Return the scale of each axis in a list of transformations; None if there is none."""
    for each in level.get("coordinateTransformations") or ():
        scale = each.get("scale") if isinstance(each, dict) and each.get("type") == "scale" else None
        if isinstance(scale, list) and len(scale) == count:
            return [as_size(size) or math.nan for size in scale]
    return None


def _read_channel_names(told: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        labels = [each["label"] for each in told["omero"]["channels"]]
    except (KeyError, TypeError):
        return ()
    return tuple(map(str, labels)) if labels and all(labels) else ()


def write_zarr(path: Path, pages: Pages, like: Stack, axes: str, record: Mapping[str, Any] | None) -> None:
    """Write an OME-Zarr as ``write_stack`` does; the record stands among its attributes, as "napari-dip".

    Raises
    ------
    ValueError
        If there is something of that name that is no OME-Zarr image.
    OSError
        In a sentence, if it cannot be written.
    """
    from yaozarrs import DimSpec, v05
    from yaozarrs.write.v05 import prepare_image

    shape, dtype = pages.shape, pages.dtype
    letters = axes.replace("S", "C") if "C" not in axes else axes
    order = [letters.index(letter) for letter in "TCZYX" if letter in letters]
    name = os.fsencode(path.stem).decode("utf-8", "backslashreplace")  # JSON takes no name that is not UTF-8
    try:
        specs = [
            DimSpec(
                name=letters[n].lower(),
                scale=float(like.pixel_sizes.get(letters[n], 1.0)),
                unit=LONG_UNITS.get(like.units.get(letters[n], "")),
            )
            for n in order
        ]
        image = v05.Image(multiscales=[v05.Multiscale.from_dims(specs, name=name, n_levels=1)])
    except ValueError as error:  # of pydantic, in several lines
        raise ValueError(f"{path.name} cannot hold this stack: {' '.join(str(error).split())}") from error
    names = like.channel_names if "C" in axes and len(like.channel_names) == shape[axes.index("C")] else ()
    ranges = [(np.inf, -np.inf)] * len(names)

    def write(target: Path) -> None:
        extra = None if record is None else {_RECORD: dict(record)}
        _, arrays = prepare_image(
            target, image, (tuple(shape[n] for n in order), dtype), extra_attributes=extra, writer="zarr"
        )
        (array,) = arrays.values()
        leading = len(shape) - (3 if axes.endswith("S") else 2)
        for index, plane in zip(np.ndindex(*shape[:leading]), pages.planes, strict=True):
            whole: tuple[int | slice, ...] = (*index, *(slice(None),) * (len(shape) - leading))
            kept = [n for n in order if n >= leading]
            array[tuple(whole[n] for n in order)] = plane.transpose([n - leading for n in kept])
            finite = plane[np.isfinite(plane)]
            if names and finite.size:
                low, high = ranges[index[axes.index("C")]]
                ranges[index[axes.index("C")]] = min(low, float(finite.min())), max(high, float(finite.max()))
        if names:
            # JSON has no infinity, and of a channel without a number nothing is known
            _name_channels(target, names, [each if each[0] <= each[1] else (0.0, 1.0) for each in ranges])

    if os.path.lexists(path) and not is_ome_zarr(path):
        raise ValueError(f"{path} is no OME-Zarr image, and is never replaced; choose another name.")
    write_folder_whole(path, write)


def is_ome_zarr(path: Path) -> bool:
    """Return whether a folder is an image of OME-Zarr, by its metadata: of 0.5, or of 0.4 and before."""
    told = _read_attributes(path)
    ome = told.get("ome", told)
    return isinstance(ome, dict) and bool(ome.get("multiscales"))


def read_zarr_record(path: Path) -> dict[str, Any] | None:
    """Return the record in an OME-Zarr that was written here; None if there is none."""
    record = _read_attributes(path).get(_RECORD)
    return record if isinstance(record, dict) and "settings" in record else None


def _read_attributes(path: Path) -> dict[str, Any]:
    """Return the attributes of a zarr group, of format 3 or 2; none of what is no group."""
    for name, key in (("zarr.json", "attributes"), (".zattrs", None)):
        try:
            told = json.loads((path / name).read_text(encoding="utf-8"))
            told = told if key is None else told.get(key)
        except (OSError, ValueError, AttributeError, RecursionError):
            continue
        if isinstance(told, dict):
            return told
    return {}


def _name_channels(path: Path, names: tuple[str, ...], ranges: list[tuple[float, float]]) -> None:
    """Add the channels' names to the metadata of an OME-Zarr; they want to know the intensities, too."""
    import zarr
    from yaozarrs import v05

    channels = [
        v05.OmeroChannel(
            label=name, color="FFFFFF", active=True, window=v05.OmeroWindow(start=low, min=low, end=high, max=high)
        )
        for name, (low, high) in zip(names, ranges, strict=True)
    ]
    group = zarr.open_group(str(path), mode="r+")
    told = v05.Omero(channels=channels).model_dump(mode="json", exclude_none=True, by_alias=True)
    group.attrs["ome"] = {**group.attrs["ome"], "omero": told}  # type: ignore[dict-item]
