"""The slider through a finished run: shows earlier and later moments as a layer, and lets the user keep one."""

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
from ..layers.outputs import list_outputs
from ..layers.own_layers import add_output
from ..preferences import read_preferences
from ..request import LayerRequest
from ..words import capitalise
from .failures import explain_failure
from .worker import Job

if TYPE_CHECKING:
    from ...outcome import Moment, Restoration

_CHOSEN = ", chosen"
_HOW_TO_USE = "Move the slider to see another moment of the run; you can then keep it."
_USE, _PREPARING = "Use this one", "Computing …"
_WHAT_USING_DOES = (
    "Keep this moment as a layer, with its residual if you ticked it. Its record holds the step, so you can repeat it. "
    "Smoothed, detail-enhanced and uncertainty need a run of their own."
)
_MOST_BYTES = 256e6  # for all moments together


def keep_moments(request: LayerRequest) -> LayerRequest:
    """Return the request with the number of moments to keep: none for a stack, fewer for a large image."""
    source, options = request.source, request.options
    size = 4 * math.prod(source.axes.plane_shape) * options.enlargement**2
    most = min(read_preferences().snapshots, max(1, int(_MOST_BYTES // size)))
    settings = dataclasses.replace(options.settings, snapshots=most if source.is_single else 0)
    return dataclasses.replace(request, options=dataclasses.replace(options, settings=settings))


class Scrubber(QWidget):
    """Shows moments of a run as the layer "NAME moment"; hidden while there are none.

    A worker computes the image; meanwhile, only the slider's latest position is remembered.
    """

    moment_shown = Signal(object)  # the step that is shown; None at the chosen step
    message = Signal(str)  # for the user
    moment_used = Signal(int, int)  # the step that the user chose, and the one that the run had chosen

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._moments: tuple[Moment, ...] = ()
        self._request: LayerRequest | None = None
        self._chosen_step = self._step_of_run = self._stop_step = 0
        self._layer: Image | None = None
        self._shown: Restoration | None = None  # in the layer
        self._loading: Moment | None = None  # in the worker
        self._forgotten = False
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setPageStep(1)
        self.slider.setToolTip("See other moments of the run. The layer disappears when you return to the chosen step.")
        self.slider.valueChanged.connect(self._on_moved)
        self.step_label = QLabel()
        self.use_button = QPushButton(_USE)
        self.use_button.clicked.connect(self.use)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(QLabel("Show step"))
        layout.addWidget(self.slider, stretch=1)
        layout.addWidget(self.step_label)
        layout.addWidget(self.use_button)
        self.hide()
        viewer.layers.events.removed.connect(self._on_layer_removed)

    def offer(self, result: Restoration, request: LayerRequest) -> None:
        """Offer the moments of a finished run, starting at the chosen one."""
        self.clear()
        if self._forgotten or len(result.moments) < 2:
            return
        self._moments, self._request = result.moments, request
        self._chosen_step = self._step_of_run = result.step
        self._stop_step = result.record.stop_step  # of the whole run: its last step is not always kept
        blocker = QSignalBlocker(self.slider)
        self.slider.setRange(0, len(self._moments) - 1)
        self.slider.setValue(self._index(result.step))
        blocker.unblock()
        widest = self.fontMetrics().horizontalAdvance(f"{self._describe(result.moments[-1].step)}{_CHOSEN}")
        self.step_label.setMinimumWidth(widest)  # so that the slider keeps its length
        self._say_step()
        self.show()

    def clear(self) -> None:
        """Forget the run and its moments."""
        self.return_to_chosen()
        self._moments, self._request = (), None
        self.hide()

    def return_to_chosen(self) -> None:
        """Return the slider to the chosen step, which removes the layer."""
        if self._moments:
            self.slider.setValue(self._index(self._chosen_step))

    def use(self) -> None:
        """Make the shown moment an ordinary layer, and its step the chosen one."""
        if self._layer is None or self._shown is None or self._request is None:
            return
        layer, shown, request = self._layer, self._shown, self._request
        self._layer = self._shown = None
        self._chosen_step = shown.step
        layer.name = f"{request.source.name} restored, step {shown.step}"  # napari numbers a name that exists
        self._add_others(shown, request, layer)
        self._say_step()
        self.moment_shown.emit(None)
        self.moment_used.emit(self._chosen_step, self._step_of_run)
        wanted = list_wanted(find_task(shown.record.task), request.options.settings)
        left = [kind.label for kind in wanted if kind.takes_run and getattr(shown, kind.name) is None]
        without = "" if not left else (
            f" Not included: {' and '.join(left)}, which needs a run of its own. For that, set Stop at step, under "
            f"Advanced, to {shown.step} and press Restore.")  # fmt: skip
        self.message.emit(f"Step {shown.step} is kept as “{layer.name}”.{without}")

    def _add_others(self, shown: Restoration, request: LayerRequest, layer: Image) -> None:
        """Add the moment's other outputs, such as the residual, below its layer."""
        layers, source = self._viewer.layers, request.source
        others = list_outputs(shown, source, request.original_type)[:-1]
        for output in others:
            add_output(self._viewer, source, output, f"{source.name} {output.suffix}, step {shown.step}")
        if others:
            layers.move(layers.index(layer), len(layers))
            layers.selection.active = layer

    def forget_viewer(self) -> None:
        """Disconnect from the viewer, because it or the plugin closes."""
        self._forgotten = True
        self._viewer.layers.events.removed.disconnect(self._on_layer_removed)
        self._remove_layer()
        self._moments = ()
        self.hide()

    @property
    def _wanted(self) -> Moment | None:
        """The moment at the slider's position; None at the chosen step."""
        if not self._moments:
            return None
        moment = self._moments[self.slider.value()]
        return None if moment.step == self._chosen_step else moment

    def _index(self, step: int) -> int:
        return next(n for n, moment in enumerate(self._moments) if moment.step == step)

    def _describe(self, step: int) -> str:
        return f"{step} of {self._stop_step}{_CHOSEN if step == self._chosen_step else ''}"

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
        self.step_label.setText(self._describe(self._moments[self.slider.value()].step))
        shown = self._shown is not None and wanted is not None and self._shown.step == wanted.step
        self.use_button.setEnabled(shown)
        self.use_button.setToolTip(_WHAT_USING_DOES if shown else _HOW_TO_USE)
        self.use_button.setText(_USE if shown or wanted is None else _PREPARING)

    def _read(self) -> None:
        """Compute the image of the wanted moment, unless it is shown or another one is being computed."""
        wanted = self._wanted
        if self._loading is not None or wanted is None or (self._shown and self._shown.step == wanted.step):
            return
        self._loading = wanted
        Job(read_moment, wanted, on_result=self._on_read, on_error=self._on_error).start()

    def _on_read(self, restoration: Restoration) -> None:
        moment, self._loading = self._loading, None
        if self._forgotten:
            return
        if self._wanted is not None and any(moment is each for each in self._moments):  # else from an earlier run
            self._show(restoration)
            self._say_step()
        self._read()

    def _on_error(self, error: Exception) -> None:
        self._loading = None
        if not self._forgotten:
            self.return_to_chosen()
            show_error(capitalise(str(error)))

    def _show(self, restoration: Restoration) -> None:
        assert self._request is not None
        source = self._request.source
        output = list_outputs(restoration, source, self._request.original_type)[-1]
        if self._layer is None:
            self._layer = add_output(self._viewer, source, output, f"{source.name} moment")
        else:
            self._layer.data, self._layer.metadata = output.data, output.metadata
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
    """Compute a moment's image in napari's worker; turn errors into sentences."""
    try:
        return moment.restoration()
    except (RuntimeError, MemoryError) as error:
        failure = explain_failure(error)
    raise failure
