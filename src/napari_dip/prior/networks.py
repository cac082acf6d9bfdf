"""The untrained networks of Fig. 2, and their fixed random input z.

The first axis of every tensor counts independent runs (seeds): s networks, trained side by side, never mixed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import nn

from .convolution import ControlledConvolution, convolve, he_uniform
from .lipschitz import POWER_ITERATIONS_COLD, bound_kernels, spectral_norms
from .upsampling import gaussian_kernel, upsample

# Measured with tests/benchmark/speed.py: how many feature maps of the largest layer exist for a moment in the backward
# pass, and how many extra copies of each layer's result batch normalisation keeps for autograd.
_PASSING_MAPS, _BATCH_COPIES = 5, 4
_BYTES_OF_WEIGHT = 4
_ENCODER_CONVOLUTIONS = 2  # per level; the first has stride 2 (Fig. 2)


@dataclass(frozen=True, slots=True)
class Architecture:
    """The shape of a network; the fields mean the same as in ``Settings``."""

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


class LayerPlan(NamedTuple):
    """The plan of a controlled convolution, which takes no memory yet.

    Attributes
    ----------
    inputs, outputs : int
        Channels.
    side : int
        Of the kernel.
    stride : int
    area : float
        Area of the input, as a share of the canvas.
    """

    inputs: int
    outputs: int
    side: int
    stride: int
    area: float

    def build(self, architecture: Architecture, generator: torch.Generator) -> ControlledConvolution:
        """Build the layer."""
        return ControlledConvolution(
            architecture.runs, self.inputs, self.outputs, architecture.normalisation, generator, self.side, self.stride
        )


class Network(nn.Module, ABC):
    """What the networks of Fig. 2 share: bounded convolutions, then an unbounded 1x1 convolution and a sigmoid.

    Parameters
    ----------
    architecture : Architecture
    layers : sequence of ControlledConvolution
        In the order in which ``extract`` takes their kernels.
    output_range : (float, float)
        The range of the sigmoid.
    output_mean : Tensor
        ``(c,)``, the mean output before the first step.
    generator : torch.Generator
        On the CPU, so that a seed gives the same network on every device.
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
            vectors = torch.randn(len(group) * runs, shape[1], generator=generator, dtype=torch.float32)
            _, vectors = spectral_norms(self._group_kernels(group), vectors, POWER_ITERATIONS_COLD)
            self.groups.append(group)
            self.singular_vectors.append(nn.Parameter(vectors, requires_grad=False))

    @staticmethod
    @abstractmethod
    def input_size(canvas: tuple[int, int], levels: int) -> tuple[int, int]:
        """Return the height and width of z for a canvas whose sides are multiples of ``2**levels``."""

    @abstractmethod
    def extract(self, noise: torch.Tensor, kernels: Sequence[torch.Tensor]) -> torch.Tensor:
        """Map z to the last features, ``(s, width, H, W)``, with the layers' bounded kernels in order."""

    @staticmethod
    @abstractmethod
    def plan(architecture: Architecture) -> list[LayerPlan]:
        """Return the plans of all layers but the head, in order."""

    @classmethod
    def bytes_per_pixel(cls, architecture: Architecture, compute_dtype: torch.dtype) -> float:
        """Estimate how many bytes the feature maps of a step take per pixel of the canvas."""
        kept, largest = 0.0, 0.0
        copies = 1 + (_BATCH_COPIES if architecture.normalisation == "batch" else 0)
        for layer in cls.plan(architecture):
            drawn = layer.outputs * layer.area / layer.stride**2
            kept += layer.inputs * layer.area + copies * drawn
            largest = max(largest, drawn)
        elements = architecture.runs * (kept + _PASSING_MAPS * largest)
        return elements * torch.finfo(compute_dtype).bits / 8

    @classmethod
    def bytes_of_kernels(cls, architecture: Architecture) -> int:
        """Return how many bytes one copy of the kernels takes; nearly all weights are kernels."""
        each = (layer.outputs * layer.inputs * layer.side**2 for layer in cls.plan(architecture))
        return _BYTES_OF_WEIGHT * architecture.runs * sum(each)

    def forward(self, noise: torch.Tensor, lipschitz_bound: float | torch.Tensor | None) -> torch.Tensor:
        """Map z, ``(s, input_channels, h, w)``, to float32 images ``(s, c, H, W)``, with every kernel bounded by λ."""
        kernels = self.bounded_kernels(lipschitz_bound)
        features = self.extract(noise.to(self.compute_dtype), kernels)
        features = convolve(features, self.head.to(self.compute_dtype)).float()
        low, high = self.output_range
        return low + (high - low) * torch.sigmoid(features + self.head_bias[:, :, None, None])

    def bounded_kernels(self, lipschitz_bound: float | torch.Tensor | None) -> list[torch.Tensor]:
        """Return each layer's bounded kernel, ``(s, out, in, k, k)``, in the type of the convolutions.

        All kernels of one shape are measured and bounded at once.
        """
        bounded: dict[int, torch.Tensor] = {}
        for group, vectors in zip(self.groups, self.singular_vectors, strict=True):
            kernels = torch.cat([self.convolutions[index].kernel for index in group])  # (n * s, out, in, k, k)
            if lipschitz_bound is not None:
                with torch.no_grad():
                    norms, followed = spectral_norms(kernels, vectors)
                    vectors.copy_(followed)
                kernels = bound_kernels(kernels, norms, lipschitz_bound)
            split = kernels.to(self.compute_dtype).split(self.architecture.runs)
            bounded |= dict(zip(group, split, strict=True))
        return [bounded[index] for index in range(len(bounded))]

    @property
    def convolutions(self) -> list[ControlledConvolution]:
        """All layers but the head."""
        return cast("list[ControlledConvolution]", list(self.layers))

    def expand(self, features: torch.Tensor) -> torch.Tensor:
        """Enlarge ``(s, c, h, w)`` by two with the architecture's upsampling."""
        return upsample(features, self.architecture.upsampling, self.gaussian)

    def _group_kernels(self, group: list[int]) -> torch.Tensor:
        layers = self.convolutions
        return torch.cat([layers[index].kernel.detach() for index in group])  # (n * s, out, in, k, k)


