"""Messages about a run: how far it is, and how it ended, for one plane or for several."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari.viewer import Viewer

from ...measurement.task import find_task
from ...pace import say_duration, say_time_left
from ...record import Record
from ..layers.outputs import OutputImage, find_main_output
from ..layers.pixel_size import PIXEL_SIZE_KEY
from ..layers.result_layers import ResultLayers
from ..layers.source import Source
from ..words import capitalise

if TYPE_CHECKING:
    from ...outcome import Progress
    from .restoring import RunReport
    from .run import Run

_PARTS = 1000  # of a progress bar that does not count planes
_ENDINGS = {  # by the names of ``StopReason``
    "HELD_OUT": "Finished by itself: no more improvement",
    "DISCREPANCY": "Finished by itself: only the JPEG's own errors are left",
    "RATIO": "Finished by itself: blur and sharpness no longer change",
    "STEP_LIMIT": "Finished: the maximum number of steps is reached",
    "DIVERGED": "Ended early: the fit diverged; the best result before that is kept",
    "USER": "Stopped by hand; the best result so far is kept",
    "CHOSEN": "Finished at the step that you chose",
}
_SENTENCE_END = re.compile(r"(?<=[.!?]) +(?=[A-Z“0-9])")
_NUMBER = re.compile(r"(?<!\w)-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
_ABOUT_METHOD = "The filters "  # how sentences of a note begin that need not be read at once
_FILTERS_DID_IT = ("did most of the work", "did all the work")
_CORRELATION = ", where neighbouring pixels correlate by "


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


@dataclass(frozen=True, slots=True)
class Summary:
    """How a run ended.

    Attributes
    ----------
    sentence : str
        What the user should read.
    details : str
        Figures, and what else there is to know; may be empty.
    """

    sentence: str
    details: str = ""


def describe_state(report: RunReport, progress: Progress, run: Run, *, in_view: bool, slow: bool) -> RunState:
    """Return how far a run is, with the time used and the time left.

    Parameters
    ----------
    report : RunReport
    progress : Progress
        The report's own.
    run : Run
    in_view : bool
        Whether the viewer shows the current plane.
    slow : bool
        Whether the result has hardly improved for a while.
    """
    step = f"step {progress.step} of at most {progress.step_limit}"
    if run.request.source.is_single:
        done, total, text = _share_of_time(run.seconds, report.seconds_left), _PARTS, f"step {progress.step}"
        if progress.tile is not None:
            done, total, text = round(_PARTS * progress.fraction), _PARTS, f"{100 * progress.fraction:.0f}%"
        stage, tooltip = f"{progress.doing} …", step
        if slow:
            stage = f"{progress.doing}; improving slowly, you may stop now …"
    else:
        over = report.result is not None
        planes = report.number - 1 + (1.0 if over else progress.fraction)
        done, total, text = round(100 * planes), 100 * report.count, f"{100 * planes / report.count:.0f}%"
        where = run.request.source.describe(report.plane)
        finished = report.number - 1 + over
        elsewhere = "" if over or in_view else " The sliders show another plane."
        at_work = "done with" if over else progress.doing
        stage = f"{at_work} {where}; {finished} of {report.count} planes are finished …{elsewhere}"
        tooltip = f"{where}: {'finished' if over else f'{progress.doing}, {step}'}"
    tooltip = f"{tooltip}, {say_duration(run.seconds)} so far"
    left = "paused" if run.paused else say_time_left(report.seconds_left)
    text, tooltip = (", ".join(filter(None, (each, left))) for each in (text, tooltip))
    return RunState(done, total, capitalise(stage), text, tooltip)


def _share_of_time(seconds: float, left: tuple[float, float] | None) -> int:
    """Return how far a bar has come: its steps would say little, because few runs reach the step limit."""
    return 0 if left is None else round(_PARTS * seconds / (seconds + sum(left) / 2))


def describe_end(
    layers: ResultLayers, failures: Sequence[str], stopped: str, viewer: Viewer, seconds: float, before: int
) -> Summary:
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
    before : int
        How many planes an earlier run had finished.
    """
    done, count = len(layers.records), layers.count
    if done == count:
        now = f", {count - before} of them in this run" if before else ""
        told = _describe_plane(layers, viewer) if layers.source.is_single else [
            f"Finished: {count} planes{now} ({say_duration(seconds)})."
        ]  # fmt: skip
        notes, about_method = _split_notes(record.note for record in layers.records.values())
        clipped, not_clipped = describe_pixel_type(layers.outputs)
        size = describe_pixel_size(layers.source) if find_main_output(layers.outputs) else ""
        figures = _describe_steps(layers.records.values())
        return Summary(
            _join([told[0], *notes, clipped, *told[1:]]), _join([*figures, *about_method, not_clipped, size])
        )
    if done + len(failures) == count:
        others = f" {len(failures) - 1} more were skipped." if len(failures) > 1 else ""
        return Summary(f"{capitalise(failures[0])} It was skipped.{others} {describe_finished(layers, failures)}")
    nothing = "Stopped before there was anything to keep." if count == 1 else "Stopped before a plane was finished."
    kept_so_far = f"Stopped: {describe_finished(layers, failures)}" if done else nothing
    at_work = f"The unfinished plane is “{stopped}”." if stopped else ""
    return Summary(_join([kept_so_far, at_work]))


