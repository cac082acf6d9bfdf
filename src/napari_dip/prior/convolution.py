"""One layer of the networks: a reflection-padded convolution, its normalisation and its leaky ReLU, for s runs at once.

A step is little more than these layers, so what surrounds the convolutions is done in place and by hand: autograd would
keep three more copies of every feature map, and expand the gradient of the mean to one in float32.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from .lipschitz import batch_normalise

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
        self.kernel = nn.Parameter(he_uniform((runs, outputs, inputs, side, side), generator))
        self.bias = nn.Parameter(torch.zeros(runs, outputs))
        if normalisation == "batch":
            self.gain = nn.Parameter(torch.ones(runs, outputs))

    def forward(self, features: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        """Map ``(s, c, h, w)`` features with the bounded ``(s, out, c, k, k)`` kernel to ``(s, out, h', w')``."""
        if self.normalisation == "batch":
            features = batch_normalise(convolve(features, kernel, self.stride), self.gain, self.bias)
            return functional.leaky_relu(features, _LEAK)
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
        h and w are its multiples.

    Returns
    -------
    Tensor
        ``(s, out, h / stride, w / stride)``.
    """
    features, flat = _grouped(_pad(features, kernel), kernel)
    return _apart(functional.conv2d(features, flat, groups=kernel.shape[0], stride=stride), kernel.shape[0])


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
    out: torch.Tensor = _ConvolveAndCentre.apply(features, kernel, bias, stride)
    return out


class _ConvolveAndCentre(torch.autograd.Function):
    """``convolve_and_centre`` and its gradient, with one new feature map each way beside the convolution's own."""

    @staticmethod
    def forward(
        ctx: Any, features: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor, stride: int
    ) -> torch.Tensor:
        ctx.stride, ctx.runs = stride, kernel.shape[0]
        padded, flat = _grouped(_pad(features, kernel), kernel)
        out = functional.conv2d(padded, flat, groups=ctx.runs, stride=stride)
        shift = bias.flatten() - _channel_means(out)
        out.add_(shift.to(out.dtype)[:, None, None])
        functional.leaky_relu_(out, _LEAK)
        ctx.save_for_backward(padded, flat, out)
        return _apart(out, ctx.runs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        padded, flat, out = ctx.saved_tensors
        # the leaky ReLU keeps the sign, so its result tells its slope
        gradient = torch.ops.aten.leaky_relu_backward(
            gradient.reshape(out.shape) if ctx.runs > 1 else gradient, out, _LEAK, True
        )
        mean = _channel_means(gradient)
        gradient.sub_(mean.to(out.dtype)[:, None, None])
        wanted = (ctx.needs_input_grad[0], True, False)
        of_features, of_kernel, _ = torch.ops.aten.convolution_backward(
            gradient, padded, flat, None, (ctx.stride,) * 2, (0, 0), (1, 1), False, (0, 0), ctx.runs, wanted
        )
        if of_features is not None:
            of_features = _fold(_apart(of_features, ctx.runs), flat.shape[-1] // 2)
        of_bias = mean * math.prod(out.shape[2:])
        return of_features, of_kernel.unflatten(0, (ctx.runs, -1)), of_bias.unflatten(0, (ctx.runs, -1)), None


def he_uniform(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Draw kernels of ``(s, out, in, k, k)`` from He's uniform distribution."""
    fan_in = math.prod(shape[2:])
    return (2 * torch.rand(shape, generator=generator) - 1) * math.sqrt(6 / fan_in)


def _pad(features: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    reach = kernel.shape[-1] // 2
    return functional.pad(features, (reach,) * 4, mode="reflect") if reach else features


def _fold(gradient: torch.Tensor, reach: int) -> torch.Tensor:
    """Return the gradient of what was padded by reflection, from that of the result; the result's memory is used."""
    if reach:
        for axis in (2, 3):
            end = gradient.shape[axis] - reach
            gradient.narrow(axis, reach + 1, reach).add_(gradient.narrow(axis, 0, reach).flip(axis))
            gradient.narrow(axis, end - reach - 1, reach).add_(gradient.narrow(axis, end, reach).flip(axis))
    inside = gradient[..., reach : gradient.shape[2] - reach, reach : gradient.shape[3] - reach]
    return inside.contiguous(memory_format=torch.channels_last)


def _channel_means(features: torch.Tensor) -> torch.Tensor:
    """Return the float32 means, ``(c,)``, of ``(1, c, h, w)``."""
    if features.is_cpu:  # where a sum of bfloat16 in float32 copies the whole tensor first
        return torch.batch_norm_update_stats(features, None, None, 0.0)[0].float()
    return features.mean(dim=(0, 2, 3), dtype=torch.float32)


def _grouped(features: torch.Tensor, kernel: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return s feature maps side by side as channels of one, and their kernels as those of a grouped convolution."""
    if kernel.shape[0] == 1:
        return features, kernel[0].contiguous(memory_format=torch.channels_last)
    return features.reshape(1, -1, *features.shape[2:]), kernel.flatten(0, 1)


def _apart(features: torch.Tensor, runs: int) -> torch.Tensor:
    """Undo what ``_grouped`` does to feature maps."""
    if runs == 1:
        return features  # a reshape would make strides of the first axis that torch does not take for channels_last
    return features.reshape(runs, -1, *features.shape[2:])
