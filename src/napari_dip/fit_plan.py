"""Plan and build a fit from settings and a measurement: resolve every "auto", check the memory."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from .device import DeviceChoice, check_memory
from .measurement.data_term import DataTerm
from .measurement.missing_pixels import choose_held_out, widest_hole
from .measurement.neighbouring_planes import NeighbouringPlanes
from .measurement.task import Task
from .optimisation.estimate import Estimate
from .optimisation.fit import Fit
from .optimisation.muon import Muon
from .optimisation.partner_choice import choose_partner, fills_in
from .optimisation.step_graph import can_record
from .prior.networks import NETWORKS, Architecture, Network, fixed_input
from .settings import Resolved, Settings

_FEWEST_LEVELS, _MOST_LEVELS = 5, 10  # of levels="auto"
_WIDE_HOLE, _SQUARE_PER_HOLE = 10, 0.8  # pixels; of held_out_side="auto"
_HELD_OUT_PIXELS, _HELD_OUT_SQUARES = 0.05, 0.15  # of held_out="auto"
_BYTES_OF_LIBRARIES, _BYTES_PER_PIXEL_BESIDE = 200e6, 130  # without the network; measured: tests/benchmark/speed.py
_BYTES_PER_PIXEL_OF_PARTNER = 2300  # and channel; measured: tests/benchmark/partner_memory.py
_BYTES_PER_PIXEL_OF_NEIGHBOURS = 12500  # the same, if four neighbours help
_BYTES_PER_PIXEL_OF_FILL = 2000  # and channel, of what blocks make of missing pixels; measured there, too
# Memory for kernels, gradients, bounded kernels, the optimiser's state and its temporaries, as a multiple of the
# kernels' own (measured: tests/benchmark/weights_memory.py), and for the copies in bfloat16.
_COPIES_OF_KERNELS = {"muon": 11, "adam": 6}
_COPIES_FOR_BFLOAT16 = 2
_BYTES_PER_VALUE_READ = 25  # while the image is scaled to [0, 1]; with outliers 59
_MUON_RATE, _MUON_RATE_INDIRECT, _ADAM_RATE = 0.02, 0.01, 0.004  # of learning_rate="auto"
_ADAM_BESIDE_MUON = 0.2  # Adam's learning rate for biases and head, as a share of Muon's
_AVERAGING, _AVERAGING_WITH_PARTNER = 0.98, 0.9  # of averaging="auto"
_FIRST_BOUND, _LAST_BOUND = 1.0, 2.2  # λ of lipschitz_bound="auto"
_BOUND_PER_STEP = {"muon": 0.003, "adam": 0.0008}  # Muon learns faster


def auto_lipschitz_bound(step: int, optimiser: str = "muon") -> float:
    """Return λ of ``lipschitz_bound="auto"``: tight at first, relaxed a little at every step."""
    return min(_FIRST_BOUND + _BOUND_PER_STEP[optimiser] * step, _LAST_BOUND)


def build_fit(settings: Settings, device: DeviceChoice, data_term: DataTerm, *, keeps_known: bool = False) -> Fit:
    """Build the network, its input and its fit for one measurement; all randomness comes from ``settings.seed``.

    The network draws a canvas whose sides are multiples of ``2**levels``. The image is the centre of the canvas, so it
    is never padded, resized or cropped, and the canvas beyond it stays free.

    Parameters
    ----------
    settings : Settings
    device : DeviceChoice
    data_term : DataTerm
        On that device.
    keeps_known : bool
        Whether known pixels are put back into the result.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    resolved = resolve_settings(settings, data_term, keeps_known=keeps_known)
    low, high, mean = _measure_range(data_term)
    architecture = _plan_architecture(settings, resolved.runs, resolved.width, resolved.levels, channels=len(mean))
    canvas = _measure_canvas(settings, resolved.levels, data_term.size)
    check_memory(device.device, _BYTES_OF_LIBRARIES + _estimate_bytes(settings, device, canvas, architecture))
    held_out = torch.zeros_like(data_term.judged)
    if data_term.by_pixel:
        held_out = choose_held_out(data_term.known, resolved.held_out, generator, resolved.held_out_side)
    kind = NETWORKS[settings.network]
    size = kind.input_size(canvas, resolved.levels)
    noise = fixed_input(settings.input_kind, resolved.runs, settings.input_channels, size, generator)
    network = kind(architecture, (min(0.0, low), max(1.0, high)), mean, generator)
    network.compute_dtype = getattr(torch, device.precision)
    network.to(device.device)
    return Fit(
        network,
        noise.to(device.device, memory_format=torch.channels_last if device.channels_last else torch.contiguous_format),
        data_term=data_term,
        held_out=held_out,
        optimisers=_choose_optimisers(settings, resolved.learning_rate, network),
        averaging=resolved.averaging,
        lipschitz_bound=_schedule_bound(settings),
        input_noise=settings.input_noise,
        weight_noise=settings.weight_noise,
        burn_in=settings.burn_in,
        seed=settings.seed,
    )


