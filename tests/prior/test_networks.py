"""Runs never mix; norms are right at every step of a real run; every network trains under every control."""

import dataclasses
import itertools

import pytest
import torch
from devices import assert_same

from napari_dip.prior.convolution import convolve
from napari_dip.prior.lipschitz import exact_spectral_norms
from napari_dip.prior.networks import NETWORKS, Architecture, Network, fixed_input

SMALL = Architecture(
    runs=1, input_channels=8, output_channels=3, width=8, levels=2, convolutions_per_level=2, stem_convolutions=2,
    skip_channels=0, kernel_size=3, normalisation="lipschitz", upsampling="bilinear", gaussian_sigma=0.5,
    gaussian_kernel_size=5,
)  # fmt: skip
ALL = list(itertools.product(NETWORKS, ["lipschitz", "batch"], ["bilinear", "nearest", "gaussian"]))


def build(name: str = "decoder", channels: int = 3, **changes) -> Network:
    architecture = dataclasses.replace(SMALL, output_channels=channels, **changes)
    return NETWORKS[name](architecture, (0.0, 1.0), torch.full((channels,), 0.4), torch.Generator().manual_seed(0))


def noise(name: str = "decoder", runs: int = 1) -> torch.Tensor:
    size = NETWORKS[name].input_size((16, 20), SMALL.levels)
    return fixed_input("fourier", runs, SMALL.input_channels, size, torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("name", "normalisation", "upsampling"), ALL)
def test_every_network_learns_a_real_image(name: str, normalisation: str, upsampling: str, camera) -> None:
    """It draws in range at the image's size, its error falls, and under control no kernel exceeds the bound."""
    target = torch.from_numpy(camera[:16, :20] / 255).float()
    network, z = build(name, 1, normalisation=normalisation, upsampling=upsampling), noise(name)
    bound = 1.4 if normalisation == "lipschitz" else None
    optimiser = torch.optim.Adam([each for each in network.parameters() if each.requires_grad], lr=0.003)
    errors = []
    for step in range(40):
        image = network(z, bound)
        errors.append((image - target).square().mean())
        optimiser.zero_grad()
        errors[-1].backward()
        optimiser.step()
        if bound and (step < 3 or step % 10 == 9):  # decomposing takes longer than a step
            kernels = [kernel.detach() for kernel in network.bounded_kernels(bound)]
            assert all(exact_spectral_norms(kernel)[0] <= bound * 1.01 for kernel in kernels)
    assert image.shape == (1, 1, 16, 20)
    assert image.dtype == torch.float32
    assert 0 <= image.min() <= image.max() <= 1
    assert all(each.isfinite() for each in errors)
    assert errors[-1] < 0.6 * errors[0]


@pytest.mark.parametrize("runs", [1, 2])
@pytest.mark.parametrize(("name", "normalisation", "upsampling"), ALL)
def test_a_network_and_its_gradient_are_the_cpus_on_every_device(
    name: str, normalisation: str, upsampling: str, runs: int, accelerator: str
) -> None:
    """There the layers are plain operations and autograd, on a CPU they are written by hand."""
    results = []
    for device, layout in (
        ("cpu", torch.contiguous_format), (accelerator, torch.contiguous_format), (accelerator, torch.channels_last)
    ):  # fmt: skip
        network = build(name, runs=runs, normalisation=normalisation, upsampling=upsampling).to(device)
        image = network(noise(name, runs).contiguous(memory_format=layout).to(device), 1.4)
        (image * torch.linspace(-1, 1, 20, device=device)).sum().backward()
        results.append([image, *(each.grad for each in network.parameters() if each.requires_grad)])
    for expected, *others in zip(*results, strict=True):
        for ours in others:
            assert_same(ours, expected, times=30)  # layers multiply what rounding began


@pytest.mark.parametrize("name", NETWORKS)
def test_scaling_the_weights_changes_nothing_under_batch_normalisation_and_something_under_control(name: str) -> None:
    """Eq. 4: batch normalisation forgets the norm of the weights, so that bounding them would be in vain."""
    for normalisation, forgets in (("batch", True), ("lipschitz", False)):
        network = build(name, normalisation=normalisation)
        before = network(noise(name), None)
        with torch.no_grad():
            for layer in network.convolutions:
                layer.kernel.mul_(3)
        assert torch.allclose(before, network(noise(name), None), atol=1e-3) is forgets


def test_published_size() -> None:
    network = build(input_channels=32, width=128, levels=5)
    trainable = sum(each.numel() for each in network.parameters() if each.requires_grad)
    assert len(network.layers) == 12
    assert trainable == pytest.approx(1.66e6, rel=0.01)


def test_the_deep_decoder_is_underparameterised() -> None:
    """Heckel and Hand: fewer weights than a 512 px RGB image has values."""
    network = build(input_channels=128, width=128, levels=5, convolutions_per_level=1, stem_convolutions=0,
                    kernel_size=1, normalisation="batch")  # fmt: skip
    assert sum(each.numel() for each in network.parameters() if each.requires_grad) < 512 * 512 * 3 / 7


def test_skips_carry_what_enters_each_level() -> None:
    network = build("encoder_decoder", skip_channels=4)
    assert network(noise("encoder_decoder"), 1.4).shape == (1, 3, 16, 20)
    assert len(network.layers) == len(build("encoder_decoder").layers) + SMALL.levels


def test_only_the_convnet_is_local() -> None:
    """What enters at one corner reaches the other corner through levels, but not through eight 3x3 convolutions."""
    for name, reaches in (("conv_net", False), ("encoder_decoder", True)):
        network = build(name, levels=3, convolutions_per_level=2, normalisation="lipschitz")
        generator = torch.Generator().manual_seed(2)
        z = fixed_input("uniform", 1, 8, (32, 32), generator).requires_grad_()
        features = z
        if name == "conv_net":  # without the means, which see everything
            for layer in network.convolutions:
                features = torch.nn.functional.leaky_relu(convolve(features, layer.kernel), 0.01)
        else:
            features = network.extract(z, [layer.kernel for layer in network.convolutions])
        features[..., 0, 0].sum().backward()
        assert bool(z.grad[..., 31, 31].abs().max() > 0) is reaches


@pytest.mark.parametrize("name", NETWORKS)
def test_runs_do_not_share_gradients(name: str, device: str) -> None:
    network = build(name, runs=2).to(device)
    network(noise(name, 2).to(device), 1.4)[0].sum().backward()
    for weights in (network.head, *(layer.kernel for layer in network.convolutions)):
        assert weights.grad is not None
        assert weights.grad[0].abs().sum() > 0
        assert weights.grad[1].abs().sum() == 0


def test_norms_stay_within_half_a_percent_of_the_svd_at_every_step_of_a_real_run(camera) -> None:
    network, z = build(width=32), noise()
    target = torch.from_numpy(camera[:16, :20] / 255).float()
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=0.003)
    worst = 0.0
    for _ in range(80):
        bound = 1e-3  # far below every norm: the bounded kernel's norm tells how wrong the estimate was
        for kernel in network.bounded_kernels(bound):
            worst = max(worst, float((exact_spectral_norms(kernel.detach()) / bound - 1).abs().max()))
        optimiser.zero_grad()
        (network(z, 1.4) - target).square().mean().backward()
        optimiser.step()
    assert worst < 0.005


def test_uniform_input_lies_in_the_papers_range() -> None:
    z = fixed_input("uniform", 1, 32, (4, 4), torch.Generator().manual_seed(0))
    assert 0 <= z.min() <= z.max() <= 0.1
