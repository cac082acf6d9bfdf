"""What is said of a run: how far it is, and what it has come to. Of one plane other things than of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari.viewer import Viewer

from ...pace import say_duration, say_time_left
from ..layers.outputs import Made, find_main
from ..layers.pixel_size import PIXEL_SIZE_KEY
from ..layers.result_layers import ResultLayers
from ..layers.source import Source
from ..words import begin

if TYPE_CHECKING:
    from ...outcome import Progress
    from .restoring import RunReport
    from .run import Run

_PARTS = 1000  # of a bar that is not counted in steps


@dataclass(frozen=True, slots=True)
class RunState:
    """How far a run is, in numbers and words.

    Attributes
    ----------
    done, of : int
    stage : str
        What it does.
    words, more : str
        A few, for a bar of 280 pixels; and all that there is to say.
    """

    done: int
    of: int
    stage: str
    words: str
    more: str


def say_state(report: RunReport, progress: Progress, run: Run, *, in_view: bool) -> RunState:
    """Return how far a run is, with the time that it took and still takes at the end of its words.

    Parameters
    ----------
    report : RunReport
    progress : Progress
        Its own.
    run : Run
    in_view : bool
        Whether the plane at work is the one that the viewer shows.
    """
    step = f"step {progress.step} of at most {progress.step_limit}"
    if run.request.source.is_single:
        done, of, words = progress.step, progress.step_limit, f"step {progress.step} of {progress.step_limit}"
        if progress.tile is not None:
            done, of, words = round(_PARTS * progress.fraction), _PARTS, f"{100 * progress.fraction:.0f}%"
        stage, more = f"{progress.doing} …", step
    else:
        over = report.result is not None
        planes = report.number - 1 + (1.0 if over else progress.fraction)
        done, of, words = round(100 * planes), 100 * report.count, f"{100 * planes / report.count:.0f}%"
        plane = f"plane {report.number} of {report.count} ({run.request.source.describe(report.plane)})"
        elsewhere = "" if over or in_view else " The sliders show another plane."
        stage = f"{progress.doing}, {plane} …{elsewhere}"
        more = f"{plane}: done" if over else f"{plane}: {progress.doing}, {step}"
    more = f"{more}, {say_duration(run.seconds)} so far"
    left = ["paused" if run.paused else say_time_left(report.seconds_left, fully=fully) for fully in (False, True)]
    words, more = (", ".join(filter(None, each)) for each in zip((words, more), left, strict=True))
    return RunState(done, of, begin(stage), words, more)


def say_end(layers: ResultLayers, failures: Sequence[str], stopped: str, viewer: Viewer, seconds: float) -> str:
    """Return what a run has come to.

    Parameters
    ----------
    layers : ResultLayers
    failures : sequence of str
        What is wrong with planes that were left out.
    stopped : str
        The name of the layer of the plane that was at work when the run was stopped, if there is one.
    viewer : Viewer
    seconds : float
        That it took.
    """
    done, count = len(layers.records), layers.count
    if done == count:
        kept = [say_pixel_type(layers.made), say_pixel_size(layers.source) if find_main(layers.made) else ""]
        said = _say_plane(layers, kept, viewer) if layers.source.is_single else [
            f"Done: {count} planes ({say_duration(seconds)}).", _say_notes(layers), *kept
        ]  # fmt: skip
        return " ".join(filter(None, said))
    if done + len(failures) == count:
        others = f" {len(failures) - 1} more were left out." if len(failures) > 1 else ""
        return f"{begin(failures[0])} It was left out.{others} {say_done(layers, failures)}"
    kept_so_far = f"Stopped: {say_done(layers, failures)}" if done else "Stopped before a plane was done."
    at_work = f"The plane at work, as far as it had come, is “{stopped}”." if stopped else ""
    return f"{kept_so_far} {at_work}".strip()


def say_done(layers: ResultLayers, failures: Sequence[str] = ()) -> str:
    """Return how many planes are done, and where; empty if none is."""
    if not layers.records:
        return ""
    where = f" in “{layers.names[-1]}”" if layers.names else ""
    then = "" if failures else "; Restore goes on from there"
    return f"{len(layers.records)} of {layers.count} planes are done{where}{then}."


def say_pixel_size(source: Source) -> str:
    """Return in a sentence which size of a pixel comes from the file and not from the layer; empty if none does."""
    size = source.metadata.get(PIXEL_SIZE_KEY)
    if size is None:
        return ""
    height, width, unit = f"{size['height']:.4g}", f"{size['width']:.4g}", size["unit"]
    words = f"{height} {unit}" if height == width else f"{height} x {width} {unit}"
    return f"The pixel size, {words}, is that of its file."


def say_pixel_type(made: Sequence[Made]) -> str:
    """Return in a sentence that images were rounded, and how many pixels were clipped; empty if none was."""
    converted = [each for each in made if each.data.dtype.kind != "f" and not each.own_contrast]
    if not converted:
        return ""
    clipped = [f"{each.clipped} pixels of the {each.suffix} image" for each in converted if each.clipped]
    what = f"; {' and '.join(clipped)} were clipped" if clipped else "; none was clipped"
    return f"Rounded to {converted[-1].data.dtype}{what}."


def _say_plane(layers: ResultLayers, kept: Sequence[str], viewer: Viewer) -> list[str]:
    """Return what a single plane has come to."""
    source, (record,) = layers.source, layers.records.values()
    rows, columns = source.axes.plane_shape[:2]
    part = "" if source.region is None else f" (a region of {rows} x {columns} pixels)"
    layer = source.origin.find(viewer)
    others = layer is not None and source.origin.has_other_pixels(viewer)
    return [
        f"Done{part}: step {record.step} was chosen; {record.stop_reason} ({record.seconds:.0f} s).", record.note,
        *kept, "" if find_main(layers.made) else "It was stopped before anything could be kept.",
        f"“{source.layer_name}” was given other pixels meanwhile; this is made from those that it had at the start."
        if others else "",
    ]  # fmt: skip


def _say_notes(layers: ResultLayers) -> str:
    """Return what is said of the first plane; the others differ in their figures at least."""
    note = next(record.note for record in layers.records.values())
    return f"Of the first plane: {note}" if note else ""
