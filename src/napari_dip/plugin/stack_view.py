"""What the user sees of a stack's run: layers that fill in, the preview at its place, and words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from napari.viewer import Viewer

from ..measurement.task import find_task
from ..pace import say_duration, say_time_left
from ..record import Record
from .outputs import list_outputs, say_pixel_type
from .preview_layer import PreviewLayer
from .run import Request
from .stack_layers import StackLayers
from .stack_run import Place, PlaneFailed, PlaneReport, StackBegins, StackReport


class StackView:
    """Shows one run at a time, and remembers those that are not finished.

    Parameters
    ----------
    viewer : Viewer
    preview : PreviewLayer
    """

    def __init__(self, viewer: Viewer, preview: PreviewLayer) -> None:
        self._viewer, self._preview = viewer, preview
        self._unfinished: list[StackLayers] = []
        self._layers: StackLayers | None = None
        self._stopped = ""
        self.failures: list[str] = []  # what is wrong with planes that were left out

    def begin(self, request: Request) -> dict[Place, Record]:
        """Be ready for a run; return the records of planes that an earlier one has done."""
        self._unfinished = [each for each in self._unfinished if each.is_shown]
        fitting = (each for each in reversed(self._unfinished) if each.can_go_on_with(request))
        self._layers = next(fitting, None) or StackLayers(self._viewer, request)
        self._stopped, self.failures = "", []
        return dict(self._layers.records)

    def show(self, report: StackReport) -> None:
        """Show a report in the layers."""
        layers = self._layers
        assert layers is not None
        if isinstance(report, StackBegins):
            if len(report.kept) < len(layers.records):  # the pixels have changed since: what is done stays as it is
                self._layers = StackLayers(self._viewer, layers.request)
            return
        if isinstance(report, PlaneFailed):
            self.failures.append(report.why)
            return
        source, request = layers.source, layers.request
        if report.result is None or not report.finished:
            factor = request.factor if find_task(request.task).needs_factor else 1
            first = [0 if isinstance(at, slice) else at for at in report.plane.seen_from(source.first).index]
            image = source.spread(report.progress.estimate)
            self._preview.show(
                source.name, source.appearance, image, factor or 1, first[: len(source.appearance["scale"])]
            )
        if report.result is None:
            return
        if report.finished:
            layers.fill(report.plane, report.result)
            if layers not in self._unfinished:
                self._unfinished.append(layers)
            self._preview.raise_to_top()
            return
        name = f"{source.name} unfinished ({source.of.describe(report.plane)})"
        made = list_outputs(report.result, source, request.original_type)
        if made and made[-1].suffix in ("restored", "detail-enhanced"):
            kept = self._preview.keep(name, made[-1].data, made[-1].metadata)
            if kept is not None:
                self._stopped = f"The plane at work, as far as it had come, is a layer of its own: “{kept.name}”."
                layers.put_below(kept)

    def name_plane(self, report: PlaneReport) -> str:
        """Return in words which plane it is about."""
        assert self._layers is not None
        return self._layers.source.of.describe(report.plane)

    def describe(self, report: PlaneReport, seconds: float, paused: bool) -> str:
        """Return in words how far it is."""
        place, progress = self.name_plane(report), report.progress
        state = f"{progress.stage}, step {progress.step} of at most {progress.step_limit}"
        parts = (
            f"plane {report.number} of {report.count} ({place}): {state if report.result is None else 'done'}",
            f"{say_duration(seconds)} so far",
            "paused" if paused else say_time_left(report.seconds_left),
        )
        return ", ".join(filter(None, parts))

    def conclude(self, seconds: float) -> str:
        """End a run that has not failed; return in words what there is."""
        layers = self._layers
        assert layers is not None
        self._preview.remove()
        layers.select()
        done, count = len(layers.records), layers.count
        if done == count:
            self._unfinished = [each for each in self._unfinished if each is not layers]
            return " ".join(filter(None, (
                f"Done: {count} planes ({say_duration(seconds)}).", _say_notes(layers.notes),
                say_pixel_type(layers.made),
            )))  # fmt: skip
        if done + len(self.failures) == count:
            others = f" {len(self.failures) - 1} more were left out." if len(self.failures) > 1 else ""
            why = self.failures[0]
            return f"{why[:1].upper()}{why[1:]} It was left out.{others} {self._say_done()}"
        kept = f"Stopped: {self._say_done()}" if done else "Stopped before a plane was done."
        return f"{kept} {self._stopped}".strip()

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
    """Return what is said of most planes, and of how many."""
    (note, number), *_ = Counter(notes).most_common(1)
    if not note:
        return ""
    return note if number == len(notes) else f"{number} of {len(notes)} planes: {note}"
