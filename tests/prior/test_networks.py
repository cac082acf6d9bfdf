"""Runs never mix; norms are right at every step of a real run; the same seed is the same network."""

import pytest
import torch

from napari_dip.prior.lipschitz import exact_spectral_norms
from napari_dip.prior.networks import Decoder, convolve, fixed_input


def build(runs: int = 1, width: int = 8, normalisation: str = "lipschitz", upsampling: str = "bilinear") -> Decoder:
    return Decoder(
        runs=runs, input_channels=8, width=width, output_channels=3, levels=2, convolutions_per_level=2,
        stem_convolutions=2, normalisation=normalisation, upsampling=upsampling, gaussian_sigma=0.5,
        output_range=(0.0, 1.0), output_mean=torch.full((3,), 0.4), generator=torch.Generator().manual_seed(0),
    )  # fmt: skip


def noise(runs: int = 1) -> torch.Tensor:
    return fixed_input("fourier", runs, 8, (4, 5), torch.Generator().manual_seed(1))


@pytest.mark.parametrize("upsampling", ["bilinear", "nearest", "gaussian"])
@pytest.mark.parametrize("normalisation", ["lipschitz", "batch"])
def test_the_output_is_an_image(normalisation: str, upsampling: str) -> None:
    image = build(normalisation=normalisation, upsampling=upsampling)(noise(), 1.4)
    assert image.shape == (1, 3, 16, 20)
    assert image.dtype == torch.float32
    assert 0 <= image.min() <= image.max() <= 1


def test_published_size() -> None:
    network = Decoder(
        runs=1, input_channels=32, width=128, output_channels=3, levels=5, convolutions_per_level=2,
        stem_convolutions=2, normalisation="lipschitz", upsampling="bilinear", gaussian_sigma=0.5, output_range=(0, 1),
        output_mean=torch.zeros(3), generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    trainable = sum(each.numel() for each in network.parameters() if each.requires_grad)
    assert len(network.layers) == 12
    assert trainable == pytest.approx(1.66e6, rel=0.01)


def test_grouped_convolution_is_each_run_on_its_own() -> None:
    features, kernels = torch.randn(3, 4, 6, 7), torch.randn(3, 5, 4, 3, 3)
    together = convolve(features, kernels)
    for n in range(3):
        torch.testing.assert_close(together[n : n + 1], convolve(features[n : n + 1], kernels[n : n + 1]))


def test_runs_do_not_share_gradients() -> None:
    network = build(runs=2)
    network(noise(2), 1.4)[0].sum().backward()
    assert network.head.grad is not None
    assert network.head.grad[0].abs().sum() > 0
    assert network.head.grad[1].abs().sum() == 0


def test_norms_stay_within_half_a_percent_of_the_svd_at_every_step_of_a_real_run(camera) -> None:
    network, z = build(width=32), noise()
    target = torch.from_numpy(camera[:16, :20] / 255).float()
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=0.003)
    worst = 0.0
    for _ in range(150):
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
