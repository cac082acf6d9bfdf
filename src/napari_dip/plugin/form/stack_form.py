"""The part of the form for stacks: which planes to restore, and which channels together."""

from __future__ import annotations

import contextlib

from magicgui.widgets import CheckBox, ComboBox, Container, SpinBox
from napari.layers import Image
from napari.viewer import Viewer

from ...many.neighbours import find_helping_axes
from ...measurement.task import Task
from ..layers.layer_axes import LayerAxes, count_dimensions, find_layer_axes

_THIS, _ALL, _RANGE = "this", "all", "range"
_APART = ""
_OFF = ""


class StackForm(Container):
    """Shown only for layers with more than two dimensions.

    Parameters
    ----------
    viewer : Viewer
        Its sliders determine "this plane"; the form never moves them.
    image : ComboBox
        The choice of the Image layer.
    """

    def __init__(self, viewer: Viewer, image: ComboBox) -> None:
        super().__init__(name="stack_form")
        self._viewer, self._image = viewer, image
        self._unfolded, self._task_uses_neighbours = False, True
        self._layer: Image | None = None
        self.planes = ComboBox(
            name="planes", label="Planes", choices=self._choices, value=_THIS,
            tooltip="This plane: the one that the sliders show. All planes: one after another, into one layer that "
            "fills in as planes are finished. Range: part of one axis, and everything along the others.",
        )  # fmt: skip
        self.along = ComboBox(
            name="along", label="Range along", choices=self._axes_to_step, tooltip="The axis that the range applies to."
        )
        self.first = SpinBox(
            name="first", label="First", value=0, min=0, max=0, tooltip="The first plane, counted from 0."
        )
        self.last = SpinBox(
            name="last", label="Last", value=0, min=0, max=0, tooltip="The last plane; it is restored, too."
        )
        self.together = ComboBox(
            name="together", label="Channels", choices=self._channel_axes, value=_APART,
            tooltip="One by one: each channel is restored by itself. Together: one network draws all channels along "
            "this axis and learns their shared structure from all of them.",
        )  # fmt: skip
        self.warm_start = ComboBox(
            name="warm_start", label="Start each plane", choices=self._warm_start_axes, value=_OFF,
            tooltip="From scratch: each plane is restored as if it were alone. From the previous one: each starts from "
            "the network of the plane before it, if the two hardly differ; that takes about a third of the time. Gains "
            "and risks: see docs/many_images.md, “Warm start”.",
        )  # fmt: skip
        self.neighbours = CheckBox(
            name="neighbours", text="Neighbouring planes help", value=True,
            tooltip="On: up to two planes on each side help to remove noise and to fill in missing pixels, as far as "
            "that makes the plane better. They help most where they look much alike. Off: each plane is restored as if "
            "it were alone.",
        )  # fmt: skip
        self.extend([self.planes, self.along, self.first, self.last, self.together, self.neighbours, self.warm_start])
        self.margins = (0, 0, 0, 0)
        self._image.changed.connect(self.refresh)
        self.planes.changed.connect(self._show_needed)
        self.along.changed.connect(self._limit_range)
        self.together.changed.connect(self._refresh_choices)
        viewer.dims.events.axis_labels.connect(self.refresh)
        self.refresh()

    def forget_viewer(self) -> None:
        """Disconnect from the viewer."""
        with contextlib.suppress(ValueError, RuntimeError):
            self._viewer.dims.events.axis_labels.disconnect(self.refresh)

    def refresh(self, event: object = None) -> None:
        """Offer the axes of the chosen layer."""
        image = self._image.value
        if image is not self._layer:
            if self._layer is not None:
                for events in (self._layer.events.data, self._layer.events.axis_labels):
                    events.disconnect(self.refresh)
            self._layer = image
            if image is not None:
                for events in (image.events.data, image.events.axis_labels):
                    events.connect(self.refresh)
        self.together.reset_choices()
        self._refresh_choices()

    @property
    def applies(self) -> bool:
        """Whether the chosen layer is a stack."""
        return self._image.value is not None and count_dimensions(self._image.value) > 2

    @property
    def has_neighbours(self) -> bool:
        """Whether there are other planes that can help."""
        found = self.axes()
        return found is not None and bool(find_helping_axes(found.axes))

    def show_all(self, unfolded: bool) -> None:
        """Show or hide the fields that few users need."""
        self._unfolded = unfolded
        self._show_needed()

    def show_task(self, task: Task) -> None:
        """Show or hide what only some tasks use."""
        self._task_uses_neighbours = task.takes_neighbours
        self._show_needed()

    def axes(self) -> LayerAxes | None:
        """Return the axes of the chosen layer as the form describes them; None if it is no stack."""
        if not self.applies:
            return None
        return find_layer_axes(self._image.value, self._viewer.dims.axis_labels, self.together.value or None)

    def count_channels(self) -> int:
        """Return how many channels or colours of the chosen layer are restored together."""
        if self._image.value is not None and self._image.value.rgb:
            return 3  # transparency is kept as it is
        found = self.axes()
        return 1 if found is None or not found.axes.takes_channels_together else found.axes.size("C")

    def this_plane(self) -> dict[str, slice]:
        """Return the selection of the plane that the sliders show.

        Raises
        ------
        ValueError
            If the viewer does not show a single plane of rows and columns, but a volume or another side of the stack.
        """
        found, image = self.axes(), self._image.value
        if found is None:
            return {}
        axes, dims = found.axes, self._viewer.dims
        drawn = {axis - (dims.ndim - image.ndim) for axis in dims.displayed}
        hidden = [each for each in axes.stepped if axes.size(each) > 1 and axes.letters.index(each) in drawn]
        if hidden and dims.ndisplay == 3:
            raise ValueError(
                f"the viewer shows “{image.name}” in 3D, not a single plane: switch to 2D, or choose All planes."
            )
        if hidden:
            names = " and ".join(found.names[each] for each in hidden)
            raise ValueError(
                f"the viewer shows “{image.name}” along {names}, not a single plane of rows and columns: roll the axes "
                "back, or choose All planes."
            )
        place = image.world_to_data(self._viewer.dims.point[-image.ndim :])
        shown = {letter: round(float(place[axes.letters.index(letter)])) for letter in axes.stepped}
        within = {letter: min(max(number, 0), axes.size(letter) - 1) for letter, number in shown.items()}
        return {letter: slice(number, number + 1) for letter, number in within.items()}

    def selection(self) -> dict[str, slice]:
        """Return the chosen planes, as a slice for some of the axes."""
        if not self.applies or self.planes.value == _THIS:
            return self.this_plane()
        if self.planes.value == _ALL or self.along.value is None:
            return {}
        first, last = self.first.value, self.last.value
        if first > last:
            raise ValueError(f"the range starts at {first} and ends before that, at {last}: swap First and Last.")
        return {self.along.value: slice(first, last + 1)}

    def warm_start_axis(self) -> str | None:
        """Return the letter of the warm start's axis; None if every plane starts afresh."""
        return self.warm_start.value or None

    def neighbour_axes(self) -> str | None:
        """Return "auto" if neighbouring planes are to help, as ``restore_stack`` takes it; None if not."""
        return "auto" if self.neighbours.value and self.applies else None

    def _choices(self, widget: object = None) -> list[tuple[str, str]]:
        found = self.axes() if hasattr(self, "together") else None
        several = found is None or found.axes.count > 1
        return [("This plane", _THIS), *([("All planes", _ALL), ("Range …", _RANGE)] if several else [])]

    def _axes_to_step(self, widget: object = None) -> list[tuple[str, str]]:
        found = self.axes() if hasattr(self, "together") else None
        if found is None:
            return []
        axes = found.axes
        return [(f"{found.names[each]} ({axes.size(each)})", each) for each in axes.stepped if axes.size(each) > 1]

    def _warm_start_axes(self, widget: object = None) -> list[tuple[str, str]]:
        along = [(name, letter) for name, letter in self._axes_to_step() if letter != "C"]
        return [("From scratch", _OFF), *((f"From the previous one along {name}", letter) for name, letter in along)]

    def _channel_axes(self, widget: object = None) -> list[tuple[str, str]]:
        image = self._image.value
        choices = [("One by one", _APART)]
        if image is None or image.rgb or count_dimensions(image) < 3:
            return choices
        found = find_layer_axes(image, self._viewer.dims.axis_labels)
        letters = sorted(found.axes.stepped, key=lambda letter: letter != "C")
        return choices + [
            (f"Together: {found.names[each]} ({found.axes.size(each)})", each)
            for each in letters if found.axes.size(each) > 1
        ]  # fmt: skip

    def _refresh_choices(self) -> None:
        for choice in (self.planes, self.along, self.warm_start):
            choice.reset_choices()
        self._limit_range()
        self._show_needed()

    def _limit_range(self) -> None:
        found, letter = self.axes(), self.along.value
        if found is None or letter is None or letter not in found.axes.letters:
            return
        end = found.axes.size(letter) - 1
        grew = self.last.max != end
        for field in (self.first, self.last):
            field.value = min(field.value, end)
            field.max = end
        if grew:
            self.first.value, self.last.value = 0, end

    def _show_needed(self) -> None:
        self.visible = self.applies
        if not self.applies:
            return
        wants_range = self.planes.value == _RANGE
        self.planes.visible = True
        self.along.visible = wants_range and len(self.along.choices) > 1
        self.first.visible = self.last.visible = wants_range
        image = self._image.value
        has_channels = len(self.together.choices) > 1 and not image.rgb
        named = any(letter == "C" for _, letter in self._channel_axes())
        several = self.planes.value != _THIS and len(self.warm_start.choices) > 1
        self.neighbours.visible = self.has_neighbours and self._task_uses_neighbours
        self.warm_start.visible = several and (self._unfolded or self.warm_start.value != _OFF)
        self.together.visible = has_channels and (named or self._unfolded or self.together.value != _APART)
