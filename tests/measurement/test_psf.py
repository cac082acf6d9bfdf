"""A PSF is centred and checked; from the optics, a bead or a width it has the width that physics says."""

import numpy as np
import pytest

from napari_dip.measurement.psf import full_widths, gaussian_psf, join_psfs, optical_psf, psf_of_bead, read_psf

OPTICS = (1.3, 525, 0.065)


def test_a_psf_is_centred_and_stays_as_it_is_when_it_is_read_again() -> None:
    off_centre = np.zeros((20, 31), np.float32)
    off_centre[4:7, 20:23] = [[0, 1, 0], [1, 4, 1], [0, 1, 0]]
    psf = read_psf(off_centre)
    assert psf.shape == (3, 3)
    assert psf[1, 1] == psf.max() == 1
    for each in (psf, read_psf(np.ones((2, 2))), read_psf(np.random.default_rng(0).random((6, 9, 2)))):
        assert all(side % 2 for side in each.shape[:2])
        np.testing.assert_array_equal(read_psf(each.tolist()), each)


def test_an_even_psf_moves_by_half_a_pixel_at_most() -> None:
    psf = read_psf(np.ones((4, 3)))
    assert psf.shape == (5, 3)
    assert abs((psf.sum(axis=1) * np.arange(-2, 3)).sum() / psf.sum()) == 0.5


@pytest.mark.parametrize(
    ("psf", "words"),
    [
        (-np.ones((3, 3)), "negative"),
        (np.zeros((3, 3)), "0 everywhere"),
        (np.stack([np.ones((3, 3)), np.zeros((3, 3))], axis=2), "channel 1"),
        (np.full((3, 3), np.nan), "NaN"),
        (np.ones(5), "shape"),
        (np.ones((300, 3)), "at most 255"),
    ],
)
def test_what_is_no_psf_is_refused_in_a_sentence(psf, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_psf(psf)


def test_the_optics_give_the_width_that_physics_says() -> None:
    fine = optical_psf(1.3, 525, 0.0325)
    width = full_widths(fine)[0] * 0.0325
    assert width == pytest.approx(0.51 * 0.525 / 1.3, rel=0.02)  # of an Airy pattern
    wide_pinhole = optical_psf(1.3, 525, 0.0325, pinhole=5, excitation=488)
    confocal = optical_psf(1.3, 525, 0.0325, pinhole=0.2, excitation=488)
    assert full_widths(wide_pinhole)[0] * 0.0325 == pytest.approx(0.51 * 0.488 / 1.3, rel=0.05)  # the laser's spot
    assert full_widths(confocal)[0] < 0.8 * full_widths(fine)[0]
    for psf in (fine, confocal):
        assert psf.sum() == pytest.approx(1)
        np.testing.assert_allclose(psf, psf[::-1, ::-1])


def test_a_gaussian_has_its_width() -> None:
    assert full_widths(gaussian_psf(4.0)) == pytest.approx((2.355 * 4, 2.355 * 4), rel=0.02)
    np.testing.assert_allclose(gaussian_psf(0.05)[1, 1], 1)


def test_a_bead_on_smaller_pixels_becomes_the_psf_of_the_image() -> None:
    fine = optical_psf(1.3, 525, 0.0325)
    bead = np.random.default_rng(0).poisson(np.roll(np.pad(fine, 20), (4, -3), (0, 1)) * 200_000 + 100)
    psf, truth = psf_of_bead(bead, (0.5, 0.5)), optical_psf(*OPTICS)
    middle, reach = truth.shape[0] // 2, psf.shape[0] // 2
    truth = truth[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]
    assert full_widths(psf)[0] == pytest.approx(full_widths(truth)[0], rel=0.05)
    assert np.abs(psf - truth / truth.sum()).sum() < 0.1


def test_without_a_bead_there_is_no_psf() -> None:
    with pytest.raises(ValueError, match="no bead"):
        psf_of_bead(np.full((20, 20), 7))
    with pytest.raises(ValueError, match=r"with depth cannot be used.*in focus"):
        psf_of_bead(np.ones((5, 20, 20)))
    with pytest.raises(ValueError, match="at least 3 x 3"):
        psf_of_bead(np.ones((20, 2)))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"numerical_aperture": 13}, "numerical aperture"),
        ({"wavelength": 0.525}, "nanometres"),
        ({"pixel_size": 65e3}, "micrometres"),
        ({"pixel_size": 0.002}, "pixels"),
        ({"pinhole": 1}, "excitation"),
    ],
)
def test_optics_that_cannot_be_right_are_refused(wrong: dict[str, float], words: str) -> None:
    given = {"numerical_aperture": 1.3, "wavelength": 525.0, "pixel_size": 0.065} | wrong
    with pytest.raises(ValueError, match=words):
        optical_psf(**given)


def test_psfs_of_channels_are_joined_around_their_middles() -> None:
    narrow, wide = gaussian_psf(0.6), gaussian_psf(1.5)
    joined = join_psfs([narrow, wide])
    assert joined.shape == (*wide.shape, 2)
    np.testing.assert_array_equal(joined[..., 1], wide)
    assert joined[..., 0].sum() == pytest.approx(1)
    middle = tuple(side // 2 for side in wide.shape)
    assert np.unravel_index(np.argmax(joined[..., 0]), wide.shape) == middle
    assert read_psf(joined).shape == joined.shape
