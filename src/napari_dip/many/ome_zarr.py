"""Read the finest level of an OME-Zarr (versions 0.1 to 0.5); write one level, as version 0.5."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..image_files import Pages
from ..whole_files import write_folder_atomically
from .image_stack import LONG_UNITS, SHORT_UNITS, Stack, read_size

ZARR_SUFFIX = ".zarr"
_RECORD = "napari-dip"  # the attribute that holds the record
_METADATA = ("zarr.json", ".zgroup", ".zarray")


def holds_zarr(path: Path) -> bool:
    """Return whether a path is a folder with the metadata of a zarr group or array, whatever its name."""
    return path.is_dir() and any((path / name).is_file() for name in _METADATA)


def open_zarr(path: Path) -> Stack:
    """Open the finest level of an OME-Zarr of version 0.1 to 0.5, or a plain zarr array.

    Raises
    ------
    ValueError
        If it does not hold exactly one image; the message continues a sentence. The libraries raise other exceptions
        too.
    """
    import zarr

    from .zarr_store import CheckedStore

    if not path.is_dir():
        raise ValueError("it does not exist" if not path.exists() else "an OME-Zarr is a folder, and this is a file")
    if not holds_zarr(path):
        raise ValueError("it has no zarr metadata")
    node: Any = zarr.open(CheckedStore(path, read_only=True), mode="r")
    if isinstance(node, zarr.Array):
        return Stack(_prepare_store(node), None)
    metadata = _read_ome(node)
    if not metadata.get("multiscales") and "bioformats2raw.layout" in metadata:
        images = sorted((name for name in node.group_keys() if name.isdecimal()), key=int)
        if len(images) == 1:  # bioformats2raw writes a single image like this
            node = node[images[0]]
            metadata = _read_ome(node)
        elif images:
            raise ValueError(f"it holds {len(images)} images; give the folder of one, such as {path / images[0]}")
    if not metadata.get("multiscales"):
        raise ValueError(_explain_no_image(metadata))
    scale = _first(metadata["multiscales"])
    finest = _first(scale.get("datasets"))
    array = node[str(finest.get("path"))]
    if not isinstance(array, zarr.Array):
        raise ValueError(f"it has no array at {finest.get('path')}")
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in scale.get("axes") or ()]
    letters = "".join(str(axis.get("name"))[:1].upper() for axis in axes)
    if not axes and array.ndim == 5:  # versions 0.1 and 0.2 always have these
        letters = "TCZYX"
    if len(letters) != array.ndim:
        raise ValueError(f"its metadata name {len(letters)} axes, but its array has {array.ndim}")
    scales = [_read_scale(each, array.ndim) for each in (finest, scale)]
    sizes, units = {}, {}
    for n, letter in enumerate(letters):
        size = read_size(math.prod(each[n] for each in scales if each is not None))
        if letter != "C" and size is not None and any(each is not None for each in scales):
            sizes[letter] = size
            unit = axes[n].get("unit") if axes else None
            if unit:
                units[letter] = SHORT_UNITS.get(str(unit), str(unit))
    are_usable = len(set(letters)) == len(letters) and {"Y", "X"} <= set(letters)
    names = _read_channel_names(metadata)
    return Stack(_prepare_store(array), letters if are_usable else None, names, sizes, units)


def _read_ome(group: Any) -> dict[str, Any]:
    """Return a group's OME metadata, which version 0.5 keeps apart from other attributes."""
    attributes = dict(group.attrs)
    metadata = attributes.get("ome", attributes)
    return metadata if isinstance(metadata, dict) else {}


def _prepare_store(array: Any) -> Any:
    """Tell the array's store whether its chunks are Blosc's, so that it checks them; return the array."""
    packed = array.compressors
    array.store.holds_blosc = array.shards is None and bool(packed) and type(packed[-1]).__name__.startswith("Blosc")
    return array


def _first(values: Any) -> dict[str, Any]:
    if not isinstance(values, list) or not values or not isinstance(values[0], dict):
        raise ValueError("its metadata do not name an array")
    return values[0]


def _explain_no_image(metadata: Mapping[str, Any]) -> str:
    """Say what a group without an image is, and what to do."""
    if "plate" in metadata or "well" in metadata:
        name = "plate" if "plate" in metadata else "well"
        return f"it is a {name} with many images; give the folder of one of them, such as A/1/0 of a plate"
    if "labels" in metadata:
        return "it is a group of labels; give the folder of one of them"
    return "it has no multiscale image; give the folder of an image within it"


