"""Messages about a run: how far it is, and how it ended, for one plane or for several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari.viewer import Viewer

from ...pace import say_duration, say_time_left
from ..layers.outputs import OutputImage, find_main_output
from ..layers.pixel_size import PIXEL_SIZE_KEY
from ..layers.result_layers import ResultLayers
from ..layers.source import Source
from ..words import capitalise

if TYPE_CHECKING:
    from ...outcome import Progress
    from .restoring import RunReport
    from .run import Run

_PARTS = 1000  # of a progress bar that does not count steps


@dataclass(frozen=True, slots=True)
class RunState:
    """How far a run is, in numbers and words.

    Attributes
    ----------
    done, total : int
    stage : str
        What the run is doing.
    text, tooltip : str
        A short text that fits a bar of 280 pixels, and all there is to say.
    """

    done: int
    total: int
    stage: str
    text: str
    tooltip: str


def describe_state(report: RunReport, progress: Progress, run: Run, *, in_view: bool) -> RunState:
    """Return how far a run is, with the time used and the time left.

    Parameters
    ----------
    report : RunReport
    progress : Progress
        The report's own.
    run : Run
    in_view : bool
        Whether the viewer shows the current plane.
    """
    step = f"step {progress.step} of at most {progress.step_limit}"
    if run.request.source.is_single:
        done, total, text = progress.step, progress.step_limit, f"step {progress.step} of {progress.step_limit}"
        if progress.tile is not None:
            done, total, text = round(_PARTS * progress.fraction), _PARTS, f"{100 * progress.fraction:.0f}%"
        stage, tooltip = f"{progress.doing} …", step
    else:
        over = report.result is not None
        planes = report.number - 1 + (1.0 if over else progress.fraction)
        done, total, text = round(100 * planes), 100 * report.count, f"{100 * planes / report.count:.0f}%"
        plane = f"plane {report.number} of {report.count} ({run.request.source.describe(report.plane)})"
        elsewhere = "" if over or in_view else " The sliders show another plane."
        stage = f"{progress.doing}, {plane} …{elsewhere}"
        tooltip = f"{plane}: finished" if over else f"{plane}: {progress.doing}, {step}"
    tooltip = f"{tooltip}, {say_duration(run.seconds)} so far"
    left = ["paused" if run.paused else say_time_left(report.seconds_left, fully=fully) for fully in (False, True)]
    text, tooltip = (", ".join(filter(None, each)) for each in zip((text, tooltip), left, strict=True))
    return RunState(done, total, capitalise(stage), text, tooltip)


def describe_end(layers: ResultLayers, failures: Sequence[str], stopped: str, viewer: Viewer, seconds: float) -> str:
    """Return a message about how a run ended.

    Parameters
    ----------
    layers : ResultLayers
    failures : sequence of str
        Why planes were skipped.
    stopped : str
        The name of the layer with the unfinished plane of a stopped run, if there is one.
    viewer : Viewer
    seconds : float
        How long the run took.
    """
    done, count = len(layers.records), layers.count
    if done == count:
        size = describe_pixel_size(layers.source) if find_main_output(layers.outputs) else ""
        kept = [describe_pixel_type(layers.outputs), size]
        sentences = _describe_plane(layers, kept, viewer) if layers.source.is_single else [
            f"Done: {count} planes ({say_duration(seconds)}).", _describe_notes(layers), *kept
        ]  # fmt: skip
        return " ".join(filter(None, sentences))
    if done + len(failures) == count:
        others = f" {len(failures) - 1} more were skipped." if len(failures) > 1 else ""
        return f"{capitalise(failures[0])} It was skipped.{others} {describe_finished(layers, failures)}"
    nothing = "Stopped before there was anything to keep." if count == 1 else "Stopped before a plane was finished."
    kept_so_far = f"Stopped: {describe_finished(layers, failures)}" if done else nothing
    at_work = f"The unfinished plane is “{stopped}”." if stopped else ""
    return f"{kept_so_far} {at_work}".strip()


def describe_finished(layers: ResultLayers, failures: Sequence[str] = ()) -> str:
    """Return how many planes are finished and where they are; empty if there are none."""
    if not layers.records:
        return ""
    where = f" in “{layers.names[-1]}”" if layers.names else ""
    then = "" if failures else "; press Restore to continue"
    return f"{len(layers.records)} of {layers.count} planes are finished{where}{then}."


def describe_pixel_size(source: Source) -> str:
    """Return a sentence about a pixel size that comes from the file; empty if it comes from the layer."""
    size = source.metadata.get(PIXEL_SIZE_KEY)
    if size is None:
        return ""
    height, width, unit = f"{size['height']:.4g}", f"{size['width']:.4g}", size["unit"]
    words = f"{height} {unit}" if height == width else f"{height} x {width} {unit}"
    return f"The pixel size, {words}, comes from the file."


def describe_pixel_type(outputs: Sequence[OutputImage]) -> str:
    """Return a sentence about rounded images and their clipped pixels; empty if none was rounded."""
    converted = [each for each in outputs if each.data.dtype.kind != "f" and not each.own_contrast]
    if not converted:
        return ""
    clipped = [f"{each.clipped} pixels of the {each.suffix} image" for each in converted if each.clipped]
    what = f"; {' and '.join(clipped)} were clipped" if clipped else "; no pixels were clipped"
    return f"Rounded to {converted[-1].data.dtype}{what}."


def _describe_plane(layers: ResultLayers, kept: Sequence[str], viewer: Viewer) -> list[str]:
    """Return sentences about the result for a single plane."""
    source, (record,) = layers.source, layers.records.values()
    rows, columns = source.axes.plane_shape[:2]
    part = "" if source.region is None else f" (a region of {rows} x {columns} pixels)"
    layer = source.origin.find(viewer)
    others = layer is not None and source.origin.has_new_pixels(viewer)
    return [
        f"Done{part}: step {record.step} was chosen; {record.stop_reason} ({record.seconds:.0f} s).", record.note,
        *kept, "" if find_main_output(layers.outputs) else "It was stopped before there was a result to keep.",
        f"“{source.layer_name}” got new pixels during the run; this result is from the old ones."
        if others else "",
    ]  # fmt: skip


def _describe_notes(layers: ResultLayers) -> str:
    """Return the first plane's note; the notes of other planes differ, at least in their numbers."""
    note = next(record.note for record in layers.records.values())
    return f"First plane: {note}" if note else ""
