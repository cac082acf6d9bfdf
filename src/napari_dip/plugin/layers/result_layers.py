"""The layers that a request fills in plane by plane; a later run can continue with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from napari.viewer import Viewer

from ...many.axes import Plane
from ...many.image_stack import MaskedStack
from ...outputs import OUTPUTS, subtract_restored
from ...record import Record
from .outputs import OutputImage, find_main_output, list_outputs
from .own_layers import RECORD_KEY, add_output
from .preview_layer import PreviewLayer
from .source import Place, place_of

if TYPE_CHECKING:
    from ...outcome import Restoration
    from ..request import LayerRequest


_IN_PLACE = ("denoise", "deblock", "inpaint")  # tasks that leave every pixel in its place, so that images subtract
_RESIDUAL = OUTPUTS["residual"].label


class ResultLayers:
    """The layers of one request; unfinished planes are NaN, which napari shows as transparent.

    In integer types, which have no NaN, they are 0. If the request is for a single plane, its preview becomes the main
    layer.
    """

    def __init__(self, viewer: Viewer, request: LayerRequest, preview: PreviewLayer) -> None:
        self._viewer, self._request, self._preview = viewer, request, preview
        self.source = request.source
        self.records: dict[Place, Record] = {}
        # both by the suffix of the layers' names, the main one last
        self._outputs: dict[str, OutputImage] = {}
        self._layers: dict[str, Image] = {}
        # unfinished versions of planes, with the names that they were given
        self._stopped: dict[Place, list[tuple[Image, str]]] = {}

    @property
    def count(self) -> int:
        """How many planes the request is for."""
        return self.source.part.count

    @property
    def names(self) -> list[str]:
        """The names of the layers that the user has not removed, the main one last."""
        return [layer.name for layer in self._layers.values() if layer in self._viewer.layers]

    @property
    def outputs(self) -> list[OutputImage]:
        """What the layers hold; clipped pixels are counted over all planes."""
        return list(self._outputs.values())

    def can_continue_with(self, request: LayerRequest) -> bool:
        """Return whether a request is for the rest of these planes, with the same pixels and settings."""
        new, old = request.source, self.source
        return (
            request.warm_start is None  # else the next plane would not start from the network that its record names
            and 0 < len(self.records) < self.count
            and self.is_shown
            and new.array is old.array
            and (new.axes, new.selection, new.mask is None) == (old.axes, old.selection, old.mask is None)
            and _comparable(request) == _comparable(self._request)
        )

    @property
    def is_shown(self) -> bool:
        """Whether the main layer is still in the viewer."""
        return bool(self._layers) and list(self._layers.values())[-1] in self._viewer.layers

    @property
    def main(self) -> Image | None:
        """The main layer, if the user has not removed it."""
        return list(self._layers.values())[-1] if self.is_shown else None

    @property
    def original(self) -> Image | None:
        """The layer that was restored, if the viewer still has it."""
        return self.source.origin.find(self._viewer)

    @property
    def residual(self) -> Image | None:
        """The layer that shows what was removed, if there is one."""
        layer = self._layers.get(_RESIDUAL)
        return layer if layer is not None and layer in self._viewer.layers else None

    @property
    def can_have_residual(self) -> bool:
        """Whether there is a residual, or one can be made from the original and the result."""
        return self.residual is not None or (self.is_shown and self._request.options.task in _IN_PLACE)

    def subtract(self) -> Callable[[], OutputImage]:
        """Return what makes the residual; it reads the original, so the worker does it."""
        restored, source = list(self._outputs.values())[-1], self.source
        records, index = dict(self.records), self._index

        def subtract() -> OutputImage:
            axes = source.axes
            stack = MaskedStack(source.array, axes, source.mask)
            residual = np.full(restored.data.shape, np.nan, np.float32)
            for plane in source.planes():
                if place_of(plane) in records:
                    of_plane = np.reshape(restored.data[index(plane)], stack.read(plane).shape)
                    image = subtract_restored(stack.read(plane), of_plane, stack.read_mask(plane))
                    residual[index(plane)] = axes.spread(image)
            record = Record.from_dict(restored.metadata[RECORD_KEY])
            record = dataclasses.replace(  # of a run that was asked for it, so that its script makes it
                record, settings=dataclasses.replace(record.settings, residual=True),
                output=dataclasses.replace(record.output, name="residual", dtype="float32", clipped=0),
            )  # fmt: skip
            metadata = {**restored.metadata, RECORD_KEY: record.as_dict()}
            return OutputImage(_RESIDUAL, residual, metadata, own_contrast=True, clipped=0)

        return subtract

    def add_residual(self, output: OutputImage) -> Image:
        """Add the residual as a layer, hidden."""
        selected = self._viewer.layers.selection.active
        self.source = self.source.follow_layer(self._viewer)
        layer = add_output(self._viewer, self.source, output, f"{self.source.name} {output.suffix}")
        self._layers = {_RESIDUAL: layer, **self._layers}  # the main layer stays the last
        if selected is not None and selected in self._viewer.layers:
            self._viewer.layers.selection.active = selected
        return layer

    def select(self) -> None:
        """Select the main layer if nothing is selected, because the selected preview was removed."""
        if self.is_shown and self._viewer.layers.selection.active is None:
            self._viewer.layers.selection.active = list(self._layers.values())[-1]

    def fill(self, plane: Plane, result: Restoration, converted: Mapping[str, tuple[np.ndarray, int]]) -> None:
        """Put a finished plane, converted by ``convert_outputs``, in its place; the selection stays the same.

        An unfinished version of it, of a run that was stopped, is removed, unless the user has renamed it.
        """
        selected = self._viewer.layers.selection.active
        self.records[place_of(plane)] = result.record
        self.source = self.source.follow_layer(self._viewer)
        outputs = list_outputs(result, self.source, self._request.original_type, converted)
        main = find_main_output(outputs)
        for output in outputs:
            if output.suffix in self._outputs:
                self._fill(output, plane)
            else:
                self._add(output, plane, is_preview=output is main and self.source.is_single)
        for layer, name in self._stopped.pop(place_of(plane), []):
            if layer in self._viewer.layers and layer.name == name:
                self._viewer.layers.remove(layer)
        if selected is not None and selected in self._viewer.layers:  # napari selects every layer that is added
            self._viewer.layers.selection.active = selected

    def keep_stopped(self, plane: Plane, result: Restoration, converted: Mapping[str, tuple[np.ndarray, int]]) -> str:
        """Keep the unfinished current plane as a layer of its own; return its name, or "" if there is no layer.

        It lies below these layers, and is removed once they have that plane.
        """
        source, layers = self.source.follow_layer(self._viewer), self._viewer.layers
        main = find_main_output(list_outputs(result, source, self._request.original_type, converted))
        name = f"{source.name} ({source.describe(plane)}) stopped early"
        layer = None if main is None else self._preview.keep(source, main, name, plane)
        if layer is None:
            return ""
        self._stopped.setdefault(place_of(plane), []).append((layer, layer.name))
        own = [layers.index(each) for each in self._layers.values() if each in layers]
        if own and layers.index(layer) > min(own):
            layers.move(layers.index(layer), min(own))
        return str(layer.name)

    def _fill(self, output: OutputImage, plane: Plane) -> None:
        before = self._outputs[output.suffix]
        before.data[self._index(plane)] = output.data
        old, new = before.metadata[RECORD_KEY], self._record(output, plane)
        old["stack"]["planes"] = [*old["stack"]["planes"], *new["stack"]["planes"]]
        old["seconds"] += new["seconds"]
        old["output"]["clipped"] += output.clipped
        self._outputs[output.suffix] = dataclasses.replace(before, clipped=before.clipped + output.clipped)
        layer = self._layers[output.suffix]
        if layer in self._viewer.layers:
            layer.metadata = before.metadata
            layer.refresh()

    def _add(self, output: OutputImage, plane: Plane, *, is_preview: bool) -> None:
        """Add a layer with the first finished plane, from which napari takes its contrast limits."""
        if not self.source.is_single:
            part = self.source.part
            shape = tuple(
                part.size(letter) if letter in part.stepped else length
                for letter, length in zip(part.letters, output.data.shape, strict=True)
            )
            stack = np.full(shape, np.nan if output.data.dtype.kind == "f" else 0, output.data.dtype)
            stack[self._index(plane)] = output.data
            metadata = {**output.metadata, RECORD_KEY: self._record(output, plane)}
            output = dataclasses.replace(output, data=stack, metadata=metadata)
        name = f"{self.source.name} {output.suffix}"
        kept = self._preview.keep(self.source, output, name, plane) if is_preview else None
        self._outputs[output.suffix] = output
        self._layers[output.suffix] = kept if kept is not None else add_output(self._viewer, self.source, output, name)

    def _index(self, plane: Plane) -> tuple[slice, ...]:
        """Return the index of a plane in these layers; all axes are kept."""
        axes = self.source.axes
        return tuple(
            slice(at, at + 1) if letter in axes.stepped else slice(None)
            for letter, at in zip(axes.letters, self.source.find_corner(plane), strict=False)
        )

    def _record(self, output: OutputImage, plane: Plane) -> dict[str, Any]:
        """Return the record of one plane as the record of a stack, in plain types."""
        axes, (part, first) = self.source.axes, self.source.axes.part(self.source.selection)
        within = [(begin, begin + length) for begin, length in zip(first, part.shape, strict=True)]
        record = Record.from_dict(output.metadata[RECORD_KEY])
        return record.of_stack(
            axes.letters, axes.shape, [(plane.place, record)], channels=axes.channels,
            warm_start=self._request.warm_start, part=tuple(within) if self.source.selection else None,
        ).as_dict()  # fmt: skip


def _comparable(request: LayerRequest) -> tuple[Any, ...]:
    options = request.options
    parameters = {name: np.asarray(each).tolist() for name, each in options.parameters.items()}
    return options.task, options.settings, parameters, request.original_type, request.warm_start, request.neighbours
