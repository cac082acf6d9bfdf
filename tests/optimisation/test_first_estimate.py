"""The first estimate removes noise of every strength, at pixels that it has not seen, too."""

import numpy as np
import pytest
import torch
from devices import assert_same
from skimage import data

from napari_dip.measurement.noise import ChannelNoise, NoiseModel
from napari_dip.optimisation.first_estimate import estimate_first

DEVIATION = 0.1


def white(deviation: float = DEVIATION) -> NoiseModel:
    return NoiseModel(deviation**2, 0.0, 1e-6, deviation**2)


def noisy_photograph(device: str = "cpu", channels: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The truth, the noisy image, and which pixels are seen."""
    truth = torch.from_numpy(data.astronaut()[60:124, 180:250] / 255.0).float().permute(2, 0, 1)[None, :channels]
    generator = torch.Generator().manual_seed(0)
    seen = torch.rand((1, 1, 64, 70), generator=generator) > 0.05
    noisy = truth + DEVIATION * torch.randn(truth.shape, generator=generator)
    return truth.to(device), noisy.to(device), seen.to(device)


def mean_square(image: torch.Tensor) -> float:
    return float(image.square().mean())


@pytest.mark.parametrize("channels", [1, 3])
def test_most_of_the_noise_is_removed(channels: int, device: str) -> None:
    truth, noisy, seen = noisy_photograph(device, channels)
    assert mean_square(estimate_first(noisy, seen, white()) - truth) < 0.35 * DEVIATION**2


def test_pixels_that_are_not_seen_do_not_count(device: str) -> None:
    _, noisy, seen = noisy_photograph(device)
    one, other = (estimate_first(torch.where(seen, noisy, value), seen, white()) for value in (0.0, 9.0))
    assert_same(one, other)


def test_a_pixel_that_is_not_seen_is_estimated_nearly_as_well() -> None:
    """Held-out pixels weigh the estimate against the network: one that is poor only there would weigh too little."""
    truth, noisy, seen = noisy_photograph()
    hidden = (~seen).expand_as(truth)
    blind, sighted = (estimate_first(noisy, each, white()) - truth for each in (seen, torch.ones_like(seen)))
    assert mean_square(blind[hidden]) < 1.9 * mean_square(sighted[hidden])


def test_a_wide_hole_is_filled_with_its_surroundings() -> None:
    truth, noisy, _ = noisy_photograph()
    seen = torch.ones_like(truth[:, :1], dtype=torch.bool)
    seen[..., 20:44, 20:44] = False
    estimate = estimate_first(torch.where(seen, noisy, 0.0), seen, white())
    assert estimate.isfinite().all()
    assert estimate[..., 20:44, 20:44].amin() > truth.amin() - 3 * DEVIATION


def test_the_mean_is_kept_where_few_photons_arrive() -> None:
    photons = np.tile(np.linspace(2, 20, 64, dtype=np.float32), (64, 1))
    counts = torch.from_numpy(np.random.default_rng(0).poisson(photons)).float()[None, None]
    estimate = estimate_first(counts, torch.ones_like(counts, dtype=torch.bool), NoiseModel(0.0, 1.0, 0.01, 11.0))
    assert estimate.mean() == pytest.approx(float(photons.mean()), rel=0.02)
    assert mean_square(estimate - torch.from_numpy(photons)) < 0.1 * photons.mean()


def test_each_channel_has_its_own_noise() -> None:
    truth, _, seen = noisy_photograph(channels=2)
    strength = torch.tensor([0.02, 0.2])[:, None, None]
    noisy = truth + strength * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    estimate = estimate_first(noisy, seen, ChannelNoise((white(0.02), white(0.2))))
    for error, deviation in zip((estimate - truth)[0], (0.02, 0.2), strict=True):
        assert mean_square(error) < deviation**2


@pytest.mark.parametrize("size", [(3, 400), (6, 200), (9, 150)])
def test_narrow_images_are_filtered_too(size: tuple[int, int]) -> None:
    noisy = 0.5 + DEVIATION * torch.randn((1, 1, *size), generator=torch.Generator().manual_seed(0))
    estimate = estimate_first(noisy, torch.ones_like(noisy, dtype=torch.bool), white())
    assert estimate.shape == noisy.shape
    assert mean_square(estimate - 0.5) < 0.5 * DEVIATION**2
