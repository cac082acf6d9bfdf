"""The noise is read off the image; where it is made equally strong, it is equally strong."""

import numpy as np
import pytest
import torch
from devices import assert_same
from scipy.ndimage import gaussian_filter
from skimage import data

from napari_dip.measurement.noise import NoiseModel, estimate_noise, is_correlated


def as_tensor(image: np.ndarray, device: str = "cpu") -> torch.Tensor:
    return torch.from_numpy(np.atleast_3d(image).astype(np.float32)).permute(2, 0, 1)[None].to(device)


def estimate(image: np.ndarray, known: torch.Tensor | None = None, device: str = "cpu") -> NoiseModel | None:
    values = as_tensor(image, device)
    return estimate_noise(values, torch.ones_like(values[:, :1], dtype=torch.bool) if known is None else known)


@pytest.mark.parametrize("deviation", [10, 25, 50])
@pytest.mark.parametrize("name", ["camera", "astronaut"])
def test_gaussian_noise_is_found_to_a_tenth(name: str, deviation: float, device: str) -> None:
    image = getattr(data, name)()[100:356, 100:356].astype(float)
    noisy = image + np.random.default_rng(0).normal(0, deviation, image.shape)
    noise = estimate(noisy, device=device)
    assert noise is not None
    assert np.sqrt(noise.mean_variance) == pytest.approx(deviation, rel=0.1)
    assert np.sqrt(float(noise.variance(torch.tensor(100.0, device=device)))) == pytest.approx(deviation, rel=0.15)


def test_poisson_noise_of_a_camera_with_gain_offset_and_read_noise_is_found() -> None:
    rows = np.linspace(5, 120, 256)[:, None] * np.ones((1, 256))  # photons
    rng = np.random.default_rng(0)
    gain, offset, read = 3.0, 100.0, 4.0
    image = gain * rng.poisson(rows) + offset + rng.normal(0, read, rows.shape)
    noise = estimate(image)
    assert noise is not None
    assert noise.slope == pytest.approx(gain, rel=0.1)
    expected = gain**2 * rows + read**2
    found = noise.variance(torch.from_numpy(gain * rows + offset)).numpy()
    np.testing.assert_allclose(found, expected, rtol=0.2)
    stabilised, truth = (noise.stabilise(torch.from_numpy(each)) for each in (image, gain * rows + offset))
    for part in (stabilised - truth).tensor_split(8):
        assert float(part.std()) == pytest.approx(1, abs=0.12)


def test_the_mean_comes_back_from_the_stabilised_scale() -> None:
    rng = np.random.default_rng(0)
    noise = NoiseModel(constant=2.0, slope=1.0, floor=0.01, mean_variance=1.0)
    for photons in (3, 10, 50):
        image = rng.poisson(photons, 200_000) + rng.normal(0, np.sqrt(2), 200_000)
        back = noise.unstabilise(noise.stabilise(torch.from_numpy(image)).mean())
        assert float(back) == pytest.approx(photons, rel=0.02)
    same = NoiseModel(constant=4.0, slope=0.0, floor=0.01, mean_variance=4.0)
    assert_same(same.unstabilise(same.stabilise(torch.tensor([1.0, 5.0]))), torch.tensor([1.0, 5.0]))


def test_missing_pixels_say_nothing_of_the_noise() -> None:
    image = data.camera()[:128, :128] + np.random.default_rng(0).normal(0, 20, (128, 128))
    known = torch.ones(1, 1, 128, 128, dtype=torch.bool)
    known[..., 40:60, 40:60] = False
    spoilt = image.copy()
    spoilt[40:60, 40:60] = 1e4
    found = estimate(spoilt, known)
    assert found is not None
    assert np.sqrt(found.mean_variance) == pytest.approx(20, rel=0.1)


@pytest.mark.parametrize("name", ["camera", "astronaut"])
def test_correlated_noise_is_told_from_white(name: str, device: str) -> None:
    image = getattr(data, name)()[100:228, 100:228].astype(float)
    noise = np.random.default_rng(0).normal(0, 1, image.shape)
    blurred = gaussian_filter(noise, (0.7, 0.7, 0)[: image.ndim])
    known = torch.ones(1, 1, 128, 128, dtype=torch.bool, device=device)
    for deviation in (10, 25, 50):
        assert not is_correlated(as_tensor(image + deviation * noise, device), known)
        assert is_correlated(as_tensor(image + deviation * blurred / blurred.std(), device), known)


def test_without_noise_or_pixels_there_is_no_model() -> None:
    assert estimate(np.zeros((64, 64))) is None
    assert estimate(np.random.default_rng(0).random((16, 16))) is None
