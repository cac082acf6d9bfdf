"""A mask marks the same place on any grid."""

import numpy as np
import pytest

from napari_dip.measurement.mask_grid import Shape, draw_shapes, resample_marks

SAME = np.array([[1.0, 0, 0], [0, 1, 0]])


@pytest.fixture
def marks() -> np.ndarray:
    return np.random.default_rng(0).random((12, 10)) < 0.2


def test_the_same_grid_changes_nothing(marks) -> None:
    np.testing.assert_array_equal(resample_marks(marks, SAME, marks.shape), marks)


def test_a_shift_shifts_and_marks_nothing_beyond(marks) -> None:
    moved = resample_marks(marks, [[1, 0, -2], [0, 1, 3]], (20, 10))  # a pixel's place on the marks' grid
    expected = np.zeros((20, 10), dtype=bool)
    expected[2:14, :7] = marks[:, 3:]
    np.testing.assert_array_equal(moved, expected)


@pytest.mark.parametrize("factor", [2, 3])
def test_a_finer_grid_repeats_every_mark(marks, factor) -> None:
    inside = 0.5 / factor - 0.5  # centres: the first fine pixel lies half a pixel, less half a fine one, before
    matrix = [[1 / factor, 0, inside], [0, 1 / factor, inside]]
    fine = resample_marks(marks, matrix, tuple(factor * side for side in marks.shape))
    np.testing.assert_array_equal(fine, marks.repeat(factor, 0).repeat(factor, 1))


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_coarser_grid_loses_no_mark(factor) -> None:
    marks = np.random.default_rng(0).random((24, 36)) < 0.03
    outside = factor / 2 - 0.5
    coarse = resample_marks(marks, [[factor, 0, outside], [0, factor, outside]], (24 // factor, 36 // factor))
    blocks = marks.reshape(24 // factor, factor, 36 // factor, factor)
    np.testing.assert_array_equal(coarse, blocks.any(axis=(1, 3)))


def test_a_quarter_turn_turns(marks) -> None:
    turned = resample_marks(marks, [[0, 1, 0], [-1, 0, 9]], (10, 12))
    np.testing.assert_array_equal(turned, np.rot90(marks, 1))


def test_grids_that_do_not_overlap_are_refused(marks) -> None:
    with pytest.raises(ValueError, match="beside the image"):
        resample_marks(marks, [[1, 0, 100], [0, 1, 0]], marks.shape)


def test_a_rectangle_marks_the_centres_within() -> None:
    rectangle = Shape("polygon", np.array([(1.5, 2.5), (1.5, 6.5), (4.5, 6.5), (4.5, 2.5)]))
    expected = np.zeros((8, 9), dtype=bool)
    expected[2:5, 3:7] = True
    np.testing.assert_array_equal(draw_shapes([rectangle], SAME, (8, 9)), expected)


def test_shapes_lie_where_the_matrix_puts_them() -> None:
    rectangle = Shape("polygon", np.array([(1.5, 2.5), (1.5, 6.5), (4.5, 6.5), (4.5, 2.5)]))
    half = np.array([[0.5, 0, 10.0], [0, 0.5, 20.0]])
    there = Shape("polygon", rectangle.vertices * 0.5 + (10, 20))
    np.testing.assert_array_equal(draw_shapes([there], half, (8, 9)), draw_shapes([rectangle], SAME, (8, 9)))


def test_an_ellipse_has_its_area_and_its_symmetry() -> None:
    corners = np.array([(10, 20), (10, 80), (50, 80), (50, 20)], float)
    mask = draw_shapes([Shape("ellipse", corners)], SAME, (61, 101))
    assert mask.sum() == pytest.approx(np.pi * 20 * 30, rel=0.01)
    np.testing.assert_array_equal(mask, mask[::-1, ::-1])


def test_a_line_is_as_wide_as_it_is_drawn_and_never_broken() -> None:
    wide = draw_shapes([Shape("path", np.array([(10, 5), (10, 30)]), 5)], SAME, (20, 40))
    assert wide[:, 20].sum() == 5
    thin = draw_shapes([Shape("path", np.array([(2, 3), (17, 31)]), 0.01)], SAME, (20, 40))
    assert thin[3:17].any(axis=1).all()
    assert thin[:, 4:31].any(axis=0).all()


def test_what_lies_outside_marks_nothing_and_all_shapes_count() -> None:
    outside = Shape("path", np.array([(-50, -50), (-40, -40)]), 3)
    square = Shape("polygon", np.array([(1, 1), (1, 3), (3, 3), (3, 1)]))
    point = Shape("path", np.array([(7, 7), (7, 7)]), 1)
    assert not draw_shapes([outside], SAME, (10, 10)).any()
    np.testing.assert_array_equal(
        draw_shapes([outside, square, point], SAME, (10, 10)),
        draw_shapes([square], SAME, (10, 10)) | draw_shapes([point], SAME, (10, 10)),
    )
