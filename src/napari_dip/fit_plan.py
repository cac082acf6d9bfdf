"""From settings and a measurement to a fit: what every "auto" becomes, and how much memory it takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import cast

import torch

from .device import DeviceChoice, check_memory
from .measurement.data_term import DataTerm
from .measurement.missing_pixels import choose_held_out, widest_hole
from .optimisation.estimate import Estimate
from .optimisation.fit import Fit
from .optimisation.muon import Muon
from .optimisation.partner import choose_partner
from .prior.networks import NETWORKS, Architecture, Network, fixed_input
from .settings import Settings

_FEWEST_LEVELS, _MOST_LEVELS = 5, 10  # of levels="auto"
_WIDE_HOLE, _SQUARE_PER_HOLE = 10, 0.8  # pixels; of held_out_side="auto"
_HELD_OUT_PIXELS, _HELD_OUT_SQUARES = 0.05, 0.15  # of held_out="auto"
_BYTES_OF_LIBRARIES, _BYTES_PER_PIXEL_BESIDE = 200e6, 130  # beside the network; as tests/benchmark/speed.py measured
_BYTES_PER_PIXEL_OF_PARTNER = 1750  # and channel; as tests/benchmark/partner_memory.py measured
_MUON_RATE, _MUON_RATE_INDIRECT, _ADAM_RATE = 0.02, 0.01, 0.004  # of learning_rate="auto"
_ADAM_BESIDE_MUON = 0.2  # Adam's learning rate for biases and head, of Muon's
_FIRST_BOUND, _LAST_BOUND = 1.0, 2.2  # λ of lipschitz_bound="auto"
_BOUND_PER_STEP = {"muon": 0.003, "adam": 0.0008}  # one learns faster than the other


def auto_lipschitz_bound(step: int, optimiser: str = "muon") -> float:
    """Return λ of ``lipschitz_bound="auto"``: a hard bound at first, relaxed a little with every step."""
    return min(_FIRST_BOUND + _BOUND_PER_STEP[optimiser] * step, _LAST_BOUND)


def build_fit(settings: Settings, device: DeviceChoice, data_term: DataTerm) -> Fit:
    """Build the network, its input and its fit for one measurement, all randomness from ``settings.seed``.

    The network draws a canvas whose sides are multiples of ``2**levels``; the image is its centre, so that nothing of
    the image is padded, resized or cropped, and what lies beyond it stays free.

    Parameters
    ----------
    settings : Settings
    device : DeviceChoice
    data_term : DataTerm
        On that device.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    settings = resolve_settings(settings, data_term)
    levels, side = cast("int", settings.levels), cast("int", settings.held_out_side)
    share = cast("float", settings.held_out)
    low, high, mean = _range_of(data_term)
    fewest = max(2, settings.kernel_size // 2 + 1)  # pixels a side at the smallest size: reflection needs neighbours
    height, width_of_canvas = (max(fewest, -(-side // 2**levels)) * 2**levels for side in data_term.size)
    held_out = torch.zeros_like(data_term.judged)
    if data_term.by_pixel:
        held_out = choose_held_out(data_term.known, share, generator, side)
    kind = NETWORKS[settings.network]
    size = kind.input_size((height, width_of_canvas), levels)
    noise = fixed_input(settings.input_kind, settings.runs, settings.input_channels, size, generator)
    network = kind(_architecture_of(settings, len(mean)), (min(0.0, low), max(1.0, high)), mean, generator)
    network.compute_dtype = getattr(torch, device.precision)
    pixels = height * width_of_canvas
    check_memory(device.device, _BYTES_OF_LIBRARIES + pixels * (network.bytes_per_pixel() + _BYTES_PER_PIXEL_BESIDE))
    network.to(device.device)
    return Fit(
        network,
        noise.to(device.device, memory_format=torch.channels_last if device.channels_last else torch.contiguous_format),
        data_term=data_term,
        held_out=held_out,
        optimisers=_choose_optimisers(settings, network),
        averaging=settings.averaging,
        lipschitz_bound=_schedule_bound(settings),
        input_noise=settings.input_noise,
        weight_noise=settings.weight_noise,
        burn_in=settings.burn_in,
        seed=settings.seed,
    )


def build_estimate(settings: Settings, fit: Fit, *, keep_network: bool = False) -> Estimate:
    """Build what judges a fit and keeps its best moment, with the partner that can help.

    Parameters
    ----------
    settings : Settings
    fit : Fit
        As ``build_fit`` made it of these settings.
    keep_network : bool
        Whether to keep the weights of the best moment.
    """
    partner = choose_partner(fit.data_term, fit.held_out) if settings.partner else None
    return Estimate(
        fit, bands=settings.bands, partner=partner, uncertainty=settings.uncertainty, keep_network=keep_network
    )


def _schedule_bound(settings: Settings) -> Callable[[int], float | None]:
    """Return λ as a function of the step."""
    bound = settings.lipschitz_bound
    if bound == "auto":
        return partial(auto_lipschitz_bound, optimiser=settings.optimiser)
    return lambda step: bound


def _architecture_of(settings: Settings, channels: int) -> Architecture:
    """Return what settings whose every "auto" is resolved say of the network."""
    return Architecture(
        runs=settings.runs,
        input_channels=settings.input_channels,
        output_channels=channels,
        width=cast("int", settings.width),
        levels=cast("int", settings.levels),
        convolutions_per_level=settings.convolutions_per_level,
        stem_convolutions=settings.stem_convolutions,
        skip_channels=settings.skip_channels,
        kernel_size=settings.kernel_size,
        normalisation=settings.normalisation,
        upsampling=settings.upsampling,
        gaussian_sigma=settings.gaussian_sigma,
        gaussian_kernel_size=settings.gaussian_kernel_size,
    )


def _choose_optimisers(settings: Settings, network: Network) -> list[torch.optim.Optimizer]:
    """Return what updates the network: Adam everything, or Muon the kernels and Adam the rest."""
    kernels = [layer.kernel for layer in network.convolutions]
    known = {id(kernel) for kernel in kernels}
    rest = [each for each in network.parameters() if each.requires_grad and id(each) not in known]
    learning_rate = cast("float", settings.learning_rate)

    def adam(parameters: list[torch.nn.Parameter], learning_rate: float) -> torch.optim.Adam:
        betas = (0.9, settings.second_moment_decay)
        return torch.optim.Adam(
            parameters, lr=learning_rate, betas=betas, weight_decay=settings.weight_decay, foreach=True
        )

    if settings.optimiser == "adam":
        return [adam([*kernels, *rest], learning_rate)]
    return [Muon(kernels, learning_rate, settings.momentum), adam(rest, _ADAM_BESIDE_MUON * learning_rate)]


def bytes_needed(
    settings: Settings, device: DeviceChoice, size: tuple[int, int], channels: int, *, helped: bool
) -> float:
    """Return about how much memory a restoration takes, torch itself included.

    Parameters
    ----------
    settings : Settings
    device : DeviceChoice
    size : (int, int)
        Of the image that is sought.
    channels : int
    helped : bool
        Whether the task lets a partner denoise, as far as the settings do.
    """
    helped = helped and settings.partner
    width, runs = settings.width_where(helped=helped), settings.networks
    levels = settings.levels if settings.levels != "auto" else _FEWEST_LEVELS
    settings = dataclasses.replace(settings, width=width, levels=levels, runs=runs)
    architecture = _architecture_of(settings, channels)
    network = NETWORKS[settings.network](architecture, (0.0, 1.0), torch.full((channels,), 0.5), torch.Generator())
    network.compute_dtype = getattr(torch, device.precision)
    height, width_of_canvas = (-(-side // 2**levels) * 2**levels for side in size)
    fitting = height * width_of_canvas * (network.bytes_per_pixel() + _BYTES_PER_PIXEL_BESIDE)
    helping = size[0] * size[1] * channels * _BYTES_PER_PIXEL_OF_PARTNER if helped else 0.0
    return _BYTES_OF_LIBRARIES + max(fitting, helping)


def resolve_settings(settings: Settings, data_term: DataTerm) -> Settings:
    """Return the settings with every "auto" that depends on the measurement replaced by its value.

    Wide holes want more levels, so that no pixel of the Decoder's input lies wholly within one: what is drawn there
    would depend on nothing that is known. And they want to be judged by squares nearly as wide: single pixels are
    guessed ever better while the fill of the hole has long begun to drift. So do errors that are correlated: a pixel is
    no judge of what its neighbours tell.
    """
    hole = widest_hole(data_term.known)
    drawn_hole = hole * data_term.size[0] / data_term.known.shape[2]
    levels, held_out, side = settings.levels, settings.held_out, settings.held_out_side
    if levels == "auto":
        levels = _FEWEST_LEVELS
        while 2**levels < drawn_hole and levels < _MOST_LEVELS and 2 ** (levels + 1) < min(data_term.size):
            levels += 1
    if side == "auto":
        side = data_term.correlation_side if hole < _WIDE_HOLE else round(_SQUARE_PER_HOLE * hole)
    if held_out == "auto":
        held_out = _HELD_OUT_PIXELS if side == 1 else _HELD_OUT_SQUARES
    rate = settings.learning_rate
    if rate == "auto":
        muon = _MUON_RATE if data_term.is_direct else _MUON_RATE_INDIRECT
        rate = muon if settings.optimiser == "muon" else _ADAM_RATE
    return dataclasses.replace(
        settings, levels=levels, held_out=held_out, held_out_side=side, runs=settings.networks,
        learning_rate=rate, width=settings.width_where(helped=settings.partner and data_term.noise is not None),
    )  # fmt: skip


def _range_of(data_term: DataTerm) -> tuple[float, float, torch.Tensor]:
    """Return the smallest and largest known value of the degraded image, and its mean per channel, ``(c,)``."""
    values = data_term.values[0][:, data_term.known[0, 0]]  # (c, n)
    return float(values.min()), float(values.max()), values.mean(dim=1).cpu()
