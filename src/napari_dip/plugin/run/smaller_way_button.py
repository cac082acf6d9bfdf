"""The button that offers a smaller way when the memory was not enough."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from magicgui.widgets import PushButton

from ...smaller_way import find_smaller_way
from ..request import LayerRequest

_LEFT = {True: "The layers are as they were.", False: "The planes that are done are kept."}


class SmallerWayButton(PushButton):
    """Hidden until a run did not fit; starts the same run in the next smaller way.

    Parameters
    ----------
    start : callable
        Called with the request to start.
    """

    def __init__(self, start: Callable[[LayerRequest], None]) -> None:
        super().__init__(name="smaller_way_button", text="", visible=False)
        self._start = start
        self._request: LayerRequest | None = None
        self.changed.connect(self._try)

    def offer(self, failed: LayerRequest) -> str:
        """Offer what is smaller than the request that failed, and return what to say of it."""
        source, how = failed.source, failed.how
        rows, columns = source.axes.plane_shape[:2]
        way = find_smaller_way(how.settings, how.task, (rows, columns))
        if way is None or (way.region is not None and not source.is_single):
            return "There is no smaller way: close other programs, or restore a smaller image."
        self._request = dataclasses.replace(
            failed,
            source=source if way.region is None else source.cut(way.region),
            how=dataclasses.replace(how, settings=way.settings),
        )
        self.text = f"Try {way.words.partition(',')[0]}"
        self.tooltip = f"The same image and task, with {way.words}."
        self.visible = True
        return f"{_LEFT[source.is_single]} The next smaller way: {way.words}."

    def withdraw(self) -> None:
        """Forget the request; the button goes."""
        self._request, self.visible = None, False

    def _try(self) -> None:
        if self._request is not None:
            self._start(self._request)
