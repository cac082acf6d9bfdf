"""Rounded to the nearest, clipped to the range, and counted."""

import numpy as np
import pytest

from napari_dip import as_dtype

WHOLE = [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64]


@pytest.mark.parametrize("dtype", WHOLE)
def test_the_types_own_values_come_back(dtype) -> None:
    limits = np.iinfo(dtype)
    values = np.array([[limits.min, limits.max, 0, 1, 100]], dtype=dtype)
    converted, clipped = as_dtype(values.astype(np.float64), dtype)
    assert converted.dtype == dtype
    assert clipped == 0
    np.testing.assert_array_equal(converted, values)


@pytest.mark.parametrize("dtype", WHOLE)
def test_what_is_beyond_is_set_to_the_limit_and_counted(dtype) -> None:
    limits = np.iinfo(dtype)
    beyond = np.array([[-1e30, 1e30, np.float32(2.0), 3.0]], dtype=np.float32)
    converted, clipped = as_dtype(beyond, dtype)
    assert converted.tolist() == [[limits.min, limits.max, 2, 3]]
    assert clipped == 2


def test_values_are_rounded_to_the_nearest() -> None:
    converted, clipped = as_dtype(np.array([[-0.4, 0.6, 1.4, 254.6, 255.4]], np.float32), np.uint8)
    assert converted.tolist() == [[0, 1, 1, 255, 255]]
    assert clipped == 0


def test_a_pixel_counts_once_whatever_its_channels() -> None:
    image = np.full((2, 2, 3), 300.0)
    image[0, 0] = 10
    assert as_dtype(image, np.uint8)[1] == 3


def test_the_same_type_is_the_same_image() -> None:
    image = np.array([[1.5, np.nan]], np.float32)
    same, clipped = as_dtype(image, np.float32)
    assert same is image
    assert clipped == 0


def test_floats_keep_what_is_not_finite_and_clip_the_rest() -> None:
    converted, clipped = as_dtype(np.array([[np.nan, np.inf, -np.inf, 1e6, 1.5]], np.float32), np.float16)
    np.testing.assert_array_equal(converted, np.array([[np.nan, np.inf, -np.inf, 65504, 1.5]], np.float16))
    assert clipped == 1


def test_true_begins_at_a_half() -> None:
    assert as_dtype(np.array([[0.0, 0.49, 0.5, 1.0]]), bool)[0].tolist() == [[False, False, True, True]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
def test_whole_numbers_hold_no_nan(dtype) -> None:
    with pytest.raises(ValueError, match="keep float32"):
        as_dtype(np.array([[np.nan, 1.0]]), dtype)


@pytest.mark.parametrize("dtype", [complex, "U3", object])
def test_other_types_are_refused(dtype) -> None:
    with pytest.raises(TypeError, match="choose one such as"):
        as_dtype(np.zeros((2, 2)), dtype)


@pytest.mark.parametrize(
    ("values", "dtype", "other", "expected", "beyond"),
    [
        ([2**53 + 1, 2**63 - 1, -1], np.int64, np.uint64, [2**53 + 1, 2**63 - 1, 0], 1),
        ([2**53 + 1, 2**63 + 1], np.uint64, np.int64, [2**53 + 1, 2**63 - 1], 1),
        ([300, -5, 7], np.int16, np.uint8, [255, 0, 7], 2),
        ([0, 1], bool, np.int8, [0, 1], 0),
    ],
)
def test_whole_numbers_become_others_without_losing_their_low_bits(values, dtype, other, expected, beyond) -> None:
    converted, clipped = as_dtype(np.array([values], dtype), other)
    assert converted.dtype == other
    assert (converted.tolist(), clipped) == ([expected], beyond)


@pytest.mark.parametrize("dtype", ["uint17", 7, None])
def test_what_is_no_type_is_refused(dtype) -> None:
    with pytest.raises(TypeError, match="there is no pixel type"):
        as_dtype(np.zeros((2, 2), np.float32), dtype)


def test_what_is_no_image_of_numbers_is_refused() -> None:
    with pytest.raises(TypeError, match="give real numbers"):
        as_dtype(np.zeros((2, 2), complex), np.uint8)