def build_estimate(
    settings: Settings,
    fit: Fit,
    *,
    planes: NeighbouringPlanes | None = None,
    keeps_known: bool = False,
    keep_network: bool = False,
) -> Estimate:
    """Build the estimate that judges a fit and keeps its best step, with a partner if one can help.

    Parameters
    ----------
    settings : Settings
    fit : Fit
        Built by ``build_fit`` from these settings.
    planes : NeighbouringPlanes, optional
        The plane with its neighbours, which may help.
    keeps_known : bool
        Whether known pixels are put back into the result.
    keep_network : bool
        Whether to keep the weights of the best step.
    """
    partner = None
    if settings.partner:
        partner = choose_partner(fit.data_term, fit.held_out, planes, keeps_known=keeps_known)
    return Estimate(
        fit, bands=settings.bands, partner=partner, uncertainty=settings.uncertainty, keep_network=keep_network
    )


def _schedule_bound(settings: Settings) -> Callable[[int], float | None]:
    """Return λ as a function of the step."""
    bound = settings.lipschitz_bound
    if bound == "auto":
        return partial(auto_lipschitz_bound, optimiser=settings.optimiser)
    return lambda step: bound


def _plan_architecture(settings: Settings, runs: int, width: int, levels: int, *, channels: int) -> Architecture:
    """Return the network's architecture for resolved settings."""
    return Architecture(
        runs=runs,
        input_channels=settings.input_channels,
        output_channels=channels,
        width=width,
        levels=levels,
        convolutions_per_level=settings.convolutions_per_level,
        stem_convolutions=settings.stem_convolutions,
        skip_channels=settings.skip_channels,
        kernel_size=settings.kernel_size,
        normalisation=settings.normalisation,
        upsampling=settings.upsampling,
        gaussian_sigma=settings.gaussian_sigma,
        gaussian_kernel_size=settings.gaussian_kernel_size,
    )


def _choose_optimisers(settings: Settings, learning_rate: float, network: Network) -> list[torch.optim.Optimizer]:
    """Return the optimisers: Adam for everything, or Muon for the kernels and Adam for the rest."""
    kernels = [layer.kernel for layer in network.convolutions]
    kernel_ids = {id(kernel) for kernel in kernels}
    rest = [each for each in network.parameters() if each.requires_grad and id(each) not in kernel_ids]

    def adam(parameters: list[torch.nn.Parameter], learning_rate: float) -> torch.optim.Adam:
        betas = (0.9, settings.second_moment_decay)
        # on CUDA its step count lies on the device, so that a step can be recorded
        way = {"fused": True, "capturable": True} if can_record(network.head.device) else {"foreach": True}
        return torch.optim.Adam(parameters, lr=learning_rate, betas=betas, weight_decay=settings.weight_decay, **way)

    if settings.optimiser == "adam":
        return [adam([*kernels, *rest], learning_rate)]
    return [Muon(kernels, learning_rate, settings.momentum), adam(rest, _ADAM_BESIDE_MUON * learning_rate)]


def bytes_needed(
    settings: Settings,
    device: DeviceChoice,
    size: tuple[int, int],
    channels: int,
    *,
    partner: bool,
    fills: bool = False,
    neighbours: bool = False,
) -> float:
    """Estimate how many bytes of memory a restoration takes, torch itself included.

    Parameters
    ----------
    settings : Settings
    device : DeviceChoice
    size : (int, int)
        Height and width of the restored image.
    channels : int
    partner : bool
        Whether a partner may help to denoise, if the settings allow it too.
    fills : bool
        Whether a partner may help to fill in missing pixels, if the settings allow it too.
    neighbours : bool
        Whether neighbouring planes may help it.
    """
    partner = partner and settings.partner
    width, runs = settings.choose_width(partner=partner), settings.networks
    levels = settings.levels if settings.levels != "auto" else _FEWEST_LEVELS
    architecture = _plan_architecture(settings, runs, width, levels, channels=channels)
    fitting = _estimate_bytes(settings, device, _measure_canvas(settings, levels, size), architecture)
    per_pixel = _BYTES_PER_PIXEL_OF_FILL if fills and settings.partner else 0
    if partner:
        per_pixel = _BYTES_PER_PIXEL_OF_NEIGHBOURS if neighbours else _BYTES_PER_PIXEL_OF_PARTNER
    helping = size[0] * size[1] * channels * per_pixel
    return _BYTES_OF_LIBRARIES + max(fitting, helping)


def may_fill_by_groups(task: Task, settings: Settings) -> bool:
    """Return whether similar blocks may fill in missing pixels: where known ones are kept."""
    return (task.needs_mask or not task.removes_noise) and settings.keeps_known(task)


