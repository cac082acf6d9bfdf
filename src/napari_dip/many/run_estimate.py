"""What a run will take: its memory, from its plan; its time, from the runs before it on the same device."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..measurement.task import Task, find_task
from ..outcome import Restoration
from ..request import Request
from ..settings import Settings
from .tiling import Tiling, plan_tiles

# Steps that runs usually take until they stop by themselves; and the filters' work at each, in steps of a network of 32
# channels. So inpainting an image takes some five times as long as removing its noise, as measured on a CPU at 128².
_USUAL_STEPS, _USUAL_STEPS_WITH_FILTERS, _SHARE_OF_PATIENCE = 400, 50, 0.4  # besides the patience
_WORK_OF_FILTERS = 1.2
_WIDTH, _POWER = 32, 1.3  # twice the channels take 2.5 times as long
_SAMPLES = 3  # tiles that are restored twice, to find the step
_LATEST = 5  # runs of a kind that count
_MOST_APART = 4  # times as many pixels: beyond, "about" would claim too much
_NO_MATTER = {  # settings that hardly change how long a run takes
    "seed", "device", "precision", "snapshots", "bands", "keep_known", "residual", "smoothed_lipschitz_bound",
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


def estimate_run(
    request: Request, shape: tuple[int, ...], planes: int, past: Sequence[PastRun], *, neighbours: bool
) -> RunEstimate:
    """Estimate what a run in the window will take.

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

    Raises
    ------
    ValueError, NotEnoughMemory
        As ``plan_tiles`` does.
    """
    import torch

    from ..device_check import choose_proven_device
    from ..fit_plan import bytes_needed
    from ..torch_modes import plain_modes

    task, enlargement = find_task(request.task), request.enlargement
    settings = request.settings.for_task(task)
    with plain_modes():
        device = choose_proven_device(settings.device, settings.precision)
    tiling = plan_tiles(shape, request, prompt=True, neighbours=neighbours)
    sides = (shape[0], shape[1]) if tiling is None else tiling.tile
    size = task.drawn_size(sides, task.read_parameters(request.parameters))
    channels = shape[2] if len(shape) == 3 else 1
    needed = bytes_needed(settings, device, size, channels, partner=task.noise_is_independent, neighbours=neighbours)
    parts = _count_parts(tiling, task, settings)
    kind = _name_kind(task, settings, channels, neighbours)
    here = [each for each in past if each.device == _name_device(device.reason, torch.get_num_threads())]
    seconds, is_rough = _scale(here, kind, _measure_work(task, settings), math.prod(sides) * enlargement**2)
    total = None if seconds is None else (seconds[0] * parts * planes, seconds[1] * parts * planes)
    return RunEstimate(total, is_rough, needed, 1 if tiling is None else len(tiling.places()))


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
    step = settings.networks * (settings.choose_width(partner=task.noise_is_independent) / _WIDTH) ** _POWER
    smoothing = (settings.choose_width(partner=True) / _WIDTH) ** _POWER * settings.smoothed_steps
    if not task.removes_noise:
        return smoothing
    if not (settings.smoothed or settings.detail_enhanced):
        smoothing = 0.0
    filtered = settings.partner and task.noise_is_independent
    steps = settings.chosen_step or settings.step_limit
    if settings.stopping == "auto" and settings.chosen_step is None:
        usual = _USUAL_STEPS_WITH_FILTERS if filtered else _USUAL_STEPS
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
    alike = [each for each in past if each.kind == kind][-_LATEST:]
    if alike:
        sizes = [max(each.pixels / pixels, pixels / each.pixels) for each in alike]
        times = [each.seconds * pixels / each.pixels for each in alike]
        return (min(times), max(times)), min(sizes) > _MOST_APART
    if not past:
        return None, False
    # a small image takes longer for each of its pixels
    near = min(reversed(past), key=lambda each: abs(math.log(each.pixels / pixels)))
    seconds = near.seconds * (pixels * work) / (near.pixels * near.work)
    return (seconds, seconds), True
