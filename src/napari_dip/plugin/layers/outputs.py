"""A result as images for layers: in which order, in which pixel type, each with its record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...measurement.task import find_task
from ...outputs import OUTPUTS
from ...pixel_type import as_dtype
from .made_layers import RECORD_KEY
from .pixel_size import PIXEL_SIZE_KEY, shrink
from .source import Source

if TYPE_CHECKING:
    from ...outcome import Restoration


@dataclass(frozen=True, slots=True)
class Made:
    """One image of a result.

    Attributes
    ----------
    suffix : str
        Of the layer's name.
    data : ndarray
        With all axes of its source.
    metadata : dict
        Of the layer.
    own_contrast : bool
        Whether its intensities are of another kind than the source's.
    clipped : int
        Pixels that the pixel type could not hold.
    enlargement : int
        How many times more rows and columns than the source it has.
    """

    suffix: str
    data: NDArray
    metadata: dict[str, Any]
    own_contrast: bool
    clipped: int
    enlargement: int = 1


def list_outputs(result: Restoration, source: Source, original_type: bool) -> list[Made]:
    """Return what is to become layers, the one that matters most last.

    Parameters
    ----------
    result : Restoration
        Of one plane.
    source : Source
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
        enlargement = data.shape[0] // source.axes.size("Y")
        if PIXEL_SIZE_KEY in metadata:
            metadata[PIXEL_SIZE_KEY] = shrink(metadata[PIXEL_SIZE_KEY], enlargement)
        made.append(Made(kind.label, source.axes.spread(data), metadata, kind.is_signed, clipped, enlargement))
    return made


def find_main(made: list[Made]) -> Made | None:
    """Return the image that a restoration is done for; None where there is none, for it was stopped before."""
    return made[-1] if made and not made[-1].own_contrast else None
