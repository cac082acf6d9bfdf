"""The foldable part of the form that finds broken pixels and marks them in a Labels layer over the image."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from magicgui.widgets import ComboBox, Container, FloatSpinBox, Label, PushButton
from napari.layers import Image, Labels
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.QtWidgets import QSizePolicy

from ...measurement.pixel_defects import (
    find_above,
    find_below,
    find_dead_lines,
    find_hot_and_cold,
    find_not_finite,
    find_saturated,
    find_zero,
)
from ..layers.placement import read_plane_placement
from ..layers.source import Source, read_source
from ..run.worker import Job
from ..words import capitalise
from .layer_choice import choose_image
from .narrow_form import LabelAligner, let_shrink, wrap

_MOST_AT_ONCE = 1 << 20  # pixels that are searched while the user waits
_FOLDED, _UNFOLDED = "Find missing pixels ▸", "Find missing pixels ▾"


class Kind(NamedTuple):
    """One reason to count a pixel as missing, as the form shows it."""

    label: str
    meaning: str
    find: Callable[..., NDArray[np.bool_]]
    mark: int  # its label in the layer
    needs_threshold: bool = False


KINDS = {
    "saturated": Kind("Saturated", "At the camera's maximum, if several pixels share that value.",
                      find_saturated, 1),
    "hot": Kind("Hot and cold", "Single pixels that differ from their neighbours by more than noise and optics allow.",
                find_hot_and_cold, 2),
    "lines": Kind("Dead rows and columns", "Lines that are constant, or far from the lines on both sides.",
                  find_dead_lines, 3),
    "zero": Kind("Zero", "Exactly 0, in all channels.", find_zero, 4),
    "not finite": Kind("Not a number", "NaN or infinite. These always count as missing; this shows where they are.",
                       find_not_finite, 5),
    "above": Kind("Above a value", "Brighter than the value, in any channel.", find_above, 6, True),
    "below": Kind("Below a value", "Darker than the value, in all channels.", find_below, 7, True),
}  # fmt: skip


class MaskFinder(Container):
    """What to look for, and a button that marks it.

    Parameters
    ----------
    viewer : Viewer
        The viewer that the Labels layer is added to.
    image : callable
        Returns the chosen Image layer, or None.
    on_found : callable
        Called with the Labels layer that was added, or painted in.
    plane : callable
        Returns which plane of a stack to search; by default the first. What it finds is marked for all planes, because
        a camera's defects are the same in each.
    """

    def __init__(
        self,
        viewer: Viewer,
        image: Callable[[], Image | None],
        on_found: Callable[[Labels], None],
        plane: Callable[[], Mapping[str, slice] | None] = lambda: None,
    ) -> None:
        super().__init__(name="mask_finder", labels=False)
        self._viewer, self._image, self._on_found, self._plane = viewer, image, on_found, plane
        self._found: Labels | None = None
        self._source: Image | None = None
        self.fold_button = PushButton(
            name="fold_button", text=_FOLDED, tooltip="Find broken pixels and mark them in a Labels layer."
        )
        self.fold_button.changed.connect(lambda: self.unfold(self.fold_button.text == _FOLDED))
        self.kind = ComboBox(
            name="kind", label="Look for", choices=[(each.label, name) for name, each in KINDS.items()]
        )
        self.threshold = FloatSpinBox(
            name="threshold", label="Value", value=0, min=-1e12, max=1e12, step=1, tooltip="In the image's intensities."
        )
        self.find_button = PushButton(
            name="find_button", text="Find and mark",
            tooltip="Add a Labels layer over the image, or add to the last one. Correct it by painting.",
        )  # fmt: skip
        self.find_button.changed.connect(self.find)
        self.message = Label(name="message", value="")
        wrap(self.message.native)
        self.fields: Container = Container(name="fields")
        self.fields.extend([self.kind, self.threshold])
        let_shrink(self.fields)
        self.fields.margins = self.margins = (0, 0, 0, 0)
        self.extend([self.fold_button, self.fields, self.find_button, self.message])
        self.kind.changed.connect(self._show_kind)
        self.kind.changed.connect(self._suggest_threshold)
        self._suggested = self.threshold.value
        self.unfold(False)

    def unfold(self, unfolded: bool = True) -> None:
        """Show the fields, or hide them."""
        self.fold_button.text = _UNFOLDED if unfolded else _FOLDED
        self.fields.visible = self.find_button.visible = unfolded
        self.message.visible = unfolded and bool(self.message.value)
        self._show_kind()

    def _show_kind(self) -> None:
        kind = KINDS[self.kind.value]
        self.kind.tooltip = kind.meaning
        self.threshold.visible = self.fold_button.text == _UNFOLDED and kind.needs_threshold

    def _suggest_threshold(self) -> None:
        """Begin with the brightest or the darkest that is drawn: 0 would mark nearly all pixels."""
        kind, image = KINDS[self.kind.value], self._image()
        if kind.needs_threshold and image is not None:
            self.threshold.value = image.contrast_limits[1 if kind.find is find_above else 0]
            self._suggested = self.threshold.value

    def follow_image(self, event: object = None) -> None:
        """Suggest another threshold for another image, unless the user has entered one."""
        if self.threshold.value == self._suggested:
            self._suggest_threshold()

    def find(self) -> None:
        """Find the pixels, mark them, and say how many there are."""
        kind, image = KINDS[self.kind.value], self._image()
        try:
            source = read_source(image, selection=self._plane())
        except (ValueError, TypeError) as error:
            self._say(capitalise(str(error)))
            return
        assert image is not None  # read_source has refused None
        search = functools.partial(_search, source, kind, self.threshold.value)
        if isinstance(source.array, np.ndarray) and source.array.size <= _MOST_AT_ONCE:
            try:
                self._mark(image, kind, search())
            except (ValueError, TypeError) as error:
                self._say(capitalise(str(error)))
            return
        self._say("Searching …")
        self.find_button.enabled = False
        Job(
            search, on_result=lambda missing: self._mark(image, kind, missing),
            on_error=lambda error: self._say(capitalise(str(error))), on_finished=self._on_searched,
        ).start()  # fmt: skip

    def _on_searched(self) -> None:
        with contextlib.suppress(RuntimeError):  # the form was closed
            self.find_button.enabled = True

    def _mark(self, image: Image, kind: Kind, missing: NDArray[np.bool_]) -> None:
        """Add the pixels to the marks over the image, and say how many there are."""
        if image not in self._viewer.layers:
            return
        if not missing.any():
            self._say(f"No pixels found for “{kind.label}”.")
            return
        earlier = self._earlier(image, missing.shape)
        if earlier is None:
            layer = mark_over(self._viewer, image, missing, kind.mark)
        else:
            layer = earlier
            new = missing & (np.asarray(layer.data) == 0)
            if new.any():  # as one stroke, so that it can be undone
                layer.data_setitem(np.nonzero(new), kind.mark)
        self._found, self._source = layer, image
        self._on_found(layer)
        count = int(np.count_nonzero(layer.data))
        self._say(f"{describe_share(count, missing.size)} marked in “{layer.name}”. Correct it by painting.")

    def _earlier(self, image: Image, shape: tuple[int, ...]) -> Labels | None:
        """Return the layer that was added for this image before, if it still exists."""
        layer = self._found
        if layer is None or layer not in self._viewer.layers or self._source is not image or layer.data.shape != shape:
            return None
        return layer

    def _say(self, sentence: str) -> None:
        with contextlib.suppress(RuntimeError):  # the form was closed
            self.message.value = sentence
            self.message.visible = self.fold_button.text == _UNFOLDED


class MaskFinderWidget(Container):
    """The mask finder in a dock of its own."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(labels=False)
        self.image = choose_image(napari_viewer, "The image to search.")
        choice: Container = Container(name="choice")
        choice.append(self.image)
        self.finder = MaskFinder(napari_viewer, lambda: self.image.value, lambda layer: None)
        self.image.changed.connect(self.finder.follow_image)
        self.finder.unfold()
        self.finder.fold_button.visible = False
        choice.margins = (0, 0, 0, 0)
        let_shrink(choice)
        self.extend([choice, self.finder])
        LabelAligner(self.native, [[choice, self.finder.fields]])
        self.native.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)  # leave room for others


def _search(source: Source, kind: Kind, threshold: float) -> NDArray[np.bool_]:
    """Find the pixels of the first, or the only, plane; for a large image in napari's worker."""
    arguments = (threshold,) if kind.needs_threshold else ()
    return kind.find(source.image, *arguments)


def mark_over(viewer: Viewer, image: Image, missing: NDArray[np.bool_], mark: int) -> Labels:
    """Add a Labels layer exactly over the image, with a mark on missing pixels; napari numbers a name that exists.

    Parameters
    ----------
    viewer : Viewer
    image : Image
    missing : ndarray
        ``(h, w)`` bool.
    mark : int
    """
    layer = viewer.add_labels(
        missing.astype(np.uint8) * mark, name=f"{image.name} missing", opacity=0.6, **read_plane_placement(image)
    )
    layer.selected_label = mark
    return layer


def describe_share(count: int, size: int) -> str:
    """Return a number of pixels and its share in words, such as "412 pixels (0.6%) are"."""
    share = 100 * count / size
    number = "less than 0.1" if 0 < share < 0.1 else f"{share:.1f}" if share < 10 else f"{share:.0f}"
    return f"{count} pixel{'s' if count != 1 else ''} ({number}%) {'are' if count != 1 else 'is'}"
