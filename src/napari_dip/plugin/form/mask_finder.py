"""The foldable part of the form that marks missing pixels as a Labels layer over the image."""

from __future__ import annotations

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
from ..layers.placement import read_place_of_planes
from ..layers.source import read_source
from ..words import begin
from .layer_choice import choose_image
from .narrow_form import LabelAligner, let_shrink, wrap

_FOLDED, _UNFOLDED = "Find missing pixels ▸", "Find missing pixels ▾"


class Kind(NamedTuple):
    """One reason for a pixel to count as missing, as the form shows it."""

    label: str
    meaning: str
    find: Callable[..., NDArray[np.bool_]]
    mark: int  # the label in the layer
    needs_threshold: bool = False


KINDS = {
    "saturated": Kind("saturated", "At the largest value that the camera can tell, where several pixels share it.",
                      find_saturated, 1),
    "hot": Kind("hot and cold", "Single pixels that differ from all around them by more than noise and optics can.",
                find_hot_and_cold, 2),
    "lines": Kind("dead rows and columns", "Whole lines that are constant, or far from the lines on both sides.",
                  find_dead_lines, 3),
    "zero": Kind("zero", "Exactly 0, in all channels.", find_zero, 4),
    "not finite": Kind("not a number", "NaN or infinite. These count as missing by themselves; here they are shown.",
                       find_not_finite, 5),
    "above": Kind("above a value", "Brighter than the value, in any channel.", find_above, 6, True),
    "below": Kind("below a value", "Darker than the value, in all channels.", find_below, 7, True),
}  # fmt: skip


class MaskFinder(Container):
    """What to look for, and a button that marks it.

    Parameters
    ----------
    viewer : Viewer
        Where the layer is made.
    image : callable
        Returns the Image layer that is chosen, or None.
    on_found : callable
        Called with the Labels layer that was made or added to.
    at : callable
        Returns which plane of a stack is looked at; by default the first. What is found there is marked for all its
        planes: a camera's defects are the same in each.
    """

    def __init__(
        self,
        viewer: Viewer,
        image: Callable[[], Image | None],
        on_found: Callable[[Labels], None],
        at: Callable[[], Mapping[str, slice] | None] = lambda: None,
    ) -> None:
        super().__init__(name="mask_finder", labels=False)
        self._viewer, self._image, self._on_found, self._at = viewer, image, on_found, at
        self._found: Labels | None = None
        self._source: Image | None = None
        self.fold_button = PushButton(
            name="fold_button", text=_FOLDED, tooltip="Mark broken pixels as a Labels layer to correct."
        )
        self.fold_button.changed.connect(lambda: self.unfold(self.fold_button.text == _FOLDED))
        self.kind = ComboBox(
            name="kind", label="Look for", choices=[(each.label, name) for name, each in KINDS.items()]
        )
        self.threshold = FloatSpinBox(
            name="threshold", label="Value", value=0, min=-1e12, max=1e12, step=1, tooltip="In the image's intensities."
        )
        self.find_button = PushButton(
            name="find_button", text="Mark them",
            tooltip="Make a Labels layer over the image, or add to the one made before. Correct it by painting.",
        )  # fmt: skip
        self.find_button.changed.connect(self.find)
        self.said = Label(name="said", value="")
        wrap(self.said.native)
        self.fields: Container = Container(name="fields")
        self.fields.extend([self.kind, self.threshold])
        let_shrink(self.fields)
        self.fields.margins = self.margins = (0, 0, 0, 0)
        self.extend([self.fold_button, self.fields, self.find_button, self.said])
        self.kind.changed.connect(self._show_kind)
        self.unfold(False)

    def unfold(self, unfolded: bool = True) -> None:
        """Show the fields, or hide them."""
        self.fold_button.text = _UNFOLDED if unfolded else _FOLDED
        self.fields.visible = self.find_button.visible = unfolded
        self.said.visible = unfolded and bool(self.said.value)
        self._show_kind()

    def _show_kind(self) -> None:
        kind = KINDS[self.kind.value]
        self.kind.tooltip = kind.meaning
        self.threshold.visible = self.fold_button.text == _UNFOLDED and kind.needs_threshold

    def find(self) -> None:
        """Mark what is looked for, and say how much that is."""
        kind, image = KINDS[self.kind.value], self._image()
        try:
            pixels = read_source(image, selection=self._at()).image
            arguments = (self.threshold.value,) if kind.needs_threshold else ()
            missing = kind.find(pixels, *arguments)
        except (ValueError, TypeError) as error:
            self._say(begin(str(error)))
            return
        assert image is not None  # or it could not have been read
        if not missing.any():
            self._say(f"Nothing found: {kind.label}.")
            return
        earlier = self._earlier(image, missing.shape)
        if earlier is None:
            layer = mark_over(self._viewer, image, missing, kind.mark)
        else:
            layer = earlier
            new = missing & (np.asarray(layer.data) == 0)
            if new.any():  # as a stroke that can be undone
                layer.data_setitem(np.nonzero(new), kind.mark)
        self._found, self._source = layer, image
        self._on_found(layer)
        count = int(np.count_nonzero(layer.data))
        self._say(f"{say_share(count, missing.size)} marked in “{layer.name}”. Correct it by painting.")

    def _earlier(self, image: Image, shape: tuple[int, ...]) -> Labels | None:
        """Return the layer that was made for this image before, if it is still there."""
        layer = self._found
        if layer is None or layer not in self._viewer.layers or self._source is not image or layer.data.shape != shape:
            return None
        return layer

    def _say(self, sentence: str) -> None:
        self.said.value = sentence
        self.said.visible = self.fold_button.text == _UNFOLDED


class MaskFinderWidget(Container):
    """The mask finder in a dock of its own."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(labels=False)
        self.image = choose_image(napari_viewer, "The image to look at.")
        choice: Container = Container(name="choice")
        choice.append(self.image)
        self.finder = MaskFinder(napari_viewer, lambda: self.image.value, lambda layer: None)
        self.finder.unfold()
        self.finder.fold_button.visible = False
        choice.margins = (0, 0, 0, 0)
        let_shrink(choice)
        self.extend([choice, self.finder])
        LabelAligner(self.native, [[choice, self.finder.fields]])
        self.native.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)  # beside another dock


def mark_over(viewer: Viewer, image: Image, missing: NDArray[np.bool_], mark: int) -> Labels:
    """Add a Labels layer exactly over the image, with a mark where pixels are missing; a name that exists is numbered.

    Parameters
    ----------
    viewer : Viewer
    image : Image
    missing : ndarray
        ``(h, w)`` bool.
    mark : int
    """
    layer = viewer.add_labels(
        missing.astype(np.uint8) * mark, name=f"{image.name} missing", opacity=0.6, **read_place_of_planes(image)
    )
    layer.selected_label = mark
    return layer


def say_share(count: int, size: int) -> str:
    """Return a number of pixels in words, with its share: 412 pixels (0.6 %) are."""
    share = 100 * count / size
    number = "less than 0.1" if 0 < share < 0.1 else f"{share:.1f}" if share < 10 else f"{share:.0f}"
    return f"{count} pixel{'s' if count != 1 else ''} ({number} %) {'are' if count != 1 else 'is'}"
