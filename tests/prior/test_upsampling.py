"""Every upsampling doubles the size and keeps the brightness."""

import pytest
import torch

from napari_dip.prior.upsampling import gaussian_kernel, upsample


@pytest.mark.parametrize("kind", ["bilinear", "nearest", "gaussian"])
@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.5, 1.0])
def test_mean_brightness_is_kept_away_from_the_border(kind: str, sigma: float) -> None:
    constant = torch.full((2, 3, 12, 10), 0.7)
    large = upsample(constant, kind, gaussian_kernel(sigma))
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
