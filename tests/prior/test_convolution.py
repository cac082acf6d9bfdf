"""The CPU's layer by hand is the plain one, its gradient autograd's; and runs never mix."""

import pytest
import torch

from napari_dip.prior.convolution import convolve, convolve_and_centre
from napari_dip.prior.cpu_convolution import Workspace, convolve_and_centre_in_place


def by_hand(features, kernel, bias, stride=1):
    return convolve_and_centre_in_place(features, kernel, bias, stride, Workspace())


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize(("side", "stride"), [(3, 1), (3, 2), (5, 1), (1, 1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_layer_and_its_gradient_are_those_of_autograd(runs: int, side: int, stride: int, layout) -> None:
    generator = torch.Generator().manual_seed(0)
    start = [
        torch.randn(runs, 4, 8, 6, generator=generator).contiguous(memory_format=layout),
        torch.randn(runs, 5, 4, side, side, generator=generator),
        torch.randn(runs, 5, generator=generator),
    ]
    weights = torch.randn(runs, 5, 8 // stride, 6 // stride, generator=generator)
    results = []
    for layer in (by_hand, convolve_and_centre):
        leaves = [each.clone(memory_format=torch.preserve_format).requires_grad_() for each in start]
        out = layer(*leaves, stride)
        (out * weights).sum().backward()
        results.append((out.detach(), *(leaf.grad for leaf in leaves)))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_features_and_their_gradient_lie_in_memory_as_the_input_does(layout) -> None:
    """Where they do not, every layer copies its features twice: a step took half as long again."""
    features = torch.randn(1, 4, 8, 8).contiguous(memory_format=layout).requires_grad_()
    out = by_hand(features, torch.randn(1, 4, 4, 3, 3), torch.zeros(1, 4))
    assert out.is_contiguous(memory_format=layout)
    out.sum().backward()
    assert features.grad is not None
    assert features.grad.is_contiguous(memory_format=layout)


def test_grouped_convolution_is_each_run_on_its_own() -> None:
    features, kernels = torch.randn(3, 4, 6, 8), torch.randn(3, 5, 4, 3, 3)
    for stride in (1, 2):
        together = convolve(features, kernels, stride)
        for n in range(3):
            alone = convolve(features[n : n + 1], kernels[n : n + 1], stride)
            torch.testing.assert_close(together[n : n + 1], alone)