def _read_scale(level: Mapping[str, Any], count: int) -> list[float] | None:
    """Return the scale of each axis in a list of transformations; None if there is none."""
    for each in level.get("coordinateTransformations") or ():
        scale = each.get("scale") if isinstance(each, dict) and each.get("type") == "scale" else None
        if isinstance(scale, list) and len(scale) == count:
            return [read_size(size) or math.nan for size in scale]
    return None


def _read_channel_names(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        labels = [each["label"] for each in metadata["omero"]["channels"]]
    except (KeyError, TypeError):
        return ()
    return tuple(map(str, labels)) if labels and all(labels) else ()


def write_zarr(path: Path, pages: Pages, like: Stack, axes: str, record: Mapping[str, Any] | None) -> None:
    """Write an OME-Zarr as ``write_stack`` does, with the record as its attribute "napari-dip".

    Raises
    ------
    ValueError
        If the path exists and is not an OME-Zarr image.
    OSError
        If it cannot be written; the message is a sentence.
    """
    from yaozarrs import DimSpec, v05
    from yaozarrs.write.v05 import prepare_image

    shape, dtype = pages.shape, pages.dtype
    letters = axes.replace("S", "C") if "C" not in axes else axes
    order = [letters.index(letter) for letter in "TCZYX" if letter in letters]
    name = os.fsencode(path.stem).decode("utf-8", "backslashreplace")  # JSON needs UTF-8
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
    except ValueError as error:  # pydantic's, on several lines
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
            full_index: tuple[int | slice, ...] = (*index, *(slice(None),) * (len(shape) - leading))
            in_plane = [n - leading for n in order if n >= leading]
            array[tuple(full_index[n] for n in order)] = plane.transpose(in_plane)
            finite = plane[np.isfinite(plane)]
            if names and finite.size:
                low, high = ranges[index[axes.index("C")]]
                ranges[index[axes.index("C")]] = min(low, float(finite.min())), max(high, float(finite.max()))
        if names:
            # JSON has no infinity, so a channel without finite pixels gets the range 0 to 1
            _name_channels(target, names, [each if each[0] <= each[1] else (0.0, 1.0) for each in ranges])

    if os.path.lexists(path) and not is_ome_zarr(path):
        raise ValueError(f"{path} is not an OME-Zarr and is never replaced; choose another name.")
    write_folder_atomically(path, write)


def is_ome_zarr(path: Path) -> bool:
    """Return whether a folder is an OME-Zarr image of any version, according to its metadata."""
    attributes = _read_attributes(path)
    ome = attributes.get("ome", attributes)
    return isinstance(ome, dict) and bool(ome.get("multiscales"))


def read_zarr_record(path: Path) -> dict[str, Any] | None:
    """Return the napari-dip record in an OME-Zarr; None if there is none."""
    record = _read_attributes(path).get(_RECORD)
    return record if isinstance(record, dict) and "settings" in record else None


def _read_attributes(path: Path) -> dict[str, Any]:
    """Return the attributes of a zarr group in format 3 or 2; an empty dict if it is not a group."""
    for name, key in (("zarr.json", "attributes"), (".zattrs", None)):
        try:
            content = json.loads((path / name).read_text(encoding="utf-8"))
            attributes = content if key is None else content.get(key)
        except (OSError, ValueError, AttributeError, RecursionError):
            continue
        if isinstance(attributes, dict):
            return attributes
    return {}


def _name_channels(path: Path, names: tuple[str, ...], ranges: list[tuple[float, float]]) -> None:
    """Add channel names to the metadata of an OME-Zarr, which must include each channel's intensity range."""
    import zarr
    from yaozarrs import v05

    channels = [
        v05.OmeroChannel(
            label=name, color="FFFFFF", active=True, window=v05.OmeroWindow(start=low, min=low, end=high, max=high)
        )
        for name, (low, high) in zip(names, ranges, strict=True)
    ]
    group = zarr.open_group(str(path), mode="r+")
    omero = v05.Omero(channels=channels).model_dump(mode="json", exclude_none=True, by_alias=True)
    group.attrs["ome"] = {**group.attrs["ome"], "omero": omero}  # type: ignore[dict-item]
