"""The untrained networks of Fig. 2, and their fixed random input z.

The first axis of every tensor counts independent runs (seeds): s networks, trained side by side, never mixed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from .convolution import ControlledConvolution, convolve, he_uniform
from .lipschitz import POWER_ITERATIONS_COLD, bound_kernels, spectral_norms
from .upsampling import gaussian_kernel, upsample

# As tests/benchmark/speed.py measured: feature maps of the largest layer that exist for a moment on the way back, and
# how many copies of each layer's result batch normalisation keeps for autograd beside it.
_PASSING_MAPS, _BATCH_COPIES = 5, 4
_ENCODER_CONVOLUTIONS = 2  # per level; the first has stride 2 (Fig. 2)


@dataclass(frozen=True, slots=True)
class Architecture:
    """What a network is built of; the fields mean what they mean in ``Settings``."""

    runs: int
    input_channels: int
    output_channels: int
    width: int
    levels: int
    convolutions_per_level: int
    stem_convolutions: int
    skip_channels: int
    kernel_size: int
    normalisation: str
    upsampling: str
    gaussian_sigma: float
    gaussian_kernel_size: int


class Network(nn.Module, ABC):
    """What the networks of Fig. 2 share: bounded convolutions, then an unbounded 1x1 convolution and a sigmoid.

    Parameters
    ----------
    architecture : Architecture
    layers : sequence of ControlledConvolution
        In the order in which ``extract`` takes their kernels.
    output_range : (float, float)
        What the sigmoid is stretched to.
    output_mean : Tensor
        ``(c,)``, the output before any step.
    generator : torch.Generator
        On the CPU: a seed means the same network on every device.
    """

    gaussian: torch.Tensor

    def __init__(
        self,
        architecture: Architecture,
        layers: Sequence[ControlledConvolution],
        output_range: tuple[float, float],
        output_mean: torch.Tensor,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.architecture, self.output_range = architecture, output_range
        self.compute_dtype = torch.float32
        self.layers = nn.ModuleList(layers)
        for layer in layers:
            layer.workspace.share(layers[0].workspace)
        runs = architecture.runs
        self.head = nn.Parameter(he_uniform((runs, architecture.output_channels, architecture.width, 1, 1), generator))
        low, high = output_range
        mean = ((output_mean - low) / (high - low)).clamp(0.02 / (high - low), 1 - 0.02 / (high - low))
        self.head_bias = nn.Parameter(torch.logit(mean).repeat(runs, 1))  # (s, c)
        kernel = gaussian_kernel(architecture.gaussian_sigma, architecture.gaussian_kernel_size)
        self.register_buffer("gaussian", kernel, persistent=False)
        self.singular_vectors = nn.ParameterList()
        self.groups: list[list[int]] = []
        for shape in dict.fromkeys(layer.kernel.shape for layer in layers):
            group = [i for i, layer in enumerate(layers) if layer.kernel.shape == shape]
            vectors = torch.randn(len(group) * runs, shape[1], generator=generator)
            _, vectors = spectral_norms(self._group_kernels(group), vectors, POWER_ITERATIONS_COLD)
            self.groups.append(group)
            self.singular_vectors.append(nn.Parameter(vectors, requires_grad=False))

    @staticmethod
    @abstractmethod
    def input_size(canvas: tuple[int, int], levels: int) -> tuple[int, int]:
        """Return the height and width of z that make an image of ``canvas``, multiples of ``2**levels``."""

    @abstractmethod
    def extract(self, noise: torch.Tensor, kernels: Sequence[torch.Tensor]) -> torch.Tensor:
        """Map z to the last features, ``(s, width, H, W)``, with the bounded kernels of the layers, in their order."""

    @property
    @abstractmethod
    def areas(self) -> list[float]:
        """The area of what each layer takes in, as a share of the canvas; in their order."""

    def bytes_per_pixel(self) -> float:
        """Return about how much memory a step takes for each pixel of the canvas."""
        kept, largest = 0.0, 0.0
        copies = 1 + (_BATCH_COPIES if self.architecture.normalisation == "batch" else 0)
        for layer, area in zip(self.convolutions, self.areas, strict=True):
            _, outputs, inputs, _, _ = layer.kernel.shape
            drawn = outputs * area / layer.stride**2
            kept += inputs * area + copies * drawn
            largest = max(largest, drawn)
        elements = self.architecture.runs * (kept + _PASSING_MAPS * largest)
        return elements * torch.finfo(self.compute_dtype).bits / 8

    def forward(self, noise: torch.Tensor, lipschitz_bound: float | None) -> torch.Tensor:
        """Map z, ``(s, input_channels, h, w)``, to images ``(s, c, H, W)``, float32, every kernel under the bound λ."""
        kernels = [kernel.to(self.compute_dtype) for kernel in self.bounded_kernels(lipschitz_bound)]
        features = self.extract(noise.to(self.compute_dtype), kernels)
        features = convolve(features, self.head.to(self.compute_dtype)).float()
        low, high = self.output_range
        return low + (high - low) * torch.sigmoid(features + self.head_bias[:, :, None, None])

    def bounded_kernels(self, lipschitz_bound: float | None) -> list[torch.Tensor]:
        """Return each layer's ``(s, out, in, k, k)`` kernel under the bound, measuring all of a shape in one batch."""
        bounded: list[torch.Tensor] = [layer.kernel for layer in self.convolutions]
        if lipschitz_bound is None:
            return bounded
        for group, vectors in zip(self.groups, self.singular_vectors, strict=True):
            with torch.no_grad():
                norms, followed = spectral_norms(self._group_kernels(group), vectors)
                vectors.copy_(followed)
            for index, norm in zip(group, norms.split(bounded[group[0]].shape[0]), strict=True):
                bounded[index] = bound_kernels(bounded[index], norm, lipschitz_bound)
        return bounded

    @property
    def convolutions(self) -> list[ControlledConvolution]:
        """The layers, all but the head."""
        return cast("list[ControlledConvolution]", list(self.layers))

    def expand(self, features: torch.Tensor) -> torch.Tensor:
        """Enlarge ``(s, c, h, w)`` by two, as the architecture says."""
        return upsample(features, self.architecture.upsampling, self.gaussian)

    def _group_kernels(self, group: list[int]) -> torch.Tensor:
        layers = self.convolutions
        return torch.cat([layers[index].kernel.detach() for index in group])  # (n * s, out, in, k, k)


