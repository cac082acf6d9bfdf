"""The untrained networks, and their fixed random input z.

The first axis of every tensor counts independent runs (seeds): s networks, trained side by side, never mixed.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from .lipschitz import POWER_ITERATIONS_COLD, batch_normalise, bound_kernels, spectral_norms, subtract_mean
from .upsampling import gaussian_kernel, upsample

_LEAK = 0.01  # negative slope of the leaky ReLU (Fig. 2)


class ControlledConvolution(nn.Module):
    """A reflection-padded k x k convolution, its normalisation and its leaky ReLU, for s runs at once.

    Parameters
    ----------
    runs, inputs, outputs : int
        s, and the channels in and out.
    normalisation : {"lipschitz", "batch"}
    generator : torch.Generator
        For He's uniform initialisation.
    """

    def __init__(
        self, runs: int, inputs: int, outputs: int, normalisation: str, generator: torch.Generator, side: int = 3
    ) -> None:
        super().__init__()
        self.normalisation = normalisation
        self.kernel = nn.Parameter(_he_uniform((runs, outputs, inputs, side, side), generator))
        self.bias = nn.Parameter(torch.zeros(runs, outputs))
        if normalisation == "batch":
            self.gain = nn.Parameter(torch.ones(runs, outputs))

    def forward(self, features: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        """Map ``(s, c, h, w)`` features with the bounded ``(s, out, c, k, k)`` kernel to ``(s, out, h, w)``."""
        features = convolve(features, kernel)
        if self.normalisation == "batch":
            features = batch_normalise(features, self.gain, self.bias)
        else:
            features = subtract_mean(features, self.bias)
        return functional.leaky_relu(features, _LEAK)


class Decoder(nn.Module):
    """The Decoder of Fig. 2: convolutions and x2 upsamplings from a small random input to the image.

    With the settings of the preset ``"published"`` it is the published network: a stem of two convolutions, two per
    level, then an unbounded 1x1 convolution and a sigmoid.

    Parameters
    ----------
    runs : int
        s, the number of independent networks.
    input_channels, width, output_channels : int
    levels, convolutions_per_level, stem_convolutions : int
    normalisation, upsampling : str
        As in ``Settings``.
    gaussian_sigma : float
        σ of Eq. 6.
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
        *,
        runs: int,
        input_channels: int,
        width: int,
        output_channels: int,
        levels: int,
        convolutions_per_level: int,
        stem_convolutions: int,
        normalisation: str,
        upsampling: str,
        gaussian_sigma: float,
        output_range: tuple[float, float],
        output_mean: torch.Tensor,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.upsampling, self.output_range = upsampling, output_range
        self.compute_dtype = torch.float32
        depths = [stem_convolutions] + [convolutions_per_level] * levels
        inputs = [input_channels] + [width] * (sum(depths) - 1)
        layers = [ControlledConvolution(runs, channels, width, normalisation, generator) for channels in inputs]
        self.layers = nn.ModuleList(layers)
        self.ends = [sum(depths[: level + 1]) for level in range(levels)]  # upsample after that many layers
        self.head = nn.Parameter(_he_uniform((runs, output_channels, width, 1, 1), generator))
        low, high = output_range
        mean = ((output_mean - low) / (high - low)).clamp(0.02, 0.98)
        self.head_bias = nn.Parameter(torch.logit(mean).repeat(runs, 1))  # (s, c)
        self.register_buffer("gaussian", gaussian_kernel(gaussian_sigma), persistent=False)
        self.singular_vectors = nn.ParameterList()
        self.groups: list[list[int]] = []
        for shape in dict.fromkeys(layer.kernel.shape for layer in layers):
            group = [i for i, layer in enumerate(layers) if layer.kernel.shape == shape]
            vectors = torch.randn(len(group) * runs, shape[1], generator=generator)
            _, vectors = spectral_norms(self._group_kernels(group), vectors, POWER_ITERATIONS_COLD)
            self.groups.append(group)
            self.singular_vectors.append(nn.Parameter(vectors, requires_grad=False))

    def forward(self, noise: torch.Tensor, lipschitz_bound: float | None) -> torch.Tensor:
        """Map z, ``(s, input_channels, h, w)``, to images ``(s, c, h * 2**levels, w * 2**levels)``, float32."""
        kernels = self.bounded_kernels(lipschitz_bound)
        features = noise.to(self.compute_dtype)
        for index, layer in enumerate(self._convolutions()):
            if index in self.ends:
                features = upsample(features, self.upsampling, self.gaussian)
            features = layer(features, kernels[index].to(self.compute_dtype))
        features = convolve(features, self.head.to(self.compute_dtype)).float()
        low, high = self.output_range
        return low + (high - low) * torch.sigmoid(features + self.head_bias[:, :, None, None])

    def bounded_kernels(self, lipschitz_bound: float | None) -> list[torch.Tensor]:
        """Return each layer's ``(s, out, in, k, k)`` kernel under the bound, measuring all of a shape in one batch."""
        bounded: list[torch.Tensor] = [layer.kernel for layer in self._convolutions()]
        if lipschitz_bound is None:
            return bounded
        for group, vectors in zip(self.groups, self.singular_vectors, strict=True):
            with torch.no_grad():
                norms, followed = spectral_norms(self._group_kernels(group), vectors)
                vectors.copy_(followed)
            for index, norm in zip(group, norms.split(bounded[group[0]].shape[0]), strict=True):
                bounded[index] = bound_kernels(bounded[index], norm, lipschitz_bound)
        return bounded

    def _convolutions(self) -> list[ControlledConvolution]:
        return cast("list[ControlledConvolution]", list(self.layers))

    def _group_kernels(self, group: list[int]) -> torch.Tensor:
        layers = self._convolutions()
        return torch.cat([layers[index].kernel.detach() for index in group])  # (n * s, out, in, k, k)


def convolve(features: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Convolve s feature maps, each with its own kernel, keeping the size by reflection.

    Parameters
    ----------
    features : Tensor
        ``(s, in, h, w)``.
    kernel : Tensor
        ``(s, out, in, k, k)``, k odd.

    Returns
    -------
    Tensor
        ``(s, out, h, w)``.
    """
    runs, outputs, inputs, side, _ = kernel.shape
    reach = side // 2
    if reach:
        features = functional.pad(features, (reach,) * 4, mode="reflect")
    if runs == 1:
        return functional.conv2d(features, kernel[0].contiguous(memory_format=torch.channels_last))
    height, width = features.shape[2:]
    grouped = features.reshape(1, runs * inputs, height, width)
    flat = kernel.reshape(runs * outputs, inputs, side, side)
    out = functional.conv2d(grouped, flat, groups=runs)
    return out.reshape(runs, outputs, *out.shape[2:])


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


def _he_uniform(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    fan_in = math.prod(shape[2:])
    return (2 * torch.rand(shape, generator=generator) - 1) * math.sqrt(6 / fan_in)
