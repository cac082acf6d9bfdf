"""Writes Image layers as TIFF or OME-TIFF with the record of their restoration, and finds such records."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Layer

from ...image_files import TIFF_SUFFIXES, write_tiff
from ...many.stack_files import is_zarr, read_stack_record
from ...record import Record
from ...whole_files import remove_unfinished
from .own_layers import RECORD_KEY
from .pixel_size import PIXEL_SIZE_KEY, as_lengths, find_distances, find_pixel_size, read_kept_size

_KNOWN_AXES = "TZC"
_PLACEMENT = ("scale", "translate", "rotate", "shear", "affine", "units")


def write_image_layer(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write one Image layer with its record and its geometry; the manifest's writer command.

    Parameters
    ----------
    path : str
        Its suffix is .ome.tif, .ome.tiff, .tif or .tiff.
    data : array
        For a multiscale layer its levels, of which the finest is written.
    meta : dict
        The layer's attributes, as napari passes them.

    Returns
    -------
    list of str
        The path.

    Raises
    ------
    ValueError
        If the file cannot hold the layer; then no file is left behind.
    """
    pixels = np.asarray(data[0] if meta.get("multiscale") else data)
    text = _read_text(meta.get("metadata", {}).get(RECORD_KEY))
    names = meta.get("metadata", {}).get("channel_names", ())
    names = names if isinstance(names, list | tuple) else ()
    axes = _axes(meta.get("axis_labels", ()), pixels.ndim - (3 if meta.get("rgb") else 2), text)
    # TIFF has no fields for these: rotation, shear, affine, the scale of other axes
    text["layer"] = {"name": meta.get("name", "")} | {name: _plain(meta[name]) for name in _PLACEMENT if name in meta}
    colours = "S" if meta.get("rgb") else ""
    planes = pixels.ndim - len(colours)
    if planes < 2:
        raise ValueError(f"{Path(path).name} cannot hold this image: it has {planes} dimensions.")
    sizes, unit = _pixel_sizes(meta)
    distances = {letter: (size, unit) for letter, size in zip("YX", sizes or (), strict=False)} | _distances(meta, axes)
    write_tiff(Path(path), pixels, text, axes=f"{axes}YX{colours}", distances=distances, channel_names=names)
    return [path]


def save_layer(path: Path, layer: Layer, record: Record) -> Path:
    """Write an Image layer with a record; a name without a TIFF suffix gets .ome.tif.

    Raises
    ------
    ValueError, OSError
        If the layer cannot be written.
    """
    if path.suffix.lower() not in TIFF_SUFFIXES:
        path = path.with_name(f"{path.name}.ome.tif")
        if os.path.lexists(path):  # the file dialog asked only about the name without suffix
            raise ValueError(f"{path.name} already exists; choose exactly that name to replace it, or another one.")
    remove_unfinished([path.parent])
    data, meta, _ = layer.as_layer_data_tuple()
    # the layer itself has no pixel size if it was opened from a file
    size = find_pixel_size(layer)
    from_file = {} if size is None else {PIXEL_SIZE_KEY: size}
    meta["metadata"] = {**layer.metadata, **from_file, RECORD_KEY: record.as_dict()}
    write_image_layer(str(path), data, meta)
    return path


def has_pixel_size(layer: Layer) -> bool:
    """Return whether the pixel size is known from the layer or its file, and would be saved."""
    _, meta, _ = layer.as_layer_data_tuple()
    return _pixel_sizes(meta)[0] is not None or find_pixel_size(layer) is not None


def find_layer_record(layer: Layer) -> Record | None:
    """Return the record in a layer's metadata or else in its file; None if there is none.

    Raises
    ------
    ValueError
        If this version does not understand the record.
    """
    values = layer.metadata.get(RECORD_KEY)
    if values is None and may_have_record_in_file(layer):
        values = read_stack_record(Path(layer.source.path))
    return None if values is None else Record.from_dict(values)


def may_have_record_in_file(layer: Layer) -> bool:
    """Return whether a layer was opened from a TIFF or an OME-Zarr, which may hold a record."""
    path = layer.source.path
    return path is not None and (Path(path).suffix.lower() in TIFF_SUFFIXES or is_zarr(Path(path)))


def _read_text(record: Any) -> dict[str, Any]:
    """Return a layer's record as plain JSON values; empty if it is not valid, because anybody may have put it there."""
    try:
        text = json.loads(json.dumps(record))
    except (TypeError, ValueError, RecursionError):
        return {}
    return text if isinstance(text, dict) else {}


def _axes(labels: Any, count: int, record: Mapping[str, Any]) -> str:
    """Return a letter for each axis before the rows, from the record or the axis labels; Q is any other axis."""
    letters = [str(label)[:1].upper() for label in labels][:count]
    stack = record.get("stack")
    named = stack.get("axes") if isinstance(stack, dict) else None
    stack_axes = [letter for letter in named if letter not in "YXS"] if isinstance(named, str) else []
    letters = stack_axes if len(stack_axes) == count else letters
    known = [letter if letter in _KNOWN_AXES and letters.count(letter) == 1 else "Q" for letter in letters]
    return "".join(known or ["Q"] * count)


def _distances(meta: dict[str, Any], axes: str) -> dict[str, tuple[float, str]]:
    """Return the known distances between z-slices and between frames, from the layer or else from its file."""
    from_file = read_kept_size(meta)
    if from_file is not None:
        return from_file.get("distances", {})
    scale = [abs(float(each)) for each in meta.get("scale", ())]
    units = [str(each) for each in meta.get("units", ())]
    return find_distances(dict(zip(axes, zip(scale, units, strict=False), strict=False)))


def _pixel_sizes(meta: dict[str, Any]) -> tuple[tuple[float, ...] | None, str]:
    """Return a pixel's height and width with their unit of length, from the layer or else from its file."""
    from_file = read_kept_size(meta)
    if from_file is not None:
        return (from_file["height"], from_file["width"]), from_file["unit"]
    scale = [abs(float(each)) for each in meta.get("scale", ())][-2:]
    units = [str(each) for each in meta.get("units", ())][-2:]
    if len(scale) != 2 or len(units) != 2 or not all(scale):
        return None, "µm"
    unit, lengths = as_lengths(scale, units)
    return lengths, unit


def _plain(value: Any) -> Any:
    """Return a layer's attribute as numbers and lists, with units by name."""
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if hasattr(value, "affine_matrix"):
        return value.affine_matrix.tolist()
    return value if isinstance(value, int | float | str) or value is None else str(value)
