"""One layer of the networks: a reflection-padded convolution, its normalisation and its leaky ReLU, for s runs at once.

It uses plain operations and autograd, which are right on every device. On a CPU, hand-written code does the same in
half the time (``cpu_convolution``).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from .cpu_convolution import LEAK, Workspace, convolve_and_centre_in_place, convolve_one_by_one
from .lipschitz import batch_normalise


class ControlledConvolution(nn.Module):
    """A reflection-padded k x k convolution, its normalisation and its leaky ReLU, for s runs at once.

    Parameters
    ----------
    runs, inputs, outputs : int
        s, and the input and output channels.
    normalisation : {"lipschitz", "batch"}
    generator : torch.Generator
        For He's uniform initialisation.
    side : int
        k, odd.
    stride : int
        2 halves the image.
    """

    def __init__(
        self,
        runs: int,
        inputs: int,
        outputs: int,
        normalisation: str,
        generator: torch.Generator,
        side: int = 3,
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.normalisation, self.stride = normalisation, stride
        self.workspace = Workspace()
        self.kernel = nn.Parameter(he_uniform((runs, outputs, inputs, side, side), generator))
        self.bias = nn.Parameter(torch.zeros(runs, outputs, dtype=torch.float32))
        if normalisation == "batch":
            self.gain = nn.Parameter(torch.ones(runs, outputs, dtype=torch.float32))

    def forward(self, features: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        """Map ``(s, c, h, w)`` features with the bounded ``(s, out, c, k, k)`` kernel to ``(s, out, h', w')``."""
        if self.normalisation == "batch":
            features = batch_normalise(convolve(features, kernel, self.stride), self.gain, self.bias)
            return functional.leaky_relu(features, LEAK)
        if features.is_cpu:
            return convolve_and_centre_in_place(features, kernel, self.bias, self.stride, self.workspace)
        return convolve_and_centre(features, kernel, self.bias, self.stride)


def convolve(features: torch.Tensor, kernel: torch.Tensor, stride: int = 1) -> torch.Tensor:
    """Convolve s feature maps, each with its own kernel, reflected at the border.

    Parameters
    ----------
    features : Tensor
        ``(s, in, h, w)``.
    kernel : Tensor
        ``(s, out, in, k, k)``, k odd.
    stride : int
        h and w are multiples of it.

    Returns
    -------
    Tensor
        ``(s, out, h / stride, w / stride)``.
    """
    padded = reflect(features, kernel.shape[-1] // 2)
    if padded.is_cpu:
        return convolve_one_by_one(padded, kernel, stride)
    runs = len(kernel)
    if kernel.shape[-1] == 1 and stride == 1:  # a product: cuDNN is far slower where few channels leave
        pixels = padded.permute(0, 2, 3, 1).flatten(1, 2) @ kernel.flatten(2).mT  # (s, h * w, out)
        return pixels.mT.unflatten(2, padded.shape[2:])
    if runs == 1:
        return functional.conv2d(padded, kernel[0], stride=stride)
    side_by_side = padded.reshape(1, -1, *padded.shape[2:])
    out = functional.conv2d(side_by_side, kernel.flatten(0, 1), groups=runs, stride=stride)
    return out.reshape(runs, -1, *out.shape[2:])


def reflect(features: torch.Tensor, reach: int) -> torch.Tensor:
    """Pad ``(s, c, h, w)`` by reflection, ``reach`` pixels at each side, in its own memory layout."""
    if not reach:
        return features
    if features.is_cpu or features.is_contiguous() or min(features.shape[2:]) <= 2 * reach + 1:
        return functional.pad(features, (reach,) * 4, mode="reflect")
    padded: torch.Tensor = _ReflectChannelsLast.apply(features, reach)  # type: ignore[no-untyped-call]
    return padded


def convolve_and_centre(
    features: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor, stride: int = 1
) -> torch.Tensor:
    """Convolve, subtract each channel's mean over the image, add a bias (Eq. 5, mean-only), and apply the leaky ReLU.

    Mean-only: dividing by the deviation would undo the bound (Eq. 4). The mean is taken in float32.

    Parameters
    ----------
    features, kernel, stride
        As in ``convolve``.
    bias : Tensor
        ``(s, out)`` float32.

    Returns
    -------
    Tensor
        As from ``convolve``.
    """
    centred: torch.Tensor = _Centre.apply(convolve(features, kernel, stride), bias)  # type: ignore[no-untyped-call]
    return functional.leaky_relu_(centred, LEAK)


def he_uniform(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Draw kernels of ``(s, out, in, k, k)`` from He's uniform distribution."""
    fan_in = math.prod(shape[2:])
    return (2 * torch.rand(shape, generator=generator, dtype=torch.float32) - 1) * math.sqrt(6 / fan_in)


class _ReflectChannelsLast(torch.autograd.Function):
    """Reflection that keeps channels-last memory; CUDA's own does not, and every convolution then makes a copy."""

    @staticmethod
    def forward(ctx: Any, features: torch.Tensor, reach: int) -> torch.Tensor:
        ctx.reach = reach
        runs, channels, height, width = features.shape
        padded = features.new_empty((runs, height + 2 * reach, width + 2 * reach, channels)).permute(0, 3, 1, 2)
        padded[..., reach:-reach, reach:-reach] = features
        for axis in (2, 3):
            for outside, inside in _mirrored_lines(padded, axis, reach):
                outside.copy_(inside)
        return padded

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        reach = ctx.reach
        gradient = gradient.clone()
        for axis in (3, 2):
            for outside, inside in _mirrored_lines(gradient, axis, reach):
                inside.add_(outside)
        return gradient[..., reach:-reach, reach:-reach], None


def _mirrored_lines(padded: torch.Tensor, axis: int, reach: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return views of the lines outside and of those that they mirror: two lines each, one at each end of the axis."""
    lines = []
    for distance in range(1, reach + 1):
        first, last = reach, padded.shape[axis] - reach - 1
        outside, inside = (
            padded.narrow(axis, first - away, last - first + 2 * away + 1).unfold(axis, 1, last - first + 2 * away)
            for away in (distance, -distance)
        )
        lines.append((outside, inside))
    return lines


class _Centre(torch.autograd.Function):
    """Subtract each channel's mean and add a bias, in place; autograd's own gradient takes twice as many passes."""

    @staticmethod
    def forward(ctx: Any, features: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        ctx.mark_dirty(features)
        shift = bias - features.mean(dim=(2, 3), dtype=torch.float32)
        return features.add_(shift.to(features.dtype)[:, :, None, None])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        total = gradient.sum(dim=(2, 3), dtype=torch.float32)
        mean = (total / math.prod(gradient.shape[2:])).to(gradient.dtype)
        return gradient - mean[:, :, None, None], total
