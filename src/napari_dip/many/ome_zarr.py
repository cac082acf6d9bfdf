"""OME-Zarr: the finest level of a multiscale image is read, one level is written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..whole_files import write_folder_whole
from .image_stack import LONG_UNITS, SHORT_UNITS, Stack

ZARR_SUFFIX = ".zarr"
_RECORD = "napari-dip"  # of the attributes of an image that was written here


def open_zarr(path: Path) -> Stack:
    """Open the finest level of an OME-Zarr; what is wrong with it is a ValueError, or an error of its readers."""
    import yaozarrs
    import zarr

    told: Any = yaozarrs.open_group(str(path)).ome_metadata()
    scales = getattr(told, "multiscales", None)
    if not scales:
        raise ValueError("it holds no multiscale image; give the folder of one image within it")
    scale = scales[0]
    finest = scale.datasets[0]
    group = zarr.open_group(str(path), mode="r")
    letters = "".join(axis.name[:1].upper() for axis in scale.axes)
    sizes, units = {}, {}
    for axis, size in zip(scale.axes, finest.scale_transform.scale, strict=True):
        if axis.name.lower() != "c":
            sizes[axis.name[:1].upper()] = float(size)
            unit = getattr(axis, "unit", None)
            if unit:
                units[axis.name[:1].upper()] = SHORT_UNITS.get(str(unit), str(unit))
    omero = getattr(told, "omero", None)
    labels = [each.label for each in omero.channels] if omero is not None else []
    names = tuple(str(each) for each in labels) if labels and all(labels) else ()
    return Stack(group[finest.path], letters, names, sizes, units)


def write_zarr(
    path: Path,
    planes: Iterable[NDArray],
    shape: tuple[int, ...],
    dtype: np.dtype,
    like: Stack,
    axes: str,
    record: Mapping[str, Any] | None,
) -> None:
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

    letters = axes.replace("S", "C") if "C" not in axes else axes
    order = [letters.index(letter) for letter in "TCZYX" if letter in letters]
    specs = [
        DimSpec(
            name=letters[n].lower(),
            scale=float(like.pixel_sizes.get(letters[n], 1.0)),
            unit=LONG_UNITS.get(like.units.get(letters[n], "")),
        )
        for n in order
    ]
    name = os.fsencode(path.stem).decode("utf-8", "backslashreplace")  # JSON takes no name that is not UTF-8
    image = v05.Image(multiscales=[v05.Multiscale.from_dims(specs, name=name, n_levels=1)])
    names = like.channel_names if "C" in axes and len(like.channel_names) == shape[axes.index("C")] else ()
    ranges = [(np.inf, -np.inf)] * len(names)

    def write(target: Path) -> None:
        extra = None if record is None else {_RECORD: dict(record)}
        _, arrays = prepare_image(
            target, image, (tuple(shape[n] for n in order), dtype), extra_attributes=extra, writer="zarr"
        )
        (array,) = arrays.values()
        leading = len(shape) - (3 if axes.endswith("S") else 2)
        for index, plane in zip(np.ndindex(*shape[:leading]), planes, strict=True):
            whole: tuple[int | slice, ...] = (*index, *(slice(None),) * (len(shape) - leading))
            kept = [n for n in order if n >= leading]
            array[tuple(whole[n] for n in order)] = plane.transpose([n - leading for n in kept])
            if names:
                low, high = ranges[index[axes.index("C")]]
                ranges[index[axes.index("C")]] = min(low, float(plane.min())), max(high, float(plane.max()))
        if names:
            _name_channels(target, names, ranges)

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
