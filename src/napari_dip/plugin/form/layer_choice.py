"""The choice of a layer: it follows the selection until the user chooses a layer, then stays with that one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from magicgui.widgets import ComboBox
from napari.layers import Image, Layer
from napari.viewer import Viewer
from qtpy.QtCore import QSignalBlocker

from ..layers.own_layers import is_own_layer


class LayerChoice(ComboBox):
    """A combo box of the viewer's layers of some types.

    magicgui's own combo box keeps the chosen *text*: rename that layer, and the box shows and means another one.

    Parameters
    ----------
    viewer : Viewer
    types : tuple of type
        The types of layers to offer.
    follows_selection : bool
        Whether it shows the selected layer until the user chooses one, if that layer is visible and was not added by
        this plugin. Otherwise it shows none until then.
    **options
        Passed on to ComboBox.

    Attributes
    ----------
    lost_name : str
        The name of the layer that the user chose and that was then removed; empty once another is chosen.
    on_lost : callable
        Called when ``lost_name`` changes.
    """

    _viewer: Viewer | None = None  # until __init__ is done, because magicgui asks for choices before that

    def __init__(self, viewer: Viewer, types: tuple[type[Layer], ...], *, follows_selection: bool, **options: Any):
        super().__init__(choices=(), nullable=not follows_selection, **options)
        self._types, self._follows = types, follows_selection
        self._layer: Layer | None = None  # the chosen layer; the combo box only shows it
        self._name = self.lost_name = ""
        self._by_hand = self._refreshing = False
        self._watched: list[Layer] = []
        self.on_lost: Callable[[], object] = lambda: None
        self._viewer = viewer
        self.native.activated.connect(self._on_activated)  # fires even if the user picks the current entry
        self.changed.connect(self._on_changed)
        viewer.layers.selection.events.active.connect(self.reset_choices)
        self.reset_choices()

    @property
    def value(self) -> Any:
        """The chosen layer, or None."""
        return self._layer

    @value.setter
    def value(self, layer: Any) -> None:
        self.reset_choices()  # the layer may be new
        ComboBox.value.fset(self, layer)  # type: ignore[attr-defined]
        self._choose_by_hand(self.native.currentData())

    @property
    def is_by_hand(self) -> bool:
        """Whether the user chose the layer here; otherwise it follows the selection."""
        return self._by_hand

    def reset_choices(self, *_: Any) -> None:
        """Offer the current layers; the chosen one stays chosen, whatever its name and position."""
        if self._viewer is None or self._refreshing:
            return
        layers = [self._known(layer) for layer in self._viewer.layers if isinstance(layer, self._types)]
        before, gone = self._layer, self._layer is not None and self._layer not in layers
        lost = gone and self._by_hand
        if gone:
            self._layer = None
        if lost:
            self._by_hand, self.lost_name = False, self._name
        if self._follows and not self._by_hand:
            self._layer = self._find_selected(layers)
        self._refreshing = True
        try:
            self._watch(layers)
            self._show(layers)
            if self._layer != before:
                self.changed.emit(self._layer)
        finally:
            self._refreshing = False
        if lost:
            self.on_lost()

    def forget_lost(self) -> None:
        """Forget the layer that was removed, and the note about it."""
        if self.lost_name:
            self.lost_name = ""
            self.on_lost()

    def forget_viewer(self) -> None:
        """Disconnect from the viewer."""
        viewer, self._viewer = self._viewer, None
        self._watch([])
        if viewer is not None:
            with contextlib.suppress(ValueError, RuntimeError):
                viewer.layers.selection.events.active.disconnect(self.reset_choices)

    def _known(self, layer: Layer) -> Layer:
        """Return the object that already stands for this layer: napari gives plugins a new wrapper every time."""
        return next((each for each in self._watched if each == layer), layer)

    def _find_selected(self, layers: list[Layer]) -> Layer | None:
        """Return the selected layer if it is visible and not ours, else the current one, else the topmost such one."""
        assert self._viewer is not None
        active = self._viewer.layers.selection.active
        likely = [layer for layer in layers if layer.visible and not is_own_layer(layer)]
        if active in likely:
            return next(layer for layer in likely if layer == active)
        if self._layer in layers:
            return self._layer
        return next(iter([*reversed(likely), *layers]), None)

    def _show(self, layers: list[Layer]) -> None:
        """List the layers' names, and show the chosen one."""
        offered: list[tuple[str, Layer | None]] = [(layer.name, layer) for layer in layers]
        if self._nullable:
            offered.insert(0, (self.null_string, None))
        native = self.native
        blocker = QSignalBlocker(native)
        if [native.itemData(n) for n in range(native.count())] == [layer for _, layer in offered]:
            for n, (name, _) in enumerate(offered):
                native.setItemText(n, name)
        else:
            native.clear()
            for name, layer in offered:
                native.addItem(name, layer)
        native.setCurrentIndex(next((n for n, (_, layer) in enumerate(offered) if layer == self._layer), -1))
        blocker.unblock()
        self._name = "" if self._layer is None else self._layer.name

    def _watch(self, layers: list[Layer]) -> None:
        """Listen for layers being renamed or shown; napari's layer list reports names only in newer versions."""
        for layers_then, connect in ((self._watched, False), (layers, True)):
            for layer in layers_then:
                for event in (layer.events.name, layer.events.visible):
                    with contextlib.suppress(ValueError, RuntimeError):
                        event.connect(self.reset_choices) if connect else event.disconnect(self.reset_choices)
        self._watched = list(layers)

    def _on_activated(self, index: int) -> None:
        self._choose_by_hand(self.native.itemData(index))

    def _on_changed(self, layer: Layer | None) -> None:
        if not self._refreshing:
            self._choose_by_hand(layer)

    def _choose_by_hand(self, layer: Layer | None) -> None:
        self._layer, self._name = layer, "" if layer is None else layer.name
        self._by_hand, self.lost_name = layer is not None, ""
        self.on_lost()


def choose_image(viewer: Viewer, tooltip: str) -> LayerChoice:
    """Return a choice of Image layers, which follows the selection until the user chooses one."""
    return LayerChoice(
        viewer, (Image,), follows_selection=True, name="image", label="Image",
        tooltip=f"{tooltip} It follows the selected layer until you choose one here.",
    )  # fmt: skip
