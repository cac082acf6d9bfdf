"""Commands of the palette and the Layers menu: restore the selected layers one after the other, without the form."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections import deque
from collections.abc import Callable, Iterable

from napari.layers import Image, Labels, Layer, Shapes
from napari.utils import cancelable_progress
from napari.utils.notifications import show_error, show_info
from napari.viewer import Viewer

from ..measurement.task import find_task
from ..request import Request
from ..settings import Settings
from .layers.layer_axes import count_dimensions, find_layer_axes
from .layers.source import read_source
from .preferences import read_preferences
from .request import LayerRequest
from .run.restoring import RunReport
from .run.run import Run
from .run.run_view import RunView
from .run.turns import Turns
from .words import capitalise

_PARTS = 1000  # of the bar in the activity dock


def denoise_selected_layers(viewer: Viewer) -> None:
    """Remove noise from every selected Image layer, with the quality of the preferences."""
    _restore_selected(viewer, "denoise", read_preferences().quality)


def denoise_selected_layers_fast(viewer: Viewer) -> None:
    """Remove noise from every selected Image layer, with the quality "Fast"."""
    _restore_selected(viewer, "denoise", "fast")


def fill_missing_pixels(viewer: Viewer) -> None:
    """Fill in the pixels of the selected Image layers that a Labels or Shapes layer marks, and those that are NaN.

    The marks are those of a selected Labels or Shapes layer, or else of the only one in the viewer.
    """
    _restore_selected(viewer, "inpaint", read_preferences().quality)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Order:
    """A layer to restore.

    Attributes
    ----------
    image : Image
        All its planes are restored.
    options : Request
    marks : Labels, Shapes or None
        Marks missing pixels.
    """

    image: Image
    options: Request
    marks: Labels | Shapes | None = None

    def make_request(self) -> LayerRequest:
        """Return what to restore; the worker reads the pixels."""
        image, axes, neighbours = self.image, None, None
        if count_dimensions(image) > 2:
            axes = find_layer_axes(image)
            neighbours = "auto" if find_task(self.options.task).takes_neighbours else None
        source = read_source(image, self.marks, layer_axes=axes, selection={})
        pace = read_preferences().previews_per_second
        return LayerRequest(source, self.options, previews_per_second=pace, neighbours=neighbours)


def _restore_selected(viewer: Viewer, task: str, quality: str) -> None:
    layers, selected = viewer.layers, viewer.layers.selection
    images = [layer for layer in layers if layer in selected and isinstance(layer, Image)]
    if not images:
        show_info("Select one or more Image layers first.")
        return
    options = Request(task, dataclasses.replace(Settings.preset(quality), device=read_preferences().device))
    marks = _find_marks(layers, selected) if task == "inpaint" else None
    _find_queue(viewer).add(Order(image, options, marks) for image in images)


def _find_marks(layers: Iterable[Layer], selected: Iterable[Layer]) -> Labels | Shapes | None:
    """Return the selected Labels or Shapes layer, or else the only one; None if there is none, or no telling which."""
    candidates = [layer for layer in layers if isinstance(layer, Labels | Shapes)]
    chosen = [layer for layer in candidates if layer in selected] or candidates
    return chosen[0] if len(chosen) == 1 else None


_queues: list[LayerQueue] = []  # at work; nobody else holds them


def _find_queue(viewer: Viewer) -> LayerQueue:
    """Return the viewer's queue at work, or a new one."""
    viewer = inspect.unwrap(viewer)  # commands get a new wrapper every time
    return next((each for each in _queues if each.viewer is viewer), None) or LayerQueue(viewer)


class LayerQueue:
    """Restores layers one after the other; a bar in the activity dock shows how far it is, and can cancel.

    Attributes
    ----------
    viewer : Viewer
    waiting : deque of Order
    """

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.waiting: deque[Order] = deque()
        self._view, self._turns = RunView(viewer), Turns()
        self._run: Run | None = None
        self._bar: cancelable_progress | None = None
        self._window_is_gone = False
        # there is no form here whose closing would end the run
        viewer.window._qt_window.destroyed.connect(self._on_window_destroyed)

    def add(self, orders: Iterable[Order]) -> None:
        """Restore these layers, after those that are waiting already."""
        self.waiting.extend(orders)
        if self not in _queues:
            _queues.append(self)
            self._start_next()

    def _start_next(self) -> None:
        while self.waiting:
            order = self.waiting.popleft()
            if order.image not in self.viewer.layers:
                continue
            try:
                request = order.make_request()
            except (ValueError, TypeError, OSError) as error:  # OSError: a lazy layer reads its file only now
                self._say_problem(order.image.name, str(error))
                continue
            more = f", {len(self.waiting)} more" if self.waiting else ""
            self._bar = cancelable_progress(total=_PARTS, desc=f"“{order.image.name}”{more}")
            self._run = Run(
                request, self._view.begin(request), on_report=self._later(self._on_report), on_phase=lambda words: None,
                on_end=self._later(self._on_end), on_error=self._later(self._on_error),
                on_finished=self._later(self._on_finished),
            )  # fmt: skip
            self._run.start()
            return
        _queues.remove(self)
        if not self._window_is_gone:
            self.viewer.window._qt_window.destroyed.disconnect(self._on_window_destroyed)

    def _on_window_destroyed(self) -> None:
        self._window_is_gone = True
        self.waiting.clear()
        if self._run is not None:
            self._run.abandon()

    def _later(self, do: Callable[..., None]) -> Callable[..., None]:
        """Return what does this in its turn."""

        def take_turn(*told: object) -> None:
            self._turns.take(lambda: do(*told))

        return take_turn

    def _on_report(self, report: RunReport) -> None:
        run, bar = self._run, self._bar
        if run is None or bar is None or run.abandoned:
            return
        if bar.is_canceled:
            self.waiting.clear()
            run.abandon()
            return
        self._view.show(report, run)
        state = self._view.describe(report, run)
        if state is not None:
            bar.update(round(_PARTS * state.done / state.total) - bar.n)

    def _on_end(self, nothing: None) -> None:
        if self._run is not None and not self._run.abandoned:
            name = self._run.request.source.layer_name
            summary = self._view.conclude(self._run)
            if self._view.failures:
                self._say_problem(name, summary.sentence)
            else:
                show_info(f"“{name}”: {summary.sentence}")

    def _on_error(self, error: Exception) -> None:
        if self._run is not None:
            sentence = str(error) or type(error).__name__
            self._say_problem(self._run.request.source.layer_name, f"{sentence} {self._view.fail()}".strip())

    def _on_finished(self) -> None:
        run, self._run = self._run, None
        if self._bar is not None:
            with contextlib.suppress(RuntimeError):  # Qt may have deleted it with the window
                self._bar.close()
            self._bar = None
        if run is not None and run.abandoned:  # cancelled, or the window closes
            self.waiting.clear()
            if not (run.window_closes or self._window_is_gone):
                show_info(self._view.cancel())
        self._start_next()

    def _say_problem(self, name: str, sentence: str) -> None:
        show_error(f"“{name}”: {capitalise(sentence)}")
