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
        self.workspace = Workspace()
        self.kernel = nn.Parameter(he_uniform((runs, outputs, inputs, side, side), generator))
        self.bias = nn.Parameter(torch.zeros(runs, outputs))
        if normalisation == "batch":
            self.gain = nn.Parameter(torch.ones(runs, outputs))

    def forward(self, features: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        """Map ``(s, c, h, w)`` features with the bounded ``(s, out, c, k, k)`` kernel to ``(s, out, h', w')``."""
        if self.normalisation == "batch":
            features = batch_normalise(convolve(features, kernel, self.stride), self.gain, self.bias)
            return functional.leaky_relu(features, _LEAK)
        return convolve_and_centre(features, kernel, self.bias, self.stride, self.workspace)


class Workspace:
    """Memory that a layer uses again at every step.

    On a CPU fresh memory is dear: every page of it that is touched first is a fault for the operating system to mend,
    and a large tensor is returned to it as soon as it is freed. That took up to half of a step.
    """

    def __init__(self) -> None:
        self._own: dict[tuple[int, ...], torch.Tensor] = {}
        self._passing: dict[tuple[int, ...], torch.Tensor] = {}

    def share(self, other: Workspace) -> None:
        """Use the other layer's memory for what does not outlast a layer's gradient."""
        self._passing = other._passing

    def kept(self, like: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """Return ``(s, c, h, w)`` memory, of whatever it held last, that is this layer's own until its next call."""
        return _find_or_make(self._own, like, shape)

    def passing(self, like: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """Return the same, but of all layers that share it."""
        return _find_or_make(self._passing, like, shape)


def _find_or_make(
    tensors: dict[tuple[int, ...], torch.Tensor], like: torch.Tensor, shape: tuple[int, ...]
) -> torch.Tensor:
    found = tensors.get(shape)
    if found is None or (found.dtype, found.device) != (like.dtype, like.device):
        found = tensors[shape] = like.new_empty(shape).contiguous(memory_format=layout_of(like))
    return found


def layout_of(features: torch.Tensor) -> torch.memory_format:
    """Return how ``(s, c, h, w)`` features lie in memory; all that is made of them is to lie alike."""
    return torch.contiguous_format if features.is_contiguous() else torch.channels_last


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
    reach = kernel.shape[-1] // 2
    return _convolve(functional.pad(features, (reach,) * 4, mode="reflect") if reach else features, kernel, stride)


def convolve_and_centre(
    features: torch.Tensor,
    kernel: torch.Tensor,
    bias: torch.Tensor,
    stride: int = 1,
    workspace: Workspace | None = None,
) -> torch.Tensor:
    """Convolve, subtract each channel's mean over the image, add a bias (Eq. 5, mean-only), and apply the leaky ReLU.

    Mean-only: dividing by the deviation would undo the bound (Eq. 4). The mean is taken in float32.

    Parameters
    ----------
    features, kernel, stride
        As in ``convolve``.
    bias : Tensor
        ``(s, out)`` float32.
    workspace : Workspace, optional
        Of this layer; the next call with the same ones makes the gradient of this one impossible.

    Returns
    -------
    Tensor
        As from ``convolve``.
    """
    out: torch.Tensor = _ConvolveAndCentre.apply(features, kernel, bias, stride, workspace or Workspace())
    return out


class _ConvolveAndCentre(torch.autograd.Function):
    """``convolve_and_centre`` and its gradient, with one new feature map each way beside the convolution's own."""

    @staticmethod
    def forward(
        ctx: Any, features: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor, stride: int, workspace: Workspace
    ) -> torch.Tensor:
        ctx.stride, ctx.workspace = stride, workspace
        reach = kernel.shape[-1] // 2
        if reach:
            runs, inputs, height, width = features.shape
            padded = workspace.kept(features, (runs, inputs, height + 2 * reach, width + 2 * reach))
            features = torch.ops.aten.reflection_pad2d(features, (reach,) * 4, out=padded)
        out = _convolve(features, kernel, stride)
        out.add_((bias - _channel_means(out)).to(out.dtype)[:, :, None, None])
        functional.leaky_relu_(out, _LEAK)
        ctx.save_for_backward(features, kernel, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        padded, kernel, out = ctx.saved_tensors
        before = ctx.workspace.passing(out, tuple(out.shape))
        # the leaky ReLU keeps the sign, so its result tells its slope
        torch.ops.aten.leaky_relu_backward(gradient, out, _LEAK, True, grad_input=before)
        mean = _channel_means(before)
        before.sub_(mean.to(out.dtype)[:, :, None, None])
        of_features, of_kernel = _convolution_gradients(before, padded, kernel, ctx.stride, ctx.needs_input_grad[0])
        if of_features is not None:
            of_features = _fold(of_features, kernel.shape[-1] // 2)
        return of_features, of_kernel, mean * math.prod(out.shape[2:]), None, None


def he_uniform(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Draw kernels of ``(s, out, in, k, k)`` from He's uniform distribution."""
    fan_in = math.prod(shape[2:])
    return (2 * torch.rand(shape, generator=generator) - 1) * math.sqrt(6 / fan_in)


def _fold(gradient: torch.Tensor, reach: int) -> torch.Tensor:
    """Return the gradient of what was padded by reflection, from that of the result; the result's memory is used."""
    if reach:
        for axis in (2, 3):
            end = gradient.shape[axis] - reach
            gradient.narrow(axis, reach + 1, reach).add_(gradient.narrow(axis, 0, reach).flip(axis))
            gradient.narrow(axis, end - reach - 1, reach).add_(gradient.narrow(axis, end, reach).flip(axis))
    return gradient[..., reach : gradient.shape[2] - reach, reach : gradient.shape[3] - reach]


def _channel_means(features: torch.Tensor) -> torch.Tensor:
    """Return the float32 means, ``(s, c)``, of ``(s, c, h, w)``."""
    if features.is_cpu:  # where a sum of bfloat16 in float32 copies the whole tensor first
        return torch.stack([
            torch.batch_norm_update_stats(each, None, None, 0.0)[0].float() for each in features.split(1)
        ])  # fmt: skip
    return features.mean(dim=(2, 3), dtype=torch.float32)


def _convolve(padded: torch.Tensor, kernel: torch.Tensor, stride: int) -> torch.Tensor:
    """Convolve s padded feature maps, each with its own kernel."""
    runs = len(kernel)
    if runs == 1 or padded.is_cpu:  # where a grouped convolution of four runs takes the time of six to eight
        return _join([
            functional.conv2d(one, weights.contiguous(memory_format=layout_of(padded)), stride=stride)
            for one, weights in zip(padded.split(1), kernel, strict=True)
        ])  # fmt: skip
    out = functional.conv2d(_side_by_side(padded), kernel.flatten(0, 1), groups=runs, stride=stride)
    return out.reshape(runs, -1, *out.shape[2:])


def _convolution_gradients(
    gradient: torch.Tensor, padded: torch.Tensor, kernel: torch.Tensor, stride: int, of_features_too: bool
) -> tuple[torch.Tensor | None, torch.Tensor]:
    """Return the gradients of the padded feature maps, if wanted, and of the kernels, from that of ``_convolve``."""

    def differentiate(
        gradient: torch.Tensor, padded: torch.Tensor, weights: torch.Tensor, groups: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        of_features, of_weights, _ = torch.ops.aten.convolution_backward(
            gradient, padded, weights, None, (stride,) * 2, (0, 0), (1, 1), False, (0, 0), groups,
            (of_features_too, True, False),
        )  # fmt: skip
        return of_features, of_weights

    runs = len(kernel)
    if runs == 1 or padded.is_cpu:
        pairs = [
            differentiate(up, one, weights.contiguous(memory_format=layout_of(padded)), 1)
            for up, one, weights in zip(gradient.split(1), padded.split(1), kernel, strict=True)
        ]
        return (
            _join([of_features for of_features, _ in pairs]) if of_features_too else None,
            torch.stack([of_weights for _, of_weights in pairs]),
        )
    of_features, of_weights = differentiate(
        _side_by_side(gradient), _side_by_side(padded), kernel.flatten(0, 1), groups=runs
    )
    return of_features.reshape(padded.shape) if of_features_too else None, of_weights.reshape(kernel.shape)


def _join(maps: list[torch.Tensor]) -> torch.Tensor:
    # split and joined: torch takes the strides of maps[n][None] and of a reshape for another layout
    return maps[0] if len(maps) == 1 else torch.cat(maps)


def _side_by_side(maps: torch.Tensor) -> torch.Tensor:
    """Return ``(s, c, h, w)`` feature maps as the channels of one, ``(1, s * c, h, w)``, for a grouped convolution."""
    return maps.reshape(1, -1, *maps.shape[2:])
