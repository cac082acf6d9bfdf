"""The layer of ``convolution.py``, hand-written for CPUs: used and measured only there.

A step is little more than these layers. Autograd would keep three more copies of every feature map, and expand the
gradient of the mean to a float32 copy; here everything around the convolutions works in place. For that it passes
memory of a certain layout as ``out=`` and calls torch's inner operations, which is right on a CPU only: on CUDA, a
reflection written into channels-last memory comes out scrambled, without an error.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

LEAK = 0.01  # negative slope of the leaky ReLU (Fig. 2)


class Workspace:
    """Memory that a layer reuses at every step.

    Fresh memory is expensive on a CPU: the first touch of each page is a page fault, and a large tensor goes back to
    the operating system as soon as it is freed. That took up to half of a step.
    """

    def __init__(self) -> None:
        self._own: dict[tuple[int, ...], torch.Tensor] = {}
        self._passing: dict[tuple[int, ...], torch.Tensor] = {}

    def share(self, other: Workspace) -> None:
        """Share another layer's memory for temporaries that do not outlast a layer's gradient."""
        self._passing = other._passing

    def kept(self, like: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """Return uninitialised ``(s, c, h, w)`` memory that belongs to this layer until its next call."""
        return _find_or_make(self._own, like, shape)

    def passing(self, like: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """Return uninitialised memory that all layers share."""
        return _find_or_make(self._passing, like, shape)


def convolve_and_centre_in_place(
    features: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor, stride: int, workspace: Workspace
) -> torch.Tensor:
    """Do ``convolve_and_centre`` on a CPU, with one new feature map each way besides the convolution's own.

    Parameters
    ----------
    features, kernel, bias, stride
        As there.
    workspace : Workspace
        This layer's. Take the gradient before the next call with the same workspace, which overwrites it.
    """
    out: torch.Tensor = _ConvolveAndCentre.apply(features, kernel, bias, stride, workspace)  # type: ignore[no-untyped-call]
    return out


def convolve_one_by_one(padded: torch.Tensor, kernel: torch.Tensor, stride: int) -> torch.Tensor:
    """Convolve s padded feature maps, each with its own kernel: one grouped convolution of four takes 6 to 8 times one.

    Parameters
    ----------
    padded : Tensor
        ``(s, in, h + k - 1, w + k - 1)``.
    kernel : Tensor
        ``(s, out, in, k, k)``.
    stride : int
    """
    return _join([
        functional.conv2d(one, weights.contiguous(memory_format=layout_of(padded)), stride=stride)
        for one, weights in zip(padded.split(1), kernel, strict=True)
    ])  # fmt: skip


def layout_of(features: torch.Tensor) -> torch.memory_format:
    """Return the memory layout of ``(s, c, h, w)`` features, so that everything computed from them has the same."""
    return torch.contiguous_format if features.is_contiguous() else torch.channels_last


class _ConvolveAndCentre(torch.autograd.Function):
    """Convolution, mean-only normalisation and leaky ReLU, with their gradient."""

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
        out = convolve_one_by_one(features, kernel, stride)
        out.add_((bias - _channel_means(out)).to(out.dtype)[:, :, None, None])
        functional.leaky_relu_(out, LEAK)
        ctx.save_for_backward(features, kernel, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        padded, kernel, out = ctx.saved_tensors
        before = ctx.workspace.passing(out, tuple(out.shape))
        # the leaky ReLU keeps the sign, so its result determines its slope
        torch.ops.aten.leaky_relu_backward(gradient, out, LEAK, True, grad_input=before)
        mean = _channel_means(before)
        before.sub_(mean.to(out.dtype)[:, :, None, None])
        feature_gradient, kernel_gradient = _convolution_gradients(
            before, padded, kernel, ctx.stride, ctx.needs_input_grad[0]
        )
        if feature_gradient is not None:
            feature_gradient = _fold(feature_gradient, kernel.shape[-1] // 2)
        return feature_gradient, kernel_gradient, mean * math.prod(out.shape[2:]), None, None


def _find_or_make(
    tensors: dict[tuple[int, ...], torch.Tensor], like: torch.Tensor, shape: tuple[int, ...]
) -> torch.Tensor:
    found = tensors.get(shape)
    if found is None or found.dtype != like.dtype:
        found = tensors[shape] = like.new_empty(shape).contiguous(memory_format=layout_of(like))
    return found


def _fold(gradient: torch.Tensor, reach: int) -> torch.Tensor:
    """Turn the gradient of a map padded by reflection into that of the unpadded map, in the same memory."""
    if reach:
        for axis in (2, 3):
            end = gradient.shape[axis] - reach
            gradient.narrow(axis, reach + 1, reach).add_(gradient.narrow(axis, 0, reach).flip(axis))
            gradient.narrow(axis, end - reach - 1, reach).add_(gradient.narrow(axis, end, reach).flip(axis))
    return gradient[..., reach : gradient.shape[2] - reach, reach : gradient.shape[3] - reach]


def _channel_means(features: torch.Tensor) -> torch.Tensor:
    """Return the float32 means, ``(s, c)``, of ``(s, c, h, w)``; a float32 sum of bfloat16 would copy them first."""
    return torch.stack([torch.batch_norm_update_stats(each, None, None, 0.0)[0].float() for each in features.split(1)])


def _convolution_gradients(
    gradient: torch.Tensor, padded: torch.Tensor, kernel: torch.Tensor, stride: int, features_need_it: bool
) -> tuple[torch.Tensor | None, torch.Tensor]:
    """Return the gradients of the padded feature maps (if they need one) and of the kernels."""
    map_gradients, kernel_gradients = [], []
    for up, one, weights in zip(gradient.split(1), padded.split(1), kernel, strict=True):
        map_gradient, kernel_gradient, _ = torch.ops.aten.convolution_backward(
            up, one, weights.contiguous(memory_format=layout_of(padded)), None, (stride,) * 2, (0, 0), (1, 1), False,
            (0, 0), 1, (features_need_it, True, False),
        )  # fmt: skip
        map_gradients.append(map_gradient)
        kernel_gradients.append(kernel_gradient)
    return _join(map_gradients) if features_need_it else None, torch.stack(kernel_gradients)


def _join(maps: list[torch.Tensor]) -> torch.Tensor:
    # split and cat, because torch takes the strides of maps[n][None] and of a reshape for another layout
    return maps[0] if len(maps) == 1 else torch.cat(maps)
