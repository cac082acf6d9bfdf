"""The slider through a finished run: earlier and later moments as a layer of their own, and the one to use instead."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from napari.layers import Image
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSlider, QWidget

from ...measurement.task import find_task
from ...outputs import list_wanted
from ..layers.made_layers import add_made
from ..layers.outputs import list_outputs
from ..preferences import read_preferences
from ..request import LayerRequest
from ..words import begin
from .failures import explain_failure
from .worker import Job

if TYPE_CHECKING:
    from ...outcome import Moment, Restoration

_CHOSEN = ", chosen"
_HOW_TO_USE = "Move the slider: another moment of the run is shown, and can then be used instead."
_USE, _BEING_MADE = "Use this one", "Being made …"
_WHAT_USING_DOES = (
    "Keep this moment as a layer, and its residual if that was asked for. Its record has the step, so that it can be "
    "repeated. Smoothed, detail-enhanced and uncertainty take a run of their own."
)
_MOST_BYTES = 256e6  # of all moments together


def keep_moments(request: LayerRequest) -> LayerRequest:
    """Return the request with as many moments kept as are worth a slider, fewer of a large image."""
    source, how = request.source, request.how
    size = 4 * math.prod(source.axes.plane_shape) * how.enlargement**2
    most = min(read_preferences().snapshots, max(1, int(_MOST_BYTES // size)))
    settings = dataclasses.replace(how.settings, snapshots=most if source.is_single else 0)  # too many of every plane
    return dataclasses.replace(request, how=dataclasses.replace(how, settings=settings))


class Scrubber(QWidget):
    """Shows moments of a run as the layer "NAME moment"; hidden while there are none.

    The image is made in a worker; while one is being made, only the latest position is remembered.
    """

    moment_shown = Signal(object)  # the step that is looked at; None when it is the chosen one
    said = Signal(str)  # a sentence for the user
    moment_used = Signal(int, int)  # the step that is used from now on, and the one that the run had chosen

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._moments: tuple[Moment, ...] = ()
        self._request: LayerRequest | None = None
        self._chosen_step = self._step_of_run = 0
        self._layer: Image | None = None
        self._shown: Restoration | None = None  # what the layer shows
        self._reading: Moment | None = None  # what a worker makes
        self._forgotten = False
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setPageStep(1)
        self.slider.setToolTip("Look at other moments of the run. Back at the chosen step, the layer goes.")
        self.slider.valueChanged.connect(self._on_moved)
        self.reading = QLabel()
        self.use_button = QPushButton(_USE)
        self.use_button.clicked.connect(self.use)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(QLabel("Look at step"))
        layout.addWidget(self.slider, stretch=1)
        layout.addWidget(self.reading)
        layout.addWidget(self.use_button)
        self.hide()
        viewer.layers.events.removed.connect(self._on_layer_removed)

    def offer(self, result: Restoration, request: LayerRequest) -> None:
        """Offer the moments of a finished run, the chosen one first."""
        self.clear()
        if self._forgotten or len(result.moments) < 2:
            return
        self._moments, self._request = result.moments, request
        self._chosen_step = self._step_of_run = result.step
        blocker = QSignalBlocker(self.slider)
        self.slider.setRange(0, len(self._moments) - 1)
        self.slider.setValue(self._index(result.step))
        blocker.unblock()
        widest = self.fontMetrics().horizontalAdvance(f"{self._describe(result.moments[-1].step)}{_CHOSEN}")
        self.reading.setMinimumWidth(widest)  # the slider keeps its length while it moves
        self._say_step()
        self.show()

    def clear(self) -> None:
        """Forget the run and its moments."""
        self.return_to_chosen()
        self._moments, self._request = (), None
        self.hide()

    def return_to_chosen(self) -> None:
        """Scrub no longer: the layer goes, the slider returns to the chosen step."""
        if self._moments:
            self.slider.setValue(self._index(self._chosen_step))

    def use(self) -> None:
        """Make the moment that is shown an ordinary layer, and the chosen step."""
        if self._layer is None or self._shown is None or self._request is None:
            return
        layer, shown, request = self._layer, self._shown, self._request
        self._layer = self._shown = None
        self._chosen_step = shown.step
        layer.name = f"{request.source.name} restored, step {shown.step}"  # napari numbers it if there is one
        self._add_others(shown, request, layer)
        self._say_step()
        self.moment_shown.emit(None)
        self.moment_used.emit(self._chosen_step, self._step_of_run)
        wanted = list_wanted(find_task(shown.record.task), request.how.settings)
        left = [kind.label for kind in wanted if kind.takes_run and getattr(shown, kind.name) is None]
        without = "" if not left else (
            f" Not made: {' and '.join(left)}, which takes a run of its own. For that, type "
            f"{shown.step} under Advanced, Step chosen by hand, and press Restore.")  # fmt: skip
        self.said.emit(f"Step {shown.step} is kept as “{layer.name}”.{without}")

    def _add_others(self, shown: Restoration, request: LayerRequest, layer: Image) -> None:
        """Add below the layer of a moment what else was asked for and can be read off it: the residual."""
        layers, source = self._viewer.layers, request.source
        others = list_outputs(shown, source, request.original_type)[:-1]
        for made in others:
            add_made(self._viewer, source, made, f"{source.name} {made.suffix}, step {shown.step}")
        if others:
            layers.move(layers.index(layer), len(layers))
            layers.selection.active = layer

    def forget_viewer(self) -> None:
        """Touch the viewer no more; it or the plugin closes."""
        self._forgotten = True
        self._viewer.layers.events.removed.disconnect(self._on_layer_removed)
        self._remove_layer()
        self._moments = ()
        self.hide()

    @property
    def _wanted(self) -> Moment | None:
        """The moment that the slider asks for; None where it is the chosen one."""
        if not self._moments:
            return None
        moment = self._moments[self.slider.value()]
        return None if moment.step == self._chosen_step else moment

    def _index(self, step: int) -> int:
        return next(n for n, moment in enumerate(self._moments) if moment.step == step)

    def _describe(self, step: int) -> str:
        return f"{step} of {self._moments[-1].step}{_CHOSEN if step == self._chosen_step else ''}"

    def _on_moved(self) -> None:
        self._say_step()
        wanted = self._wanted
        self.moment_shown.emit(None if wanted is None else wanted.step)
        if wanted is None:
            self._remove_layer()
        else:
            self._read()

    def _say_step(self) -> None:
        wanted = self._wanted
        self.reading.setText(self._describe(self._moments[self.slider.value()].step))
        shown = self._shown is not None and wanted is not None and self._shown.step == wanted.step
        self.use_button.setEnabled(shown)
        self.use_button.setToolTip(_WHAT_USING_DOES if shown else _HOW_TO_USE)
        self.use_button.setText(_USE if shown or wanted is None else _BEING_MADE)

    def _read(self) -> None:
        """Make the image of the moment that is wanted, unless it is shown or another is being made."""
        wanted = self._wanted
        if self._reading is not None or wanted is None or (self._shown and self._shown.step == wanted.step):
            return
        self._reading = wanted
        Job(read_moment, wanted, on_result=self._on_read, on_error=self._on_error).start()

    def _on_read(self, restoration: Restoration) -> None:
        moment, self._reading = self._reading, None
        if self._forgotten:
            return
        if self._wanted is not None and any(moment is each for each in self._moments):  # else of a run before
            self._show(restoration)
            self._say_step()
        self._read()

    def _on_error(self, error: Exception) -> None:
        self._reading = None
        if not self._forgotten:
            self.return_to_chosen()
            show_error(begin(str(error)))

    def _show(self, restoration: Restoration) -> None:
        assert self._request is not None
        source = self._request.source
        made = list_outputs(restoration, source, self._request.original_type)[-1]
        if self._layer is None:
            self._layer = add_made(self._viewer, source, made, f"{source.name} moment")
        else:
            self._layer.data, self._layer.metadata = made.data, made.metadata
        self._shown = restoration

    def _remove_layer(self) -> None:
        layer, self._layer, self._shown = self._layer, None, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _on_layer_removed(self) -> None:
        if self._layer is not None and self._layer not in self._viewer.layers:
            self._layer = self._shown = None
            self.return_to_chosen()


def read_moment(moment: Moment) -> Restoration:
    """Make a moment's image in napari's worker; errors become sentences."""
    try:
        return moment.restoration()
    except (RuntimeError, MemoryError) as error:
        failure = explain_failure(error)
    raise failure
