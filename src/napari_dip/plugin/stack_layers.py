"""The layers that a stack is restored into: they fill in plane by plane, and a later run can go on with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from napari.viewer import Viewer
from numpy.typing import NDArray

from ..many.axes import Plane
from ..record import Record
from .layers import RECORD_KEY, add_looking_like
from .outputs import Made, list_outputs
from .run import Request
from .stack_run import Place, place_of
from .stack_source import StackSource

if TYPE_CHECKING:
    from ..outcome import Restoration


class StackLayers:
    """The layers of one request; planes that are not done are not a number, which napari leaves transparent.

    In a pixel type that has no such value they are 0.

    Parameters
    ----------
    viewer : Viewer
    request : Request
    """

    def __init__(self, viewer: Viewer, request: Request) -> None:
        assert isinstance(request.source, StackSource)
        self._viewer, self.request, self.source = viewer, request, request.source
        self.records: dict[Place, Record] = {}
        self._layers: dict[str, Image] = {}  # by the suffix of their names, the main one last
        self._arrays: dict[str, NDArray] = {}
        self._metadata: dict[str, dict[str, Any]] = {}
        self._made: dict[str, Made] = {}

    @property
    def count(self) -> int:
        """How many planes are wanted."""
        return self.source.part.count

    @property
    def names(self) -> list[str]:
        """Of the layers that the user has left, the main one last."""
        return [layer.name for layer in self._layers.values() if layer in self._viewer.layers]

    @property
    def made(self) -> list[Made]:
        """What they hold, with the pixels clipped in all planes."""
        return list(self._made.values())

    @property
    def notes(self) -> list[str]:
        """What noise and residual say of each plane."""
        return [record.note for record in self.records.values()]

    def can_go_on_with(self, request: Request) -> bool:
        """Return whether a request asks for the rest of these planes: of the same pixels, in the same way."""
        new, old = request.source, self.source
        return (
            isinstance(new, StackSource)
            and request.warm_start is None  # else the next plane would begin otherwise than its record says
            and 0 < len(self.records) < self.count
            and self.is_shown
            and new.array is old.array
            and (new.axes, new.selection) == (old.axes, old.selection)
            and _way_of(request) == _way_of(self.request)
        )

    @property
    def is_shown(self) -> bool:
        """Whether the main layer is still in the viewer."""
        return bool(self._layers) and list(self._layers.values())[-1] in self._viewer.layers

    def put_below(self, layer: Image) -> None:
        """Put a layer below these, which hide it where they have a plane that is done."""
        layers = self._viewer.layers
        own = [layers.index(each) for each in self._layers.values() if each in layers]
        if own and layers.index(layer) > min(own):
            layers.move(layers.index(layer), min(own))

    def select(self) -> None:
        """Select the main layer, if nothing else is: the preview was, and has gone."""
        if self.is_shown and self._viewer.layers.selection.active is None:
            self._viewer.layers.selection.active = list(self._layers.values())[-1]

    def fill(self, plane: Plane, result: Restoration) -> None:
        """Put a plane that is done in its place, with its record."""
        selected = self._viewer.layers.selection.active
        self.records[place_of(plane)] = result.record
        for made in list_outputs(result, self.source, self.request.original_type):
            if made.suffix not in self._arrays:
                self._add(made, plane)
            else:
                self._fill(made, plane)
        if selected is not None and selected in self._viewer.layers:  # napari selects each layer that is added
            self._viewer.layers.selection.active = selected

    def _fill(self, made: Made, plane: Plane) -> None:
        self._arrays[made.suffix][self._index(plane)] = made.data
        told, new = self._metadata[made.suffix][RECORD_KEY], self._record(made, plane)
        told["stack"]["planes"] = [*told["stack"]["planes"], *new["stack"]["planes"]]
        told["seconds"] += new["seconds"]
        told["output"]["clipped"] += made.clipped
        before = self._made[made.suffix]
        self._made[made.suffix] = dataclasses.replace(before, clipped=before.clipped + made.clipped)
        layer = self._layers[made.suffix]
        if layer in self._viewer.layers:
            layer.metadata = self._metadata[made.suffix]
            layer.refresh()

    def _add(self, made: Made, plane: Plane) -> None:
        """Add a layer with the first plane that is done, by which napari finds its contrast."""
        part, first = self.source.part, self._index(plane)
        shape = tuple(
            part.size(letter) if letter in part.stepped else length
            for letter, length in zip(part.letters, made.data.shape, strict=True)
        )
        empty = np.nan if made.data.dtype.kind == "f" else 0
        array = np.full(shape, empty, made.data.dtype)
        array[first] = made.data
        metadata = {**made.metadata, RECORD_KEY: self._record(made, plane)}
        factor = shape[part.letters.index("Y")] // part.size("Y")
        source = self.source.as_now(self._viewer)
        self._arrays[made.suffix], self._metadata[made.suffix] = array, metadata
        self._made[made.suffix] = dataclasses.replace(made, data=array)
        self._layers[made.suffix] = add_looking_like(
            self._viewer, source.appearance, factor, array, f"{source.name} {made.suffix}", metadata,
            own_contrast=made.own_contrast,
        )  # fmt: skip

    def _index(self, plane: Plane) -> tuple[slice, ...]:
        """Return where a plane lies in these layers, all axes kept."""
        index = plane.seen_from(self.source.first).index
        return tuple(at if isinstance(at, slice) else slice(at, at + 1) for at in index)

    def _record(self, made: Made, plane: Plane) -> dict[str, Any]:
        """Return the record of one plane as that of a stack, in plain types."""
        axes, (part, first) = self.source.axes, self.source.axes.part(self.source.selection)
        within = [(begin, begin + length) for begin, length in zip(first, part.shape, strict=True)]
        record = Record.from_dict(made.metadata[RECORD_KEY])
        return record.of_stack(
            axes.letters, axes.shape, [(plane.place, record)], channels=axes.channels,
            warm_start=self.request.warm_start, part=tuple(within) if self.source.selection else None,
        ).as_dict()  # fmt: skip


def _way_of(request: Request) -> Sequence[Any]:
    return request.task, request.factor, request.settings, request.original_type, request.warm_start
