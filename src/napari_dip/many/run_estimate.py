"""What a run will take: its memory, from its plan; its time, from the runs before it on the same device."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..measurement.task import Task, find_task
from ..outcome import Restoration
from ..pace import say_range
from ..request import Request
from ..settings import Settings
from .file_job import FileJob, OpenedJob, open_job
from .tiling import Tiling, plan_tiles

# Steps that runs of a network alone usually take until they stop by themselves; what filters leave of the patience;
# and their work at each step, in steps of a network of 32 channels.
_USUAL_STEPS, _SHARE_OF_PATIENCE = 400, 0.4
_WORK_OF_FILTERS = 1.2
_WIDTH, _POWER = 32, 1.3  # twice the channels take 2.5 times as long
_SAMPLES = 3  # tiles that are restored twice, to find the step
_LATEST = 5  # runs of a kind that count
_ROUGHLY = 2.0  # times more or less, when other kinds of runs tell; seldom more, beside varying other work
_MOST_APART = 4  # times as many pixels: beyond, "about" would claim too much
_FILES_TO_OPEN = 12  # of a folder, spread evenly: the files of a folder are much alike
_NO_MATTER = {  # settings that hardly change how long a run takes
    "seed", "device", "precision", "snapshots", "bands", "residual", "smoothed_lipschitz_bound",
    "detail_amount", "lipschitz_bound", "learning_rate", "momentum", "second_moment_decay",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PastRun:
    """A plane that was restored until the run ended by itself.

    Attributes
    ----------
    device : str
        Name, precision and number of threads.
    kind : str
        Task and settings, as far as they change how long it takes.
    work : float
        What it was to take, by the task and the settings, relative to other kinds.
    pixels : int
        Of the result.
    seconds : float
    """

    device: str
    kind: str
    work: float
    pixels: int
    seconds: float


@dataclass(frozen=True, slots=True)
class RunEstimate:
    """What a run will take.

    Attributes
    ----------
    seconds : (float, float) or None
        The least and the most, for all planes; None if no run on this device is known.
    is_rough : bool
        Whether the time comes from runs of another kind or of another size.
    bytes_needed : float
        Memory of the device.
    tiles : int
        Into how many parts a plane is cut.
    """

    seconds: tuple[float, float] | None
    is_rough: bool
    bytes_needed: float
    tiles: int


@dataclass(frozen=True, slots=True)
class FilesEstimate:
    """What it will take to restore several files, one after the other.

    Attributes
    ----------
    files : int
    planes : int
        In all of them.
    is_complete : bool
        Whether all files were looked at; if not, the others are taken to be like those that were.
    run : RunEstimate
        For all planes; the memory is that of the largest.
    """

    files: int
    planes: int
    is_complete: bool
    run: RunEstimate


def estimate_run(
    request: Request,
    shape: tuple[int, ...],
    planes: int,
    past: Sequence[PastRun],
    *,
    neighbours: bool,
    prompt: bool = True,
    memory: float | None = None,
) -> RunEstimate:
    """Estimate what a run will take.

    Parameters
    ----------
    request : Request
    shape : tuple of int
        Of a plane, ``(h, w)`` or ``(h, w, c)``.
    planes : int
        How many are to be restored.
    past : sequence of PastRun
        Of any device, the latest last.
    neighbours : bool
        Whether neighbouring planes may help.
    prompt, memory
        As ``plan_tiles`` takes them; the window's run is prompt.

    Raises
    ------
    ValueError, NotEnoughMemory
        As ``plan_tiles`` does.
    """
    import torch

    from ..device_check import choose_proven_device
    from ..fit_plan import bytes_needed, may_fill_by_groups
    from ..torch_modes import plain_modes

    task, enlargement = find_task(request.task), request.enlargement
    settings = request.settings.for_task(task)
    with plain_modes():
        device = choose_proven_device(settings.device, settings.precision)
    tiling = plan_tiles(shape, request, memory, prompt=prompt, neighbours=neighbours)
    sides = (shape[0], shape[1]) if tiling is None else tiling.tile
    size = task.drawn_size(sides, task.read_parameters(request.parameters))
    channels = shape[2] if len(shape) == 3 else 1
    needed = bytes_needed(
        settings, device, size, channels, partner=task.noise_is_independent, fills=may_fill_by_groups(task, settings),
        neighbours=neighbours,
    )  # fmt: skip
    parts = _count_parts(tiling, task, settings)
    kind = _name_kind(task, settings, channels, neighbours)
    here = [each for each in past if each.device == _name_device(device.reason, torch.get_num_threads())]
    seconds, is_rough = _scale(here, kind, _measure_work(task, settings), math.prod(sides) * enlargement**2)
    total = None if seconds is None else (seconds[0] * parts * planes, seconds[1] * parts * planes)
    return RunEstimate(total, is_rough, needed, 1 if tiling is None else len(tiling.places()))


def estimate_file(opened: OpenedJob, past: Sequence[PastRun]) -> RunEstimate:
    """Estimate what it will take to restore all planes of a file.

    Raises
    ------
    ValueError, NotEnoughMemory
        As ``estimate_run`` does.
    """
    axes = opened.axes
    return estimate_run(
        opened.job.request, axes.plane_shape, axes.count, past, neighbours=opened.neighbours is not None, prompt=False,
        memory=opened.job.memory,
    )  # fmt: skip


def estimate_files(jobs: Sequence[FileJob], past: Sequence[PastRun], *, devices: int = 1) -> FilesEstimate | None:
    """Estimate what it will take to restore several files, from some of them; None if none of these can be read.

    A file that cannot be read, or does not fit into memory, is left out: the run says so when it comes to it.

    Parameters
    ----------
    jobs : sequence of FileJob
    past : sequence of PastRun
        Of any device, the latest last.
    devices : int
        How many share the files.
    """
    looked_at = jobs[:: math.ceil(len(jobs) / _FILES_TO_OPEN)] if jobs else []
    found: list[tuple[int, RunEstimate]] = []
    for job in looked_at:
        with contextlib.suppress(ValueError, OSError):
            opened = open_job(job)
            found.append((opened.axes.count, estimate_file(opened, past)))
    if not found:
        return None
    share = len(jobs) / len(looked_at)  # so that files that fail do not count as work
    runs = [run for _, run in found]
    seconds = None
    if all(run.seconds is not None for run in runs):
        least, most = (
            share * sum(ends) / devices for ends in zip(*(run.seconds for run in runs if run.seconds), strict=True)
        )
        seconds = least, most
    run = RunEstimate(
        seconds, any(run.is_rough for run in runs), max(run.bytes_needed for run in runs),
        max(run.tiles for run in runs),
    )  # fmt: skip
    planes = round(share * sum(count for count, _ in found))
    return FilesEstimate(len(jobs), planes, len(looked_at) == len(jobs), run)


def describe_estimate(found: RunEstimate, planes: int, *, continues: bool = False) -> str:
    """Return in words what a run will take; if it continues an earlier one, the planes are those that are left."""
    tiles = f" in {found.tiles} tiles" if found.tiles > 1 else ""
    if found.seconds is None:
        return f"Time: the first run will tell. Memory: {_say_memory(found)}{tiles}."
    several = f" for {planes} planes" if planes > 1 else ""
    if continues:
        several = f" for the {planes} remaining planes" if planes > 1 else " for the remaining plane"
    return f"{_say_time(found)}{several}{tiles}, {_say_memory(found)} of memory."


def describe_files(found: FilesEstimate) -> str:
    """Return in words what several files will take."""
    run = found.run
    about = "" if found.is_complete else "about "
    planes = f", {about}{found.planes} planes" if found.planes > found.files else ""
    files = f"{found.files} file{'s' if found.files > 1 else ''}{planes} to restore"
    if run.seconds is None:
        return f"{files}. Time: the first one will tell. Memory: {_say_memory(run)}."
    return f"{files}. {_say_time(run)}, {_say_memory(run)} of memory."


def _say_time(found: RunEstimate) -> str:
    assert found.seconds is not None
    least, most = (max(each, 1.0) for each in found.seconds)
    return f"{'Roughly' if found.is_rough else 'About'} {say_range((least, most))}"


def _say_memory(found: RunEstimate) -> str:
    return f"{found.bytes_needed / 1e9:.1f} GB"


def remember_run(result: Restoration) -> PastRun | None:
    """Return what a result says about how long a run takes; None if it does not, because it was stopped or tiled."""
    record = result.record
    if record.given is None or result.was_stopped or record.restarts or record.threads is None:
        return None
    shape, task = record.given.image_shape, find_task(record.task)
    channels = shape[2] if len(shape) == 3 else 1
    settings = record.settings
    return PastRun(
        _name_device(record.device, record.threads),
        _name_kind(task, settings, channels, record.given.neighbours is not None),
        _measure_work(task, settings),
        math.prod(shape[:2]) * (record.factor or 1) ** 2,
        record.seconds,
    )


def _name_device(reason: str, threads: int) -> str:
    """Return the device and its precision, as its reason begins, with the threads of torch."""
    return f"{reason.partition(':')[0]}, {threads} threads"


def _name_kind(task: Task, settings: Settings, channels: int, neighbours: bool) -> str:
    """Return what must be equal for two runs to take as long, as text."""
    usual, values = dataclasses.asdict(Settings()), dataclasses.asdict(settings)
    other = [f"{name}={value}" for name, value in values.items() if value != usual[name] and name not in _NO_MATTER]
    return " ".join([task.name, f"channels={channels}", *(["neighbours"] if neighbours else []), *other])


def _measure_work(task: Task, settings: Settings) -> float:
    """Return roughly how long a pixel takes, in steps of one network of 32 channels."""
    step = settings.networks * (settings.expect_width(task) / _WIDTH) ** _POWER
    smoothing = (settings.choose_width(partner=True) / _WIDTH) ** _POWER * settings.smoothed_steps
    if not task.removes_noise:
        return smoothing
    if not (settings.smoothed or settings.detail_enhanced):
        smoothing = 0.0
    filtered = settings.partner and task.noise_is_independent
    steps = settings.chosen_step or settings.step_limit
    if settings.stopping == "auto" and settings.chosen_step is None:
        is_helped = settings.partner and (settings.keep_known or not task.needs_mask)
        usual = task.usual_step if is_helped else _USUAL_STEPS
        steps = min(steps, usual + round((_SHARE_OF_PATIENCE if filtered else 1) * settings.patience))
    return steps * (step + (_WORK_OF_FILTERS if filtered else 0.0)) + smoothing


def _count_parts(tiling: Tiling | None, task: Task, settings: Settings) -> int:
    """Return how many tiles are restored, those that find the step included."""
    if tiling is None:
        return 1
    finds_step = task.removes_noise and settings.stopping != "fixed" and settings.chosen_step is None
    return len(tiling.places()) + (_SAMPLES if finds_step else 0)


def _scale(past: Sequence[PastRun], kind: str, work: float, pixels: int) -> tuple[tuple[float, float] | None, bool]:
    """Return the least and the most seconds for so many pixels, and whether they are rough."""

    def measure_distance(run: PastRun) -> float:
        """Return how many times more, or fewer, pixels it had: a small image takes longer for each of its pixels."""
        return max(run.pixels / pixels, pixels / run.pixels)

    if not past:
        return None, False
    alike = [each for each in past if each.kind == kind]
    if near := [each for each in alike if measure_distance(each) <= _MOST_APART]:
        times = [each.seconds * pixels / each.pixels for each in near[-_LATEST:]]
        return (min(times), max(times)), False
    nearest = min(reversed(alike or past), key=measure_distance)
    seconds = nearest.seconds * (pixels * work) / (nearest.pixels * nearest.work)
    return (seconds / _ROUGHLY, seconds * _ROUGHLY), True
