"""Before and after, by turns in the same place: the eye sees what changes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from napari.layers import Image
from napari.viewer import Viewer
from qtpy.QtCore import QTimer

_MS = 900  # for each of the two
_TEXT = ("text", "visible")


class Comparison:
    """Shows the original and the result by turns, with a word in the corner; leaves the view as it was.

    It uses nothing but the layers' visibility, so that zoom, slices, contrast and even 3D stay as the user has them.

    Parameters
    ----------
    viewer : Viewer
    on_end : callable
        Called when it ends, also by itself, because one of the layers was removed.
    """

    def __init__(self, viewer: Viewer, on_end: Callable[[], None]) -> None:
        self._viewer, self._on_end = viewer, on_end
        self._before: Image | None = None
        self._after: Image | None = None
        self._shown: list[tuple[Image, bool]] = []  # which layers were visible
        self._text: dict[str, Any] = {}  # what the corner said
        self._timer = QTimer()
        self._timer.setInterval(_MS)
        self._timer.timeout.connect(self.turn)

    @property
    def is_on(self) -> bool:
        """Whether it is going on."""
        return self._before is not None

    def begin(self, before: Image, after: Image) -> None:
        """Show the original, then the result, and so on; hide what lies over them."""
        self.end()
        layers = [layer for layer in self._viewer.layers if isinstance(layer, Image)]
        self._shown = [(layer, layer.visible) for layer in layers]
        text = self._overlay
        self._text = {name: getattr(text, name) for name in _TEXT}
        self._before, self._after = before, after
        for layer in layers:
            if layer.visible and layer not in (before, after):
                layer.visible = False
        self._show(after=False)
        text.visible = True
        self._viewer.layers.events.removed.connect(self._on_removed)
        self._timer.start()

    def turn(self) -> None:
        """Show the other one."""
        if self._after is not None:
            self._show(after=not self._after.visible)

    def end(self) -> None:
        """Show the layers, and say in the corner, what was there before."""
        self._timer.stop()
        if not self.is_on:
            return
        shown, self._shown, self._before, self._after = self._shown, [], None, None
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        with contextlib.suppress(RuntimeError):  # the viewer closes
            for layer, visible in shown:
                if layer in self._viewer.layers and layer.visible != visible:
                    layer.visible = visible
            for name, value in self._text.items():
                setattr(self._overlay, name, value)
        self._on_end()

    @property
    def _overlay(self) -> Any:
        """The viewer's text in the corner; napari 0.9 moved it."""
        canvas = getattr(self._viewer, "canvas", None)
        return self._viewer.text_overlay if canvas is None else canvas.overlays.text

    def _show(self, *, after: bool) -> None:
        assert self._before is not None
        assert self._after is not None
        # the new one first, so that no empty canvas is drawn in between
        first, second = (self._after, self._before) if after else (self._before, self._after)
        first.visible = True
        second.visible = False
        self._overlay.text = "after" if after else "before"

    def _on_removed(self) -> None:
        if self._before not in self._viewer.layers or self._after not in self._viewer.layers:
            self.end()
