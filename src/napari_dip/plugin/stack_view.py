"""What the user sees of a stack's run: layers that fill in, the preview at its place, and words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari.viewer import Viewer

from ..measurement.task import find_task
from ..pace import say_duration
from .layers import find_whole_place
from .outputs import list_outputs, say_pixel_size, say_pixel_type
from .preview_layer import PreviewLayer
from .run import Request, Run
from .stack_layers import StackLayers
from .stack_run import PlaneFailed, PlaneReport, StackBegins, StackReport, restore_stack_in_worker
from .words import RunState, begin, say_state, say_step

if TYPE_CHECKING:
    from ..many.axes import Plane
    from .band_plot import BandPlot


class StackView:
    """Shows one run at a time, and remembers those that are not finished.

    Parameters
    ----------
    viewer : Viewer
    preview : PreviewLayer
    """

    work = staticmethod(restore_stack_in_worker)

    def __init__(self, viewer: Viewer, preview: PreviewLayer) -> None:
        self._viewer, self._preview = viewer, preview
        self._drawn: Plane | None = None  # whose curves are drawn
        self._concluded: Plane | None = None  # the last one that has ended: later reports of it come too late
        self._unfinished: list[StackLayers] = []
        self._layers: StackLayers | None = None
        self._stopped: list[str] = []  # the layer of the plane at work, if the run was stopped
        self.failures: list[str] = []  # what is wrong with planes that were left out

    def begin(self, request: Request) -> tuple:
        """Be ready for a run; return the records of planes that an earlier one has done."""
        self._drawn = self._concluded = None
        self._unfinished = [each for each in self._unfinished if each.is_shown]
        fitting = (each for each in reversed(self._unfinished) if each.can_go_on_with(request))
        self._layers = next(fitting, None) or StackLayers(self._viewer, request)
        self._stopped, self.failures = [], []
        return (dict(self._layers.records),)

    def show(self, report: StackReport, run: Run) -> bool:
        """Show a report in the layers; return whether the curves must follow at once: those of a plane that is done."""
        layers = self._layers
        assert layers is not None
        if isinstance(report, StackBegins):
            if len(report.kept) < len(layers.records):  # the pixels have changed since: what is done stays as it is
                self._layers = StackLayers(self._viewer, layers.request)
            return False
        if isinstance(report, PlaneFailed):
            self.failures.append(report.why)
            return False
        source, request = layers.source, layers.request
        if report.result is None or not report.finished:
            progress = report.progress
            factor = request.factor if find_task(request.task).takes("factor") else 1
            first = [0 if isinstance(at, slice) else at for at in report.plane.seen_from(source.first).index]
            image = source.spread(progress.estimate)
            self._preview.show(
                source.name, source.appearance, image, factor or 1, first[: len(source.appearance["scale"])],
                progress.corner,
            )  # fmt: skip
        if report.result is None:
            return False
        if report.finished:
            layers.fill(report.plane, report.result)
            if layers not in self._unfinished:
                self._unfinished.append(layers)
            self._preview.raise_to_top()
            return True
        source = source.as_now(self._viewer)
        place = source.of.describe(report.plane)  # of a stack with one plane there is none
        name = f"{source.name} ({place}) stopped early" if place else f"{source.name} stopped early"
        made = list_outputs(report.result, source, request.original_type)
        if made and made[-1].suffix in ("restored", "detail-enhanced"):
            first = [0 if isinstance(at, slice) else at for at in report.plane.seen_from(source.first).index]
            where = find_whole_place(source.appearance, request.factor or 1, first[: len(source.appearance["scale"])])
            kept = self._preview.keep(name, made[-1].data, made[-1].metadata, where)
            if kept is not None:
                self._stopped = [kept.name]
                layers.put_below(kept)
        return True

    def show_curves(self, report: StackReport, run: Run, plot: BandPlot) -> None:
        """Draw the curves of the plane at work, or why it stopped where it did."""
        if not isinstance(report, PlaneReport) or report.plane == self._concluded:
            return
        if report.plane != self._drawn:
            self._drawn = report.plane
            plot.start(run.request.settings.bands)
        if report.result is not None:
            self._concluded = report.plane
            plot.show_result(report.result, run.request, of=self._name(report))
        elif report.progress.stage == run.main_stage:
            plot.add(report.progress.report)

    def describe(self, report: StackReport, run: Run) -> RunState | None:
        """Say how far it is; None where there is nothing new to say."""
        if not isinstance(report, PlaneReport) or (report.result is None and report.plane == self._concluded):
            return None
        progress, over = report.progress, report.result is not None
        plane = f"plane {report.number} of {report.count} ({self._name(report)})"
        done = report.number - 1 + (1.0 if over else progress.fraction)
        elsewhere = "" if over or self._preview.is_in_view else " The sliders show another plane."
        state = "done" if over else f"{progress.doing}, {say_step(progress)}"
        return say_state(
            run, round(100 * done), 100 * report.count, f"{progress.doing}, {plane} …{elsewhere}",
            f"{100 * done / report.count:.0f}%", f"{plane}: {state}", report.seconds_left,
        )  # fmt: skip

    def _name(self, report: PlaneReport) -> str:
        """Return in words which plane it is about."""
        assert self._layers is not None
        return self._layers.source.of.describe(report.plane)

    def conclude(self, result: None, run: Run, plot: BandPlot | None) -> str:
        """End a run that has not failed; return in words what there is."""
        layers = self._layers
        assert layers is not None
        self._preview.remove()
        layers.select()
        done, count = len(layers.records), layers.count
        if done == count:
            self._unfinished = [each for each in self._unfinished if each is not layers]
            return " ".join(filter(None, (
                f"Done: {count} planes ({say_duration(run.seconds)}).", _say_notes(layers.notes),
                say_pixel_type(layers.made), say_pixel_size(layers.source),
            )))  # fmt: skip
        if done + len(self.failures) == count:
            others = f" {len(self.failures) - 1} more were left out." if len(self.failures) > 1 else ""
            why = self.failures[0]
            return f"{begin(why)} It was left out.{others} {self._say_done()}"
        kept = f"Stopped: {self._say_done()}" if done else "Stopped before a plane was done."
        at_work = f"The plane at work, as far as it had come, is “{self._stopped[0]}”." if self._stopped else ""
        return f"{kept} {at_work}".strip()

    @property
    def kept(self) -> list[str]:
        """The layers that the run has become."""
        return [*([] if self._layers is None else self._layers.names), *self._stopped]

    def fail(self) -> str:
        """End a run that has failed; return in words what is left."""
        self._preview.remove()
        return self._say_done() if self._layers is not None and self._layers.records else ""

    def _say_done(self) -> str:
        layers = self._layers
        assert layers is not None
        where = f" in “{layers.names[-1]}”" if layers.names else ""
        then = "" if self.failures else "; Restore goes on from there"
        return f"{len(layers.records)} of {layers.count} planes are done{where}{then}."


def _say_notes(notes: Sequence[str]) -> str:
    """Return what is said of the first plane; the others differ in their figures at least."""
    note = next(iter(notes), "")
    return f"Of the first plane: {note}" if note and len(notes) > 1 else note
