"""A result as images for layers: in which order, in which pixel type, each with its record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..measurement.task import find_task
from ..outputs import OUTPUTS
from ..pixel_type import as_dtype
from .layers import RECORD_KEY, Source
from .pixel_size import PIXEL_SIZE_KEY, shrink
from .stack_source import StackSource

if TYPE_CHECKING:
    from ..outcome import Restoration


@dataclass(frozen=True, slots=True)
class Made:
    """One image of a result.

    Attributes
    ----------
    suffix : str
        Of the layer's name.
    data : ndarray
    metadata : dict
        Of the layer.
    own_contrast : bool
        Whether its intensities are of another kind than the source's.
    clipped : int
        Pixels that the pixel type could not hold.
    """

    suffix: str
    data: NDArray
    metadata: dict[str, Any]
    own_contrast: bool
    clipped: int


def list_outputs(result: Restoration, source: Source | StackSource, original_type: bool) -> list[Made]:
    """Return what is to become layers, the one that matters most last.

    Parameters
    ----------
    result : Restoration
    source : Source or StackSource
        What was restored.
    original_type : bool
        Whether images are rounded and clipped to the pixel type of the source.
    """
    made = []
    for name, kind in reversed(OUTPUTS.items()):
        image = getattr(result, name)
        if image is None or (name == "restored" and find_task(result.record.task).main_output != name):
            continue
        data, clipped = as_dtype(image, source.dtype if original_type and not kind.is_signed else np.float32)
        record = result.record.of_output(
            name, data, clipped, path=source.path, layer=source.layer_name, region=source.region
        )
        metadata = {**source.metadata, RECORD_KEY: record.as_dict()}
        if PIXEL_SIZE_KEY in metadata:
            metadata[PIXEL_SIZE_KEY] = shrink(metadata[PIXEL_SIZE_KEY], result.record.factor or 1)
        made.append(Made(kind.label, source.spread(data), metadata, kind.is_signed, clipped))
    return made


def say_pixel_size(source: Source | StackSource) -> str:
    """Return in a sentence which size of a pixel comes from the file and not from the layer; empty if none does."""
    size = source.metadata.get(PIXEL_SIZE_KEY)
    if size is None:
        return ""
    height, width, unit = f"{size['height']:.4g}", f"{size['width']:.4g}", size["unit"]
    words = f"{height} {unit}" if height == width else f"{height} x {width} {unit}"
    return f"The pixel size, {words}, is that of its file."


def say_pixel_type(made: list[Made]) -> str:
    """Return in a sentence that images were rounded, and how many pixels were clipped; empty if none was."""
    converted = [each for each in made if each.data.dtype.kind != "f" and not each.own_contrast]
    if not converted:
        return ""
    clipped = [f"{each.clipped} pixels of the {each.suffix} image" for each in converted if each.clipped]
    what = f"; {' and '.join(clipped)} were clipped" if clipped else "; none was clipped"
    return f"Rounded to {converted[-1].data.dtype}{what}."