class Decoder(Network):
    """The Decoder of Fig. 2: convolutions and x2 upsamplings from a small random input to the image.

    With the settings of the preset ``"published"`` it is the published network: a stem of two convolutions, two per
    level. With ``kernel_size=1`` and batch normalisation it is the deep decoder of Heckel and Hand.

    Parameters are those of ``Network``, without the layers.
    """

    def __init__(
        self,
        architecture: Architecture,
        output_range: tuple[float, float],
        output_mean: torch.Tensor,
        generator: torch.Generator,
    ) -> None:
        layers = _chain(architecture, _decoder_depth(architecture), generator)
        super().__init__(architecture, layers, output_range, output_mean, generator)
        per_level = architecture.convolutions_per_level
        self.ends = [architecture.stem_convolutions + level * per_level for level in range(architecture.levels)]

    @staticmethod
    def input_size(canvas: tuple[int, int], levels: int) -> tuple[int, int]:
        return canvas[0] >> levels, canvas[1] >> levels

    @property
    def areas(self) -> list[float]:
        architecture = self.architecture
        levels, per_level = architecture.levels, architecture.convolutions_per_level
        stem = [0.25**levels] * architecture.stem_convolutions
        return stem + [0.25**level for level in reversed(range(levels)) for _ in range(per_level)]

    def extract(self, noise: torch.Tensor, kernels: Sequence[torch.Tensor]) -> torch.Tensor:
        features = noise
        for index, (layer, kernel) in enumerate(zip(self.convolutions, kernels, strict=True)):
            if index in self.ends:
                features = self.expand(features)
            features = layer(features, kernel)
        return features


class ConvNet(Network):
    """The ConvNet of Fig. 2: the Decoder's convolutions without its upsamplings, from z of the image's size.

    Parameters are those of ``Network``, without the layers.
    """

    def __init__(
        self,
        architecture: Architecture,
        output_range: tuple[float, float],
        output_mean: torch.Tensor,
        generator: torch.Generator,
    ) -> None:
        layers = _chain(architecture, _decoder_depth(architecture), generator)
        super().__init__(architecture, layers, output_range, output_mean, generator)

    @staticmethod
    def input_size(canvas: tuple[int, int], levels: int) -> tuple[int, int]:
        return canvas

    @property
    def areas(self) -> list[float]:
        return [1.0] * len(self.layers)

    def extract(self, noise: torch.Tensor, kernels: Sequence[torch.Tensor]) -> torch.Tensor:
        features = noise
        for layer, kernel in zip(self.convolutions, kernels, strict=True):
            features = layer(features, kernel)
        return features


