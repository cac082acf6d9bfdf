"""What the user sees of a run: the preview in its place, layers that fill in, curves and messages."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from napari.viewer import Viewer

from ...many.past_runs import keep_run
from ...measurement.task import find_task
from ...record import Record
from ..layers.preview_layer import PreviewLayer
from ..layers.result_layers import ResultLayers
from ..layers.source import Place, place_of
from ..request import LayerRequest
from .improvement import Improvement
from .restoring import RunReport
from .run import Run
from .run_words import RunState, Summary, describe_cancelled, describe_end, describe_finished, describe_state

if TYPE_CHECKING:
    from .band_plot import BandPlot


class RunView:
    """Shows one run at a time, and remembers unfinished ones."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer, self.preview = viewer, PreviewLayer(viewer)
        self._unfinished: list[ResultLayers] = []
        self._layers: ResultLayers | None = None
        self._drawn: object = None  # which plane and tile the curves belong to
        self._concluded: Place | None = None  # the last plane that ended; reports of it that arrive later are ignored
        self._improvement = Improvement()
        self._done = 0  # of the bar
        self._before = 0  # planes that an earlier run had finished
        self._stopped = ""  # the name of the layer with the unfinished plane of a stopped run
        self.failures: list[str] = []  # why planes were skipped
        self.kept: list[str] = []  # the names of the last run's layers
        self.last: ResultLayers | None = None  # of the last run that ended with a result

    def begin(self, request: LayerRequest) -> Mapping[Place, Record]:
        """Get ready for a run; return the records of planes that an earlier one has finished."""
        self.preview.begin()
        self._drawn = self._concluded = self.last = None
        self._improvement, self._done = Improvement(), 0
        self._unfinished = [each for each in self._unfinished if each.is_shown]
        self._layers = self._find_unfinished(request) or ResultLayers(self._viewer, request, self.preview)
        self._stopped, self.failures, self._before = "", [], len(self._layers.records)
        return dict(self._layers.records)

    @property
    def has_unfinished(self) -> bool:
        """Whether the viewer has layers that a run was stopped in."""
        return any(each.is_shown for each in self._unfinished)

    def count_finished(self, request: LayerRequest) -> int:
        """Return how many planes of a request an earlier run has finished, unless their pixels have changed since."""
        layers = self._find_unfinished(request)
        return 0 if layers is None else len(layers.records)

    def _find_unfinished(self, request: LayerRequest) -> ResultLayers | None:
        """Return the latest layers that a run of this request would fill in further."""
        return next((each for each in reversed(self._unfinished) if each.can_continue_with(request)), None)

    def show(self, report: RunReport, run: Run) -> bool:
        """Show a report in the layers; return whether the curves must follow at once, because a plane has ended."""
        layers, request = self._present, run.request
        if report.failure:
            self.failures.append(report.failure)
        elif report.progress is None and layers.records and not report.continues:
            # the pixels have changed since; the old layers stay as they are
            self._layers, self._before = ResultLayers(self._viewer, request, self.preview), 0
        if report.progress is None:
            return False
        if not report.is_finished:
            self.preview.show(request.source, report.plane, report.progress, request.options.enlargement)
        if report.result is None:
            return False
        if report.is_finished:
            layers.fill(report.plane, report.result, report.converted)
            if not run.was_paused:
                keep_run(report.result)
            if layers not in self._unfinished:
                self._unfinished.append(layers)
            self.preview.raise_to_top()
        else:
            self._stopped = layers.keep_stopped(report.plane, report.result, report.converted)
        return True

    def show_curves(self, report: RunReport, run: Run, plot: BandPlot) -> None:
        """Draw the curves of the current plane, or explain its stop."""
        progress, place = report.progress, place_of(report.plane)
        if progress is None or place == self._concluded:
            return
        if (place, progress.tile) != self._drawn:
            self._drawn = place, progress.tile
            plot.start(run.request.options.settings.bands)
        if report.result is not None:
            self._concluded = place
            plot.show_result(report.result, run.request, plane=run.request.source.describe(report.plane))
        elif progress.stage == ("restoring" if find_task(run.request.options.task).removes_noise else "smoothing"):
            plot.add(progress.report)

    def describe(self, report: RunReport, run: Run) -> RunState | None:
        """Return how far the run is; None if there is nothing new."""
        if report.progress is None or (report.result is None and place_of(report.plane) == self._concluded):
            return None
        slow = report.result is None and self._improvement.is_slow(report.progress, run.seconds)
        state = describe_state(report, report.progress, run, in_view=self.preview.is_in_view, slow=slow)
        self._done = max(self._done, state.done)  # what is left may grow, but a bar that goes back only worries
        return dataclasses.replace(state, done=self._done)

    def conclude(self, run: Run) -> Summary:
        """End a run that did not fail; return a message about its result."""
        layers, self._layers = self._present, None
        self.preview.remove()
        layers.select()
        if len(layers.records) == layers.count:
            self._unfinished = [each for each in self._unfinished if each is not layers]
        self.kept = [*filter(None, (*layers.names, self._stopped))]
        self.last = layers if layers.records else None
        return describe_end(layers, self.failures, self._stopped, self._viewer, run.seconds, self._before)

    def cancel(self) -> str:
        """End a run that the user has cancelled: remove the preview, keep finished planes; return a message."""
        layers, self._layers = self._present, None
        self.preview.remove()
        self.last = layers if layers.records else None
        return describe_cancelled(layers)

    def fail(self) -> str:
        """End a run that failed; return a message about what is kept."""
        layers, self._layers = self._present, None
        self.preview.remove()
        return describe_finished(layers, self.failures)

    @property
    def _present(self) -> ResultLayers:
        """The layers of the current run."""
        assert self._layers is not None
        return self._layers
