"""The correlation of noise is found in the image, and gives each coefficient of a block its variance."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.signal import correlate
from skimage import data

from napari_dip.measurement.forward_operator import cosines
from napari_dip.measurement.noise import ChannelNoise, survey_noise
from napari_dip.measurement.noise_correlation import NoiseCorrelation, measure_correlation

BLUR = (0.9, 0.5)  # of the noise: more along columns than along rows


def draw_noise(size: tuple[int, int] = (256, 256), seed: int = 0) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=size), BLUR)
    return noise / noise.std()


def as_tensor(*channels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(channels)[None]).float()


@pytest.fixture
def measured() -> tuple[NoiseCorrelation, list[float]]:
    """From a photograph with correlated noise of deviation 1."""
    image = data.camera()[100:356, 100:356] / 40.0 + draw_noise()
    return measure_correlation(as_tensor(image), torch.ones(1, 1, 256, 256, dtype=torch.bool))


def test_correlation_and_variance_are_found_beneath_a_photograph(measured) -> None:
    correlation, (variance,) = measured
    along_rows, along_columns = (
        float((noise * np.roll(noise, 1, axis)).mean()) for noise in [draw_noise()] for axis in (1, 0)
    )
    assert correlation.of_neighbours == pytest.approx((along_rows, along_columns), abs=0.12)
    assert variance == pytest.approx(1, rel=0.3)


def test_the_spectrum_is_that_of_blocks_of_noise() -> None:
    point = np.zeros((11, 11))
    point[5, 5] = 1
    products = correlate(*[gaussian_filter(point, BLUR)] * 2, mode="same")
    correlation = NoiseCorrelation(products / products.max())
    blocks = as_tensor(draw_noise()).unfold(2, 8, 8).unfold(3, 8, 8)
    coefficients = cosines(8) @ blocks @ cosines(8).T
    expected = coefficients.square().mean(dim=(0, 1, 2, 3))
    assert (correlation.spectrum(8) - expected).abs().max() < 0.1 * expected.max()


def test_white_noise_has_a_flat_spectrum() -> None:
    alone = np.zeros((11, 11))
    alone[5, 5] = 1
    for side in (2, 4, 16):
        torch.testing.assert_close(NoiseCorrelation(alone).spectrum(side), torch.ones(side, side))


def test_noise_is_drawn_with_the_same_correlation(measured) -> None:
    correlation, _ = measured
    white = torch.randn(1, 2, 200, 220, generator=torch.Generator().manual_seed(0))
    drawn = correlation.correlate(white)
    assert float(drawn.std()) == pytest.approx(1, abs=0.05)
    for found, dimension in zip(correlation.of_neighbours, (3, 2), strict=True):
        assert float((drawn * drawn.roll(1, dimension)).mean()) == pytest.approx(found, abs=0.1)


def test_missing_pixels_say_nothing() -> None:
    image, known = draw_noise(), torch.ones(1, 1, 256, 256, dtype=torch.bool)
    known[..., 50:100, 50:150] = False
    spoilt = np.where(known[0, 0].numpy(), image, 1e4)
    _, (variance,) = measure_correlation(as_tensor(spoilt), known)
    assert variance == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("colours", [True, False])
def test_the_survey_measures_correlated_noise_at_all_frequencies(colours: bool) -> None:
    """The finest detail, where white noise is measured, shows a small part of it."""
    flat = np.full((256, 256), 0.5)
    values = as_tensor(flat + 0.05 * draw_noise(), flat + 0.1 * draw_noise(seed=1))
    noise, correlated = survey_noise(values, torch.ones(1, 1, 256, 256, dtype=torch.bool), colours=colours)
    assert correlated
    assert noise is not None
    assert noise.correlation is not None
    assert noise.mean_variance == pytest.approx((0.05**2 + 0.1**2) / 2, rel=0.3)
    if isinstance(noise, ChannelNoise):
        deviations = [channel.mean_variance**0.5 for channel in noise.channels]
        assert deviations == pytest.approx([0.05, 0.1], rel=0.15)


def test_a_flat_channel_spoils_nothing() -> None:
    flat = np.full((128, 128), 0.5)
    values = as_tensor(*(flat + 0.1 * draw_noise(flat.shape, seed) for seed in range(9)), flat)
    noise, correlated = survey_noise(values, torch.ones(1, 1, 128, 128, dtype=torch.bool), colours=False)
    assert correlated
    assert noise is not None
    assert noise.correlation is not None
    assert noise.correlation.spectrum(8).isfinite().all()
    assert noise.unstabilise(noise.stabilise(values)).isfinite().all()


def test_nothing_is_measured_where_the_flattest_parts_are_constant() -> None:
    """As where a camera's background is clipped to black."""
    image = np.zeros((256, 256))
    image[:96] = 5 + draw_noise((96, 256))
    assert measure_correlation(as_tensor(image), torch.ones(1, 1, 256, 256, dtype=torch.bool)) is None


def test_white_noise_is_not_measured_again() -> None:
    values = as_tensor(0.5 + 0.1 * np.random.default_rng(0).normal(size=(128, 128)))
    noise, correlated = survey_noise(values, torch.ones(1, 1, 128, 128, dtype=torch.bool), colours=True)
    assert not correlated
    assert noise is not None
    assert noise.correlation is None
