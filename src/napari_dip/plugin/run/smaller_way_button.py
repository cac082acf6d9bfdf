"""The button that offers a smaller run after one ran out of memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from magicgui.widgets import PushButton

from ...smaller_way import find_smaller_way
from ..request import LayerRequest

_KEPT = {True: "No layer was changed.", False: "Finished planes are kept."}


class SmallerWayButton(PushButton):
    """Hidden until a run needs too much memory; then starts the same run with the next smaller settings.

    Parameters
    ----------
    start : callable
        Called with the request for the smaller run.
    """

    def __init__(self, start: Callable[[LayerRequest], None]) -> None:
        super().__init__(name="smaller_way_button", text="", visible=False)
        self._start = start
        self._request: LayerRequest | None = None
        self.changed.connect(self._try)

    def offer(self, failed: LayerRequest) -> str:
        """Offer a smaller run than the one that failed, and return a message about it."""
        source, options = failed.source, failed.options
        rows, columns = source.axes.plane_shape[:2]
        way = find_smaller_way(options.settings, options.task, (rows, columns))
        if way is None or (way.region is not None and not source.is_single):
            return "No smaller run is possible: close other programs, or restore a smaller image."
        self._request = dataclasses.replace(
            failed,
            source=source if way.region is None else source.cut(way.region),
            options=dataclasses.replace(options, settings=way.settings),
        )
        self.text = f"Try {way.words.partition(',')[0]}"
        self.tooltip = f"The same image and task, with {way.words}."
        self.visible = True
        return f"{_KEPT[source.is_single]} You can try {way.words}."

    def withdraw(self) -> None:
        """Forget the request and hide the button."""
        self._request, self.visible = None, False

    def _try(self) -> None:
        if self._request is not None:
            self._start(self._request)