def check_run_fits(
    settings: Settings,
    device: DeviceChoice,
    task: Task,
    parameters: Mapping[str, Any],
    shape: tuple[int, ...],
    *,
    colours: bool,
) -> None:
    """Refuse an image that is sure not to fit into memory, before any work is done.

    This assumes that no pixel is missing and no partner helps. ``build_fit`` checks again, once the pixels are known.

    Parameters
    ----------
    settings : Settings
    device : DeviceChoice
    task : Task
    parameters : mapping
        The task's own, as read.
    shape : tuple of int
        ``(h, w)`` or ``(h, w, c)``.
    colours : bool
        Whether a fourth channel is alpha.

    Raises
    ------
    NotEnoughMemory
    """
    height, width, channels = shape[0], shape[1], math.prod(shape[2:])
    check_memory("cpu", height * width * channels * _BYTES_PER_VALUE_READ)
    if colours and channels == 4:
        channels = 3
    size = task.drawn_size((height, width), parameters)
    alone = dataclasses.replace(settings, width=settings.expect_width(task))
    if not task.removes_noise:
        alone = dataclasses.replace(alone, runs=1, uncertainty=False)
    check_memory(device.device, bytes_needed(alone, device, size, channels, partner=False))


def _measure_canvas(settings: Settings, levels: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return the sides of the canvas for an image of ``size``."""
    unit = 2**levels
    fewest = max(2, settings.kernel_size // 2 + 1)  # side of the smallest feature map: reflection needs neighbours
    rows, columns = (max(fewest, -(-side // unit)) * unit for side in size)
    return rows, columns


def _estimate_bytes(
    settings: Settings, device: DeviceChoice, canvas: tuple[int, int], architecture: Architecture
) -> float:
    """Estimate how many bytes a fit takes for its feature maps and its weights."""
    kind, compute_dtype = NETWORKS[settings.network], getattr(torch, device.precision)
    per_pixel = kind.bytes_per_pixel(architecture, compute_dtype) + _BYTES_PER_PIXEL_BESIDE
    copies = _COPIES_OF_KERNELS[settings.optimiser]
    copies += 0 if compute_dtype == torch.float32 else _COPIES_FOR_BFLOAT16
    return math.prod(canvas) * per_pixel + copies * kind.bytes_of_kernels(architecture)


def resolve_settings(settings: Settings, data_term: DataTerm, *, keeps_known: bool) -> Resolved:
    """Resolve every "auto" of the settings that depends on the measurement.

    Wide holes need more levels, so that no pixel of the Decoder's input lies wholly within a hole: what the network
    draws there would depend on nothing known. They are also judged by held-out squares nearly as wide: single pixels
    are guessed better and better long after the fill of the hole has begun to drift. Correlated errors need squares
    too, because a pixel's neighbours give it away. Where similar blocks fill in narrow gaps, a narrow network does as
    well as a wide one; wide holes are left to the network.
    """
    hole = widest_hole(data_term.known)
    drawn_hole = hole * data_term.size[0] / data_term.known.shape[2]
    levels = settings.levels
    if levels == "auto":
        levels = _FEWEST_LEVELS
        while 2**levels < drawn_hole and levels < _MOST_LEVELS and 2 ** (levels + 1) < min(data_term.size):
            levels += 1
    side = settings.held_out_side
    if side == "auto":
        nearly_as_wide: int = round(_SQUARE_PER_HOLE * hole)
        side = data_term.correlation_side if hole < _WIDE_HOLE else nearly_as_wide
    held_out = settings.held_out
    if held_out == "auto":
        held_out = _HELD_OUT_PIXELS if side == 1 else _HELD_OUT_SQUARES
    rate = settings.learning_rate
    if rate == "auto":
        muon = _MUON_RATE if data_term.is_direct else _MUON_RATE_INDIRECT
        rate = muon if settings.optimiser == "muon" else _ADAM_RATE
    helps = settings.partner and data_term.noise is not None
    fills_gaps = settings.partner and keeps_known and fills_in(data_term) and hole < _WIDE_HOLE and held_out > 0
    averaging = settings.averaging
    if averaging == "auto":
        averaging = _AVERAGING_WITH_PARTNER if helps else _AVERAGING
    return Resolved(
        levels=levels,
        width=settings.choose_width(partner=helps or fills_gaps),
        runs=settings.networks,
        held_out=held_out,
        held_out_side=side,
        learning_rate=rate,
        averaging=averaging,
    )


def _measure_range(data_term: DataTerm) -> tuple[float, float, torch.Tensor]:
    """Return the smallest value and the largest that x may have, and the mean of y per channel, ``(c,)``."""
    values = data_term.values[0][:, data_term.known[0, 0]]  # (c, n)
    low, high = float(values.min()), float(values.max())
    return low, low + data_term.headroom * (high - low), values.mean(dim=1).cpu()
