"""What the user sees of a run: the preview at its place, layers that fill in, the curves, and words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from napari.viewer import Viewer

from ...measurement.task import find_task
from ...record import Record
from ..layers.preview_layer import PreviewLayer
from ..layers.result_layers import ResultLayers
from ..layers.source import Place, place_of
from ..request import LayerRequest
from .restoring import RunReport
from .run import Run
from .run_words import RunState, say_done, say_end, say_state

if TYPE_CHECKING:
    from .band_plot import BandPlot


class RunView:
    """Shows one run at a time, and remembers those that are not finished."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer, self.preview = viewer, PreviewLayer(viewer)
        self._unfinished: list[ResultLayers] = []
        self._layers: ResultLayers | None = None
        self._drawn: object = None  # of what curves are drawn
        self._concluded: Place | None = None  # the last plane that has ended: later reports of it come too late
        self._stopped = ""  # the layer of the plane at work, if the run was stopped
        self.failures: list[str] = []  # what is wrong with planes that were left out
        self.kept: list[str] = []  # the layers that the last run has become

    def begin(self, request: LayerRequest) -> Mapping[Place, Record]:
        """Be ready for a run; return the records of planes that an earlier one has done."""
        self.preview.begin()
        self._drawn = self._concluded = None
        self._unfinished = [each for each in self._unfinished if each.is_shown]
        fitting = (each for each in reversed(self._unfinished) if each.can_go_on_with(request))
        self._layers = next(fitting, None) or ResultLayers(self._viewer, request, self.preview)
        self._stopped, self.failures = "", []
        return dict(self._layers.records)

    def show(self, report: RunReport, run: Run) -> bool:
        """Show a report in the layers; return whether the curves must follow at once: those of a plane that is done."""
        layers, request = self._present, run.request
        if report.why_not:
            self.failures.append(report.why_not)
        elif report.progress is None and layers.records and not report.goes_on:
            # the pixels have changed since: what is done stays as it is
            self._layers = ResultLayers(self._viewer, request, self.preview)
        if report.progress is None:
            return False
        if not report.is_done:
            self.preview.show(request.source, report.plane, report.progress, request.how.enlargement)
        if report.result is None:
            return False
        if report.is_done:
            layers.fill(report.plane, report.result)
            if layers not in self._unfinished:
                self._unfinished.append(layers)
            self.preview.raise_to_top()
        else:
            self._stopped = layers.keep_stopped(report.plane, report.result)
        return True

    def show_curves(self, report: RunReport, run: Run, plot: BandPlot) -> None:
        """Draw the curves of the plane at work, or why it stopped where it did."""
        progress, place = report.progress, place_of(report.plane)
        if progress is None or place == self._concluded:
            return
        if (place, progress.tile) != self._drawn:
            self._drawn = place, progress.tile
            plot.start(run.request.how.settings.bands)
        if report.result is not None:
            self._concluded = place
            plot.show_result(report.result, run.request, of=run.request.source.describe(report.plane))
        elif progress.stage == ("restoring" if find_task(run.request.how.task).removes_noise else "smoothing"):
            plot.add(progress.report)

    def describe(self, report: RunReport, run: Run) -> RunState | None:
        """Say how far it is; None where there is nothing new to say."""
        if report.progress is None or (report.result is None and place_of(report.plane) == self._concluded):
            return None
        return say_state(report, report.progress, run, in_view=self.preview.is_in_view)

    def conclude(self, run: Run) -> str:
        """End a run that has not failed; return in words what there is."""
        layers, self._layers = self._present, None
        self.preview.remove()
        layers.select()
        if len(layers.records) == layers.count:
            self._unfinished = [each for each in self._unfinished if each is not layers]
        self.kept = [*filter(None, (*layers.names, self._stopped))]
        return say_end(layers, self.failures, self._stopped, self._viewer, run.seconds)

    def fail(self) -> str:
        """End a run that has failed; return in words what is left."""
        layers, self._layers = self._present, None
        self.preview.remove()
        return say_done(layers, self.failures)

    @property
    def _present(self) -> ResultLayers:
        """The layers of the present run."""
        assert self._layers is not None
        return self._layers
