"""The CPU's layer by hand is the plain one, on every device, its gradient autograd's; and runs never mix."""

import pytest
import torch
from devices import assert_same

from napari_dip.prior.convolution import ControlledConvolution, convolve, convolve_and_centre
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


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_grouped_convolution_is_each_run_on_its_own(layout, device: str) -> None:
    features, kernels = torch.randn(3, 4, 6, 8).contiguous(memory_format=layout), torch.randn(3, 5, 4, 3, 3)
    features, kernels = features.to(device), kernels.to(device)
    for stride in (1, 2):
        together = convolve(features, kernels, stride).cpu()
        for n in range(3):
            alone = convolve(features[n : n + 1], kernels[n : n + 1], stride).cpu()
            torch.testing.assert_close(together[n : n + 1], alone)


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize(("side", "stride"), [(3, 1), (3, 2), (5, 1), (1, 1)])
@pytest.mark.parametrize("normalisation", ["lipschitz", "batch"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_layer_and_its_gradient_are_the_cpus_on_every_device(
    runs: int, side: int, stride: int, normalisation: str, layout, accelerator: str
) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(runs, 4, 8, 6, generator=generator).contiguous(memory_format=layout)
    weights = torch.randn(runs, 5, 8 // stride, 6 // stride, generator=generator)
    results = []
    for device in ("cpu", accelerator):
        layer = ControlledConvolution(runs, 4, 5, normalisation, torch.Generator().manual_seed(1), side, stride)
        layer = layer.to(device)
        leaf = features.clone().to(device).requires_grad_()
        out = layer(leaf, layer.kernel)
        (out * weights.to(device)).sum().backward()
        results.append((out, leaf.grad, layer.kernel.grad, layer.bias.grad))
    for ours, theirs in zip(*results, strict=True):
        assert_same(theirs, ours)