def describe_cancelled(layers: ResultLayers) -> str:
    """Return a message about a run that the user has cancelled."""
    if len(layers.records) == layers.count:
        return f"Finished before it could be cancelled: see “{layers.names[-1]}”." if layers.names else "Cancelled."
    return f"Cancelled. {capitalise(describe_finished(layers))}".strip()


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


def describe_pixel_type(outputs: Sequence[OutputImage]) -> tuple[str, str]:
    """Return a sentence about clipped pixels, and one about images that were only rounded; empty if there are none."""
    converted = [each for each in outputs if each.data.dtype.kind != "f" and not each.own_contrast]
    if not converted:
        return "", ""
    clipped = [f"{each.clipped} pixels of the {each.suffix} image" for each in converted if each.clipped]
    rounded = f"Rounded to {converted[-1].data.dtype}"
    if not clipped:
        return "", f"{rounded}; no pixels were clipped."
    return f"{rounded}; {' and '.join(clipped)} were clipped.", ""


def _describe_plane(layers: ResultLayers, viewer: Viewer) -> list[str]:
    """Return how a single plane's run ended, and what else there is to say about its result."""
    source, (record,) = layers.source, layers.records.values()
    rows, columns = source.axes.plane_shape[:2]
    part = "" if source.region is None else f" in a region of {rows} x {columns} pixels"
    layer = source.origin.find(viewer)
    others = layer is not None and source.origin.has_new_pixels(viewer)
    return [
        f"{_describe_reason(record)} ({say_duration(record.seconds)}{part}).",
        "" if find_main_output(layers.outputs) else "It was stopped before there was a result to keep.",
        f"“{source.layer_name}” got new pixels during the run; this result is from the old ones."
        if others else "",
    ]  # fmt: skip


def _describe_reason(record: Record) -> str:
    from ... import StopReason

    reason = StopReason(record.stop_reason)
    if reason is StopReason.STEP_LIMIT and not find_task(record.task).removes_noise:
        return "Finished"  # a smoothing always takes the same number of steps
    return _ENDINGS[reason.name]


def _describe_steps(records: Iterable[Record]) -> list[str]:
    """Return sentences about the chosen steps, for one plane or for several."""
    of_planes = [
        f"Chosen: step {record.step} of {record.stop_step}; {record.stop_reason}. Neighbouring pixels of the "
        f"residual correlate by {record.residual_correlation:.2f}."
        for record in records
    ]
    told = _summarise([_SENTENCE_END.split(each) for each in of_planes])
    return [re.sub(r"\bstep (?=\d+ to )", "steps ", each) for each in told]


def _split_notes(notes: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return what the notes of all planes say that the user should read, and what is only about the method."""
    of_planes = [_SENTENCE_END.split(note) for note in notes if note]
    to_read = [
        [re.sub(f"{_CORRELATION}.*", ".", sentence) for sentence in note if not sentence.startswith(_ABOUT_METHOD)]
        for note in of_planes
    ]
    about_method = [[sentence for sentence in note if sentence.startswith(_ABOUT_METHOD)] for note in of_planes]
    said = _summarise(about_method)
    if len(of_planes) == 1 and any(words in sentence for sentence in said for words in _FILTERS_DID_IT):
        said.append("The slider will show little difference.")
    return _summarise(to_read), said


def _summarise(of_planes: Sequence[Sequence[str]]) -> list[str]:
    """Return what several planes say as if one said it: sentences that differ only in numbers become one with ranges.

    A sentence that only some planes say begins with their number.
    """
    alike: dict[str, list[str]] = {}
    for sentences in of_planes:
        for sentence in dict.fromkeys(sentences):
            alike.setdefault(_NUMBER.sub("#", sentence), []).append(sentence)
    told = []
    for sentences in alike.values():
        some = f"In {len(sentences)} of {len(of_planes)} planes: " if len(sentences) < len(of_planes) else ""
        merged = _merge_numbers(sentences)
        if some and re.match(r"[A-Z][a-z]* ", merged):  # no abbreviation, no name with a hyphen
            merged = merged[:1].lower() + merged[1:]
        told.append(f"{some}{merged}")
    return told


def _merge_numbers(sentences: Sequence[str]) -> str:
    """Return one sentence for several that differ only in their numbers, with the ranges of these."""
    columns = zip(*(_NUMBER.findall(sentence) for sentence in sentences), strict=True)
    ranges = iter([_say_range(column) for column in columns])
    return _NUMBER.sub(lambda match: next(ranges), sentences[0])


def _say_range(numbers: Sequence[str]) -> str:
    least, most = min(numbers, key=float), max(numbers, key=float)
    return least if float(least) == float(most) else f"{least} to {most}"


def _join(sentences: Iterable[str]) -> str:
    return " ".join(filter(None, sentences))
