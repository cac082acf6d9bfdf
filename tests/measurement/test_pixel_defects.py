"""Each defect is found where it was made, and nothing else: with any gain, in any type, in grey and in colour."""

import numpy as np
import pytest
from skimage import data

from napari_dip.measurement.pixel_defects import (
    find_above,
    find_below,
    find_dead_lines,
    find_hot_and_cold,
    find_not_finite,
    find_saturated,
    find_zero,
    stand_alone,
    typical_range,
)
from napari_dip.samples import noisy_fluorescence

FINDERS = [find_saturated, find_zero, find_not_finite, find_hot_and_cold, find_dead_lines]


@pytest.fixture
def cells() -> np.ndarray:
    """(96, 80) uint16, few photons: bright noise that is no defect."""
    return noisy_fluorescence(128).degraded[16:112, 24:104].copy()


def marked(shape: tuple[int, int], *places) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    for place in places:
        mask[place] = True
    return mask


@pytest.mark.parametrize("find", FINDERS)
def test_a_sound_image_has_no_defect(cells, find) -> None:
    assert not find(cells).any()
    assert not find(data.coins()[80:176, 200:280]).any()


def test_saturation_is_the_types_largest_value_or_where_values_pile_up(cells) -> None:
    cells[10:13, 20:23] = 65535
    np.testing.assert_array_equal(find_saturated(cells), marked(cells.shape, np.s_[10:13, 20:23]))
    clipped = np.minimum(cells, 4095)  # a 12-bit camera's
    np.testing.assert_array_equal(find_saturated(clipped), marked(cells.shape, np.s_[10:13, 20:23]))
    np.testing.assert_array_equal(find_saturated(clipped / 4095), find_saturated(clipped))
    bright = cells.astype(float)
    bright[10:13, 20:23] = np.nan
    assert not find_saturated(bright).any()


def test_a_few_brightest_pixels_are_not_saturated(cells) -> None:
    cells[10, 20:23] = 65535
    assert not find_saturated(cells).any()
    assert not find_saturated(np.full((20, 20), 7, np.uint8)).any()


def test_a_colour_is_saturated_in_any_channel_and_zero_in_all(astronaut) -> None:
    image = np.clip(astronaut, 1, 254)
    image[5:8, 5:8, 1] = 255
    image[20, 20] = 0
    image[21, 21, :2] = 0
    np.testing.assert_array_equal(find_saturated(image), marked(image.shape[:2], np.s_[5:8, 5:8]))
    np.testing.assert_array_equal(find_zero(image), marked(image.shape[:2], (20, 20)))


def test_alpha_is_not_looked_at(astronaut) -> None:
    alpha = np.zeros((*astronaut.shape[:2], 1), np.uint8)
    image = np.clip(astronaut, 1, 254)
    for find in FINDERS:
        np.testing.assert_array_equal(find(np.concatenate([image, alpha], axis=2)), find(image))


def test_thresholds_are_in_the_images_units_and_exclude_themselves(cells) -> None:
    np.testing.assert_array_equal(find_above(cells, 500), cells > 500)
    np.testing.assert_array_equal(find_below(cells, 150), cells < 150)
    assert not find_above(cells, float(cells.max())).any()
    image = np.full((4, 4), np.nan)
    assert not (find_above(image, 0) | find_below(image, 0)).any()


def test_not_finite(cells) -> None:
    image = cells.astype(np.float32)
    image[3, 4], image[5, 6], image[7, 8] = np.nan, np.inf, -np.inf
    np.testing.assert_array_equal(find_not_finite(image), marked(image.shape, (3, 4), (5, 6), (7, 8)))


@pytest.mark.parametrize("gain", [1.0, 0.25])
def test_hot_and_cold_pixels_are_found_among_noise(cells, gain) -> None:
    image = cells.astype(float)
    image[30, 40], image[0, 0], image[50, 60] = 5000, 4000, -3000
    found = find_hot_and_cold(gain * image)
    np.testing.assert_array_equal(found, marked(image.shape, (30, 40), (0, 0), (50, 60)))


def test_hot_pixels_are_found_beside_what_is_not_a_number(cells) -> None:
    image = cells.astype(float)
    image[20:30, 20:30] = np.nan
    image[60, 60] = 6000
    np.testing.assert_array_equal(find_hot_and_cold(image), marked(image.shape, (60, 60)))
    assert not find_hot_and_cold(np.full((20, 20), np.nan)).any()


def test_what_optics_can_draw_is_not_hot() -> None:
    rows, columns = np.mgrid[:40, :40]
    bead = 1000 * np.exp(-((rows - 20) ** 2 + (columns - 20) ** 2) / (2 * 0.8**2))
    noise = np.random.default_rng(0).normal(0, 1, bead.shape)
    assert not find_hot_and_cold(100 + bead + noise).any()


@pytest.mark.parametrize("value", [0, 100, 65535])
@pytest.mark.parametrize("where", [np.s_[30], np.s_[0], np.s_[-1], np.s_[40:43], np.s_[:, 25], np.s_[:, -1]])
def test_constant_lines_are_dead(cells, value, where) -> None:
    cells[where] = value
    np.testing.assert_array_equal(find_dead_lines(cells), marked(cells.shape, where))


def test_a_line_far_from_both_neighbours_is_dead(cells) -> None:
    image = cells.astype(float)
    image[33] += 400
    image[:, 12] -= 400
    np.testing.assert_array_equal(find_dead_lines(image), marked(image.shape, np.s_[33], np.s_[:, 12]))


def test_edges_and_dark_borders_are_not_dead_lines() -> None:
    image = np.random.default_rng(0).normal(100, 2, (40, 40))
    image[20:] += 500
    assert not find_dead_lines(image).any()
    dark = np.zeros((40, 40), np.uint8)
    dark[10:30, 10:30] = 200
    assert not find_dead_lines(dark).any()


@pytest.mark.parametrize("find", FINDERS)
@pytest.mark.parametrize("image", [np.zeros((3, 20, 20)), np.zeros(20), np.zeros((20, 20), complex)])
def test_what_is_no_plane_of_real_numbers_is_refused(find, image) -> None:
    with pytest.raises(ValueError, match="give"):
        find(image)


def test_the_typical_range_follows_gain_and_offset_to_the_bit() -> None:
    values = np.random.default_rng(0).integers(0, 1000, 5000).astype(float)
    low, high = typical_range(np.append(values, 1e6))
    assert (values.min(), values.max()) == (low, pytest.approx(values.max(), rel=1.01))
    assert high < 1e4
    assert typical_range(3 * values + 7) == tuple(3 * each + 7 for each in typical_range(values))


def test_only_what_exceeds_its_neighbours_threefold_stands_alone() -> None:
    values = np.zeros((9, 9, 1))
    values[4, 4], values[4, 5] = 10, 3
    assert stand_alone(values, np.zeros(1))[4, 4, 0]
    values[4, 5] = 4
    assert not stand_alone(values, np.zeros(1)).any()
