"""Samples are degraded as they say, and the same every time."""

import numpy as np
import pytest
from scipy.signal import fftconvolve

from napari_dip import samples
from napari_dip.measurement.psf import full_widths, optical_psf, psf_of_bead

ALL = [
    samples.noisy_photograph, samples.noisy_fluorescence, samples.striped_fluorescence,
    samples.scratched_photograph, samples.jpeg_photograph,
    samples.small_photograph, samples.noisy_histology, samples.blurred_filaments, samples.moving_cells,
    samples.nuclei_stack,
]  # fmt: skip


@pytest.mark.parametrize("make", ALL)
def test_a_sample_is_the_same_every_time(make) -> None:
    one, other = make(), make()
    np.testing.assert_array_equal(one.degraded, other.degraded)
    assert not np.array_equal(one.degraded, one.truth)
    assert one.truth.shape == one.degraded.shape or make is samples.small_photograph


@pytest.mark.parametrize("make", [samples.noisy_fluorescence, samples.moving_cells, samples.nuclei_stack])
def test_a_camera_adds_photon_and_read_noise_to_the_truth(make) -> None:
    sample = make(photons=50.0)
    error = sample.degraded - sample.truth.astype(float)
    gain, offset, read_noise = 12.0, 100.0, 4.0
    expected = gain * (sample.truth - offset) + read_noise**2 + 1 / 12  # and rounding
    assert abs(error.mean()) < 0.5
    for part in (sample.truth < np.median(sample.truth), sample.truth > np.quantile(sample.truth, 0.95)):
        assert error[part].var() == pytest.approx(expected[part].mean(), rel=0.1)


def test_scratches_are_where_the_mask_says() -> None:
    sample = samples.scratched_photograph()
    assert (sample.degraded[sample.mask] == 255).all()
    np.testing.assert_array_equal(sample.degraded[~sample.mask], sample.truth[~sample.mask])
    assert 0.02 < sample.mask.mean() < 0.2


def test_a_small_image_is_the_mean_of_the_large() -> None:
    sample = samples.small_photograph(side=32, factor=4)
    means = sample.truth.reshape(32, 4, 32, 4).mean(axis=(1, 3))
    assert np.abs(sample.degraded - means).max() <= 0.5


def test_filaments_are_blurred_by_the_psf_that_their_bead_shows() -> None:
    sample = samples.blurred_filaments()
    assert sample.bead is not None
    zoom = samples.BEAD_PIXEL / samples.FILAMENT_PIXEL
    measured = psf_of_bead(sample.bead, (zoom, zoom))
    told = optical_psf(*samples.FILAMENT_OPTICS, samples.FILAMENT_PIXEL)
    assert full_widths(measured)[0] == pytest.approx(full_widths(told)[0], rel=0.05)
    reach = told.shape[0] // 2
    inside = (slice(reach, -reach), slice(reach, -reach))
    blurred = fftconvolve(sample.truth - sample.truth.min(), told, mode="valid")
    seen, truth = sample.degraded[inside].astype(float), sample.truth[inside]
    slope, offset = np.polyfit(blurred.ravel(), seen.ravel(), 1)
    assert slope == pytest.approx(1, abs=0.03)
    noise = 12 * (blurred + offset - 100) + 4**2 + 1 / 12
    assert np.mean((seen - blurred - offset) ** 2 / noise) == pytest.approx(1, abs=0.1)
    assert np.corrcoef(truth.ravel(), seen.ravel())[0, 1] < np.corrcoef(blurred.ravel(), seen.ravel())[0, 1] - 0.05