class Decoder(Network):
    """The Decoder of Fig. 2: convolutions and x2 upsamplings from a small random input to the image.

    With the preset ``"published"`` it is the published network: a stem of two convolutions, then two per level. With
    ``kernel_size=1`` and batch normalisation it is the deep decoder of Heckel and Hand.

    Takes the parameters of ``Network``, without the layers.
    """

    def __init__(
        self,
        architecture: Architecture,
        output_range: tuple[float, float],
        output_mean: torch.Tensor,
        generator: torch.Generator,
    ) -> None:
        layers = [each.build(architecture, generator) for each in self.plan(architecture)]
        super().__init__(architecture, layers, output_range, output_mean, generator)
        per_level = architecture.convolutions_per_level
        self.ends = [architecture.stem_convolutions + level * per_level for level in range(architecture.levels)]

    @staticmethod
    def input_size(canvas: tuple[int, int], levels: int) -> tuple[int, int]:
        return canvas[0] >> levels, canvas[1] >> levels

    @staticmethod
    def plan(architecture: Architecture) -> list[LayerPlan]:
        levels, per_level = architecture.levels, architecture.convolutions_per_level
        stem = [0.25**levels] * architecture.stem_convolutions
        return _chain(architecture, stem + [0.25**level for level in reversed(range(levels)) for _ in range(per_level)])

    def extract(self, noise: torch.Tensor, kernels: Sequence[torch.Tensor]) -> torch.Tensor:
        features = noise
        for index, (layer, kernel) in enumerate(zip(self.convolutions, kernels, strict=True)):
            if index in self.ends:
                features = self.expand(features)
            features = layer(features, kernel)
        return features


class ConvNet(Network):
    """The ConvNet of Fig. 2: the Decoder's convolutions without its upsampling, from a z as large as the image.

    Takes the parameters of ``Network``, without the layers.
    """

    def __init__(
        self,
        architecture: Architecture,
        output_range: tuple[float, float],
        output_mean: torch.Tensor,
        generator: torch.Generator,
    ) -> None:
        layers = [each.build(architecture, generator) for each in self.plan(architecture)]
        super().__init__(architecture, layers, output_range, output_mean, generator)

    @staticmethod
    def input_size(canvas: tuple[int, int], levels: int) -> tuple[int, int]:
        return canvas

    @staticmethod
    def plan(architecture: Architecture) -> list[LayerPlan]:
        depth = architecture.stem_convolutions + architecture.levels * architecture.convolutions_per_level
        return _chain(architecture, [1.0] * depth)

    def extract(self, noise: torch.Tensor, kernels: Sequence[torch.Tensor]) -> torch.Tensor:
        features = noise
        for layer, kernel in zip(self.convolutions, kernels, strict=True):
            features = layer(features, kernel)
        return features


