"""The layers that a request is restored into: they fill in plane by plane, and a later run can go on with them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from napari.viewer import Viewer

from ...many.axes import Plane
from ...record import Record
from .made_layers import RECORD_KEY, add_made
from .outputs import Made, find_main, list_outputs
from .preview_layer import PreviewLayer
from .source import Place, place_of

if TYPE_CHECKING:
    from ...outcome import Restoration
    from ..request import LayerRequest


class ResultLayers:
    """The layers of one request; planes that are not done are not a number, which napari leaves transparent.

    In a pixel type that has no such value they are 0. Where one plane is wanted, its preview becomes the main layer.
    """

    def __init__(self, viewer: Viewer, request: LayerRequest, preview: PreviewLayer) -> None:
        self._viewer, self._request, self._preview = viewer, request, preview
        self.source = request.source
        self.records: dict[Place, Record] = {}
        self._made: dict[str, Made] = {}  # what the layers hold, by the suffix of their names, the main one last
        self._layers: dict[str, Image] = {}  # the same

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

    def can_go_on_with(self, request: LayerRequest) -> bool:
        """Return whether a request asks for the rest of these planes: of the same pixels, in the same way."""
        new, old = request.source, self.source
        return (
            request.warm_start is None  # else the next plane would begin otherwise than its record says
            and 0 < len(self.records) < self.count
            and self.is_shown
            and new.array is old.array
            and (new.axes, new.selection) == (old.axes, old.selection)
            and _way_of(request) == _way_of(self._request)
        )

    @property
    def is_shown(self) -> bool:
        """Whether the main layer is still in the viewer."""
        return bool(self._layers) and list(self._layers.values())[-1] in self._viewer.layers

    def select(self) -> None:
        """Select the main layer, if nothing else is: the preview was, and has gone."""
        if self.is_shown and self._viewer.layers.selection.active is None:
            self._viewer.layers.selection.active = list(self._layers.values())[-1]

    def fill(self, plane: Plane, result: Restoration) -> None:
        """Put a plane that is done in its place, with its record; what was selected stays so."""
        selected = self._viewer.layers.selection.active
        self.records[place_of(plane)] = result.record
        self.source = self.source.as_now(self._viewer)
        outputs = list_outputs(result, self.source, self._request.original_type)
        main = find_main(outputs)
        for made in outputs:
            if made.suffix in self._made:
                self._fill(made, plane)
            else:
                self._add(made, plane, is_preview=made is main and self.source.is_single)
        if selected is not None and selected in self._viewer.layers:  # napari selects each layer that is added
            self._viewer.layers.selection.active = selected

    def keep_stopped(self, plane: Plane, result: Restoration) -> str:
        """Keep the plane at work, as far as it had come, as a layer of its own; return its name, empty if it has none.

        It lies below these, which will hide it once they have that plane.
        """
        source, layers = self.source.as_now(self._viewer), self._viewer.layers
        main = find_main(list_outputs(result, source, self._request.original_type))
        name = f"{source.name} ({source.describe(plane)}) stopped early"
        layer = None if main is None else self._preview.keep(source, main, name, plane)
        if layer is None:
            return ""
        own = [layers.index(each) for each in self._layers.values() if each in layers]
        if own and layers.index(layer) > min(own):
            layers.move(layers.index(layer), min(own))
        return str(layer.name)

    def _fill(self, made: Made, plane: Plane) -> None:
        before = self._made[made.suffix]
        before.data[self._index(plane)] = made.data
        told, new = before.metadata[RECORD_KEY], self._record(made, plane)
        told["stack"]["planes"] = [*told["stack"]["planes"], *new["stack"]["planes"]]
        told["seconds"] += new["seconds"]
        told["output"]["clipped"] += made.clipped
        self._made[made.suffix] = dataclasses.replace(before, clipped=before.clipped + made.clipped)
        layer = self._layers[made.suffix]
        if layer in self._viewer.layers:
            layer.metadata = before.metadata
            layer.refresh()

    def _add(self, made: Made, plane: Plane, *, is_preview: bool) -> None:
        """Add a layer with the first plane that is done, by which napari finds its contrast."""
        if not self.source.is_single:
            part = self.source.part
            shape = tuple(
                part.size(letter) if letter in part.stepped else length
                for letter, length in zip(part.letters, made.data.shape, strict=True)
            )
            whole = np.full(shape, np.nan if made.data.dtype.kind == "f" else 0, made.data.dtype)
            whole[self._index(plane)] = made.data
            metadata = {**made.metadata, RECORD_KEY: self._record(made, plane)}
            made = dataclasses.replace(made, data=whole, metadata=metadata)
        name = f"{self.source.name} {made.suffix}"
        kept = self._preview.keep(self.source, made, name, plane) if is_preview else None
        self._made[made.suffix] = made
        self._layers[made.suffix] = kept if kept is not None else add_made(self._viewer, self.source, made, name)

    def _index(self, plane: Plane) -> tuple[slice, ...]:
        """Return where a plane lies in these layers, all axes kept."""
        axes = self.source.axes
        return tuple(
            slice(at, at + 1) if letter in axes.stepped else slice(None)
            for letter, at in zip(axes.letters, self.source.find_corner(plane), strict=False)
        )

    def _record(self, made: Made, plane: Plane) -> dict[str, Any]:
        """Return the record of one plane as that of a stack, in plain types."""
        axes, (part, first) = self.source.axes, self.source.axes.part(self.source.selection)
        within = [(begin, begin + length) for begin, length in zip(first, part.shape, strict=True)]
        record = Record.from_dict(made.metadata[RECORD_KEY])
        return record.of_stack(
            axes.letters, axes.shape, [(plane.place, record)], channels=axes.channels,
            warm_start=self._request.warm_start, part=tuple(within) if self.source.selection else None,
        ).as_dict()  # fmt: skip


def _way_of(request: LayerRequest) -> tuple[Any, ...]:
    how, parameters = request.how, {name: np.asarray(each).tolist() for name, each in request.how.parameters.items()}
    return how.task, how.settings, parameters, request.original_type, request.warm_start