class EncoderDecoder(Network):
    """The Encoder-Decoder of Fig. 2, from z of the image's size: two convolutions a level down, then a decoder.

    With ``skip_channels`` above 0, a 1x1 convolution of that many channels carries what enters each level of the
    encoder to the decoder's level of the same size, as Ulyanov et al. do it for all tasks but the filling of holes.

    Parameters are those of ``Network``, without the layers.
    """

    def __init__(
        self,
        architecture: Architecture,
        output_range: tuple[float, float],
        output_mean: torch.Tensor,
        generator: torch.Generator,
    ) -> None:
        runs, width, skipped = architecture.runs, architecture.width, architecture.skip_channels
        normalisation, side = architecture.normalisation, architecture.kernel_size
        down: list[ControlledConvolution] = []
        skips: list[ControlledConvolution] = []
        up: list[ControlledConvolution] = []
        for level in range(architecture.levels):
            inputs = width if level else architecture.input_channels
            if skipped:
                skips.append(ControlledConvolution(runs, inputs, skipped, normalisation, generator, side=1))
            for n in range(_ENCODER_CONVOLUTIONS):
                channels, stride = (width, 1) if n else (inputs, 2)
                down.append(ControlledConvolution(runs, channels, width, normalisation, generator, side, stride))
            for n in range(architecture.convolutions_per_level):
                channels = width if n else width + skipped
                up.append(ControlledConvolution(runs, channels, width, normalisation, generator, side))
        super().__init__(architecture, [*down, *skips, *up], output_range, output_mean, generator)

    @staticmethod
    def input_size(canvas: tuple[int, int], levels: int) -> tuple[int, int]:
        return canvas

    @property
    def areas(self) -> list[float]:
        architecture = self.architecture
        levels = range(architecture.levels)
        down = [0.25 ** (level + (n > 0)) for level in levels for n in range(_ENCODER_CONVOLUTIONS)]
        skips = [0.25**level for level in levels] if architecture.skip_channels else []
        up = [0.25**level for level in reversed(levels) for _ in range(architecture.convolutions_per_level)]
        return down + skips + up

    def extract(self, noise: torch.Tensor, kernels: Sequence[torch.Tensor]) -> torch.Tensor:
        architecture = self.architecture
        levels, features = architecture.levels, noise
        pairs = list(zip(self.convolutions, kernels, strict=True))
        down, rest = pairs[: levels * _ENCODER_CONVOLUTIONS], pairs[levels * _ENCODER_CONVOLUTIONS :]
        skips, up = (rest[:levels], rest[levels:]) if architecture.skip_channels else ([], rest)
        carried: list[torch.Tensor] = []
        for level in range(levels):
            if skips:
                layer, kernel = skips[level]
                carried.append(layer(features, kernel))
            for layer, kernel in _of_level(down, level, _ENCODER_CONVOLUTIONS):
                features = layer(features, kernel)
        for level in range(levels):
            features = self.expand(features)
            if skips:
                features = torch.cat([features, carried.pop()], dim=1)
            for layer, kernel in _of_level(up, level, architecture.convolutions_per_level):
                features = layer(features, kernel)
        return features


NETWORKS: dict[str, type[Decoder] | type[EncoderDecoder] | type[ConvNet]] = {
    "decoder": Decoder,
    "encoder_decoder": EncoderDecoder,
    "conv_net": ConvNet,
}


def fixed_input(kind: str, runs: int, channels: int, size: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
    """Draw z, the input that stays fixed while the weights learn.

    Parameters
    ----------
    kind : {"fourier", "uniform"}
        Sine and cosine of 2π times uniform noise (published implementation), or uniform noise in [0, 0.1] (paper).
    runs, channels : int
    size : (int, int)
        Height and width of z.

    Returns
    -------
    Tensor
        ``(runs, channels, height, width)`` float32 on the CPU.
    """
    if kind == "uniform":
        return 0.1 * torch.rand(runs, channels, *size, generator=generator)
    phase = 2 * math.pi * torch.rand(runs, channels // 2, *size, generator=generator)
    return torch.cat([phase.sin(), phase.cos()], dim=1)


def _decoder_depth(architecture: Architecture) -> int:
    return architecture.stem_convolutions + architecture.levels * architecture.convolutions_per_level


def _chain(architecture: Architecture, depth: int, generator: torch.Generator) -> list[ControlledConvolution]:
    """Convolutions one after the other, from z to the last features."""
    width = architecture.width
    inputs = [architecture.input_channels] + [width] * (depth - 1)
    return [
        ControlledConvolution(
            architecture.runs, channels, width, architecture.normalisation, generator, architecture.kernel_size
        )
        for channels in inputs
    ]


def _of_level(
    pairs: Sequence[tuple[ControlledConvolution, torch.Tensor]], level: int, depth: int
) -> Sequence[tuple[ControlledConvolution, torch.Tensor]]:
    return pairs[level * depth : (level + 1) * depth]