class EncoderDecoder(Network):
    """The Encoder-Decoder of Fig. 2, from a z as large as the image: two convolutions per level down, then a decoder.

    With ``skip_channels`` above 0, a 1x1 convolution with that many channels carries the input of each encoder level to
    the decoder level of the same size, as Ulyanov et al. do for all tasks except filling holes.

    Takes the parameters of ``Network``, without the layers.
    """

    def __init__(
        self,
        architecture: Architecture,
        output_range: tuple[float, float],
        output_mean: torch.Tensor,
        generator: torch.Generator,
    ) -> None:
        plans = self.plan(architecture)
        layers: dict[int, ControlledConvolution] = {}
        for index in self._order_of_draws(architecture):  # random weights are drawn level by level
            layers[index] = plans[index].build(architecture, generator)
        super().__init__(
            architecture, [layers[index] for index in range(len(plans))], output_range, output_mean, generator
        )

    @staticmethod
    def input_size(canvas: tuple[int, int], levels: int) -> tuple[int, int]:
        return canvas

    @staticmethod
    def plan(architecture: Architecture) -> list[LayerPlan]:
        width, skipped, side = architecture.width, architecture.skip_channels, architecture.kernel_size
        levels, per_level = range(architecture.levels), architecture.convolutions_per_level
        entering = [architecture.input_channels] + [width] * (architecture.levels - 1)
        down = [
            LayerPlan(width if n else entering[level], width, side, 1 if n else 2, 0.25 ** (level + (n > 0)))
            for level in levels
            for n in range(_ENCODER_CONVOLUTIONS)
        ]
        skips = [LayerPlan(entering[level], skipped, 1, 1, 0.25**level) for level in levels if skipped]
        up = [
            LayerPlan(width if n else width + skipped, width, side, 1, 0.25**level)
            for level in reversed(levels)
            for n in range(per_level)
        ]
        return down + skips + up

    @staticmethod
    def _order_of_draws(architecture: Architecture) -> list[int]:
        """Return indices into the plan, level by level: its skip, its convolutions down, its convolutions up."""
        levels, per_level = architecture.levels, architecture.convolutions_per_level
        skips = levels * _ENCODER_CONVOLUTIONS
        up = skips + (levels if architecture.skip_channels else 0)
        order: list[int] = []
        for level in range(levels):
            if architecture.skip_channels:
                order.append(skips + level)
            order += range(level * _ENCODER_CONVOLUTIONS, (level + 1) * _ENCODER_CONVOLUTIONS)
            order += range(up + level * per_level, up + (level + 1) * per_level)
        return order

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
            for layer, kernel in _select_level(down, level, _ENCODER_CONVOLUTIONS):
                features = layer(features, kernel)
        for level in range(levels):
            features = self.expand(features)
            if skips:
                features = torch.cat([features, carried.pop()], dim=1)
            for layer, kernel in _select_level(up, level, architecture.convolutions_per_level):
                features = layer(features, kernel)
        return features


NETWORKS: dict[str, type[Decoder] | type[EncoderDecoder] | type[ConvNet]] = {
    "decoder": Decoder,
    "encoder_decoder": EncoderDecoder,
    "conv_net": ConvNet,
}


def fixed_input(kind: str, runs: int, channels: int, size: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
    """Draw z, the input, which stays fixed while the weights learn.

    Parameters
    ----------
    kind : {"fourier", "uniform"}
        Sines and cosines of 2π times uniform noise (published implementation), or uniform noise in [0, 0.1] (paper).
    runs, channels : int
    size : (int, int)
        Height and width of z.

    Returns
    -------
    Tensor
        ``(runs, channels, height, width)`` float32 on the CPU.
    """
    if kind == "uniform":
        return 0.1 * torch.rand(runs, channels, *size, generator=generator, dtype=torch.float32)
    phase = 2 * math.pi * torch.rand(runs, channels // 2, *size, generator=generator, dtype=torch.float32)
    return torch.cat([phase.sin(), phase.cos()], dim=1)


def _chain(architecture: Architecture, areas: Sequence[float]) -> list[LayerPlan]:
    """Plan convolutions one after the other, from z to the last features."""
    width, side = architecture.width, architecture.kernel_size
    inputs = [architecture.input_channels] + [width] * (len(areas) - 1)
    return [LayerPlan(channels, width, side, 1, area) for channels, area in zip(inputs, areas, strict=True)]


def _select_level(
    pairs: Sequence[tuple[ControlledConvolution, torch.Tensor]], level: int, depth: int
) -> Sequence[tuple[ControlledConvolution, torch.Tensor]]:
    return pairs[level * depth : (level + 1) * depth]
