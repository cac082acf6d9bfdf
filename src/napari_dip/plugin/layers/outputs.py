"""A result as images for layers: in which order, in which pixel type, each with its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...measurement.task import find_task
from ...outputs import OUTPUTS
from ...pixel_type import as_dtype
from .own_layers import RECORD_KEY
from .pixel_size import PIXEL_SIZE_KEY, shrink
from .source import Source

if TYPE_CHECKING:
    from ...outcome import Restoration
    from ...record import Record


@dataclass(frozen=True, slots=True)
class OutputImage:
    """One image of a result, ready to become a layer.

    Attributes
    ----------
    suffix : str
        The last part of the layer's name.
    data : ndarray
        Has all axes of the source.
    metadata : dict
        The layer's metadata.
    own_contrast : bool
        Whether its intensities mean something else than the source's.
    clipped : int
        How many pixels were clipped to fit the pixel type.
    enlargement : int
        How many times more rows and columns than the source it has.
    """

    suffix: str
    data: NDArray
    metadata: dict[str, Any]
    own_contrast: bool
    clipped: int
    enlargement: int = 1


def convert_outputs(result: Restoration, dtype: np.dtype, original_type: bool) -> dict[str, tuple[np.ndarray, int]]:
    """Return the images that become layers in their pixel type, each with its number of clipped pixels.

    This takes a while if the image is large, so the worker does it.

    Parameters
    ----------
    result : Restoration
        The result for one plane.
    dtype : dtype
        The source's.
    original_type : bool
        Whether to round and clip images to it. Pixels that were not restored then become 0.
    """
    converted = {}
    for name, kind in OUTPUTS.items():
        image = getattr(result, name)
        if image is None or (name == "restored" and find_task(result.record.task).main_output != name):
            continue
        wanted = dtype if original_type and not kind.is_signed else np.dtype(np.float32)
        converted[name] = as_dtype(image if wanted.kind == "f" else np.nan_to_num(image), wanted)
    return converted


def list_outputs(
    result: Restoration,
    source: Source,
    original_type: bool,
    converted: Mapping[str, tuple[np.ndarray, int]] | None = None,
) -> list[OutputImage]:
    """Return the images that become layers, the most important one last.

    Parameters
    ----------
    result : Restoration
        The result for one plane.
    source : Source
        What was restored.
    original_type : bool
        Whether to round and clip images to the source's pixel type.
    converted : mapping, optional
        What ``convert_outputs`` has returned for this result.
    """
    outputs = []
    converted = convert_outputs(result, source.dtype, original_type) if converted is None else converted
    for name, (data, clipped) in reversed(list(converted.items())):
        kind = OUTPUTS[name]
        record = result.record.of_output(
            name, data, clipped, path=source.path, layer=source.layer_name, region=source.region
        )
        record = _name_plane(record, source)
        metadata = {**source.metadata, RECORD_KEY: record.as_dict()}
        enlargement = data.shape[0] // source.axes.size("Y")
        if PIXEL_SIZE_KEY in metadata:
            metadata[PIXEL_SIZE_KEY] = shrink(metadata[PIXEL_SIZE_KEY], enlargement)
        outputs.append(
            OutputImage(kind.label, source.axes.spread(data), metadata, kind.is_signed, clipped, enlargement)
        )
    return outputs


def _name_plane(record: Record, source: Source) -> Record:
    """Return the record of a single plane as one of its stack if neighbours helped, so that a script finds them.

    A script has neither marks of each plane's own nor a region, and repeats no stop; then it stays the plane's own.
    """
    is_repeatable = (
        record.neighbours and record.given is not None and record.stopped_after is None and source.region is None
        and (source.mask is None or len(source.mask.shape) == 2)
    )  # fmt: skip
    if not (is_repeatable and source.is_single) or source.in_layer is None:
        return record
    axes, plane = source.in_layer
    part = (
        (at, at + 1) if isinstance(at, int) else (0, length) for at, length in zip(plane.index, axes.shape, strict=True)
    )
    return record.of_stack(axes.letters, axes.shape, [(plane.place, record)], channels=axes.channels, part=tuple(part))


def find_main_output(outputs: list[OutputImage]) -> OutputImage | None:
    """Return the main image of a restoration; None if it was stopped before it had one."""
    return outputs[-1] if outputs and not outputs[-1].own_contrast else None
