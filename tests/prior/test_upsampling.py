"""Every upsampling doubles the size and keeps the brightness."""

import math

import pytest
import torch

from napari_dip.prior.upsampling import gaussian_kernel, phase_gains, upsample


@pytest.mark.parametrize("kind", ["bilinear", "nearest", "gaussian"])
@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.5, 1.0])
def test_mean_brightness_is_kept_away_from_the_border(kind: str, sigma: float, device: str) -> None:
    constant = torch.full((2, 3, 12, 10), 0.7, device=device)
    large = upsample(constant, kind, gaussian_kernel(sigma).to(device)).cpu()
    assert large.shape == (2, 3, 24, 20)
    torch.testing.assert_close(large[:, :, 4:-4, 4:-4].mean(), torch.tensor(0.7), rtol=1e-5, atol=0)


@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.5, 1.0])
def test_the_kernel_is_a_symmetric_gaussian_of_sum_one(sigma: float) -> None:
    kernel = gaussian_kernel(sigma)
    torch.testing.assert_close(kernel.sum(), torch.tensor(1.0))
    assert kernel.equal(kernel.mT)
    assert kernel.equal(kernel.flip(0))
    if sigma > 0.3:  # two pixels of the large image are one of the small
        ratio = torch.exp(torch.tensor(-1 / (2 * sigma**2)))
        torch.testing.assert_close(kernel[2, 4] / kernel[2, 2], ratio)


def test_sigma_zero_is_the_bed_of_nails() -> None:
    small = torch.rand(1, 1, 4, 4)
    large = upsample(small, "gaussian", gaussian_kernel(0.0))
    torch.testing.assert_close(large[..., ::2, ::2], 4 * small)
    assert large[..., 1::2, :].abs().max() == 0


@pytest.mark.parametrize("size", [3, 5, 9])
@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.5, 1.0, 2.0])
def test_a_constant_shows_the_ripple_that_the_kernel_implies_and_no_more(sigma: float, size: int) -> None:
    kernel = gaussian_kernel(sigma, size)
    gains = phase_gains(kernel)
    large = upsample(torch.full((1, 1, 12, 12), 0.7), "gaussian", kernel)
    for row in range(2):
        for column in range(2):
            inner = large[0, 0, 4 + row : -4 : 2, 4 + column : -4 : 2]
            torch.testing.assert_close(inner, torch.full_like(inner, 0.7 * float(gains[row, column])))
    torch.testing.assert_close(gains.mean(), torch.tensor(1.0))


def test_the_wider_the_gaussian_the_weaker_the_checkerboard() -> None:
    """A side's ripple is twice the Gaussian's spectrum at Nyquist, exp(-2 π² σ²), for kernels that hold all of it."""
    for sigma in (0.3, 0.4, 0.5):
        ripple = float(phase_gains(gaussian_kernel(sigma, 25))[0].mean() - 1)
        assert ripple == pytest.approx(2 * math.exp(-2 * math.pi**2 * sigma**2), rel=0.05)
    assert (phase_gains(gaussian_kernel(1.0, 25)) - 1).abs().max() < 1e-5
    torch.testing.assert_close(phase_gains(gaussian_kernel(0.0)), torch.tensor([[4.0, 0.0], [0.0, 0.0]]))


@pytest.mark.parametrize("sigma", [0.0, 0.5, 1.0])
def test_energy_of_white_noise_is_multiplied_as_documented(sigma: float) -> None:
    """Mean square out = 4 Σ G² times mean square in: each large pixel sees a quarter of the weights, times 4."""
    kernel = gaussian_kernel(sigma)
    small = torch.randn(1, 64, 64, 64, generator=torch.Generator().manual_seed(0))
    large = upsample(small, "gaussian", kernel)
    expected = 4 * kernel.square().sum() * small.square().mean()
    torch.testing.assert_close(large.square().mean(), expected, rtol=0.03, atol=0)
