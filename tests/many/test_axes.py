"""Axes have letters; planes are read one by one and written back in place."""

import numpy as np
import pytest

from napari_dip.many.axes import find_axes


@pytest.mark.parametrize("letters", ["TCYX", "YXTC", "CYTX", "XYCT"])
@pytest.mark.parametrize("channels", ["apart", "together"])
def test_reading_and_writing_plane_by_plane_keeps_the_stack(letters: str, channels: str) -> None:
    sizes = {"T": 2, "C": 3, "Y": 5, "X": 7}
    stack = np.random.default_rng(0).random([sizes[letter] for letter in letters])
    axes = find_axes(stack.shape, letters, channels)
    copy = np.zeros_like(stack)
    for plane in axes.planes():
        image = axes.read(stack, plane)
        assert image.shape == ((5, 7, 3) if channels == "together" else (5, 7))
        axes.write(copy, plane, image)
    np.testing.assert_array_equal(copy, stack)
    assert axes.count == (2 if channels == "together" else 6)


def test_only_the_current_plane_is_read() -> None:
    class Watched:
        shape, asked = (4, 2, 8, 8), []

        def __getitem__(self, index):
            self.asked.append(index)
            return np.zeros((8, 8))

    watched = Watched()
    axes = find_axes(watched.shape, "TCYX")
    (plane,) = axes.planes({"T": 3, "C": [1]})
    axes.read(watched, plane)
    assert watched.asked == [(3, 1, slice(None), slice(None))]
    assert plane.describe() == "T 3, C 1"


def test_a_mask_fits_one_plane_or_the_stack() -> None:
    axes = find_axes((2, 3, 5, 7), "TCYX", "together")
    plane = list(axes.planes())[1]
    mask = np.zeros((2, 3, 5, 7), bool)
    mask[1, 2, 4, 6] = True
    for each in (mask, mask.any(axis=1), mask[1, 2]):
        np.testing.assert_array_equal(axes.read_mask(each, plane), mask[1, 2])
    with pytest.raises(ValueError, match="does not match the planes"):
        axes.check_mask((3, 5, 7))


@pytest.mark.parametrize(
    ("shape", "letters", "sentence"),
    [
        ((3, 20, 20), None, 'such as axes="TYX"'),
        ((3, 20, 20), "YX", "names 2 axes"),
        ((3, 20, 20), "TCX", "a letter of its own"),
        ((3, 20, 20), "TTX", "a letter of its own"),
        ((20, 20, 2), "YXS", "has 2 colours"),
        ((0, 20, 20), "TYX", "nothing in it"),
    ],
)
def test_axes_that_do_not_fit_are_refused(shape, letters, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        find_axes(shape, letters)


def test_missing_planes_are_refused() -> None:
    axes = find_axes((4, 20, 20), "TYX")
    assert [plane.place["T"] for plane in axes.planes({"T": slice(-2, None)})] == [2, 3]
    for selection, sentence in (({"Z": 0}, "along Z"), ({"T": 9}, "out of range"), ({"T": slice(9, 9)}, "no plane")):
        with pytest.raises(ValueError, match=sentence):
            list(axes.planes(selection))
