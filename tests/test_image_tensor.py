"""The way back undoes the way in; bad images are refused in a sentence."""

import numpy as np
import pytest

from napari_dip import restore
from napari_dip.image_tensor import to_tensor

DTYPES = [bool, np.uint8, np.int16, np.uint16, np.int64, np.float16, np.float32, np.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [None, 1, 3, 4])
def test_the_way_back_undoes_the_way_in(dtype: type, channels: int | None) -> None:
    shape = (20, 17) if channels is None else (20, 17, channels)
    image = (
        np.random.default_rng(0).random(shape) * 2 if dtype is bool else np.random.default_rng(0).random(shape) * 200
    )
    image = image.astype(np.uint8 if dtype is bool else dtype).astype(dtype)
    tensor = to_tensor(image)
    assert tensor.values.shape == (1, min(channels or 1, 3), 20, 17)
    assert float(tensor.values.min()) >= 0
    assert float(tensor.values.max()) <= 1
    back = tensor.to_image(tensor.values)
    assert back.shape == image.shape
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, image.astype(np.float32), rtol=1e-5, atol=2e-5)


def test_whole_gain_and_offset_change_no_bit_of_the_tensor(camera: np.ndarray) -> None:
    wide = camera.astype(np.uint16) * 37 + 411
    assert to_tensor(camera).values.equal(to_tensor(wide).values)


def test_nan_and_inf_are_missing(camera: np.ndarray) -> None:
    image = camera.astype(np.float32)
    image[3, 4], image[5, 6] = np.nan, np.inf
    known = to_tensor(image).known[0, 0].numpy()
    assert not known[3, 4]
    assert not known[5, 6]
    assert known.sum() == known.size - 2


def test_hot_pixels_count_as_missing_and_small_bright_objects_do_not(camera: np.ndarray) -> None:
    image = camera.astype(float)
    image[10, 10], image[30, 5] = 5e4, -5e4
    rows, columns = np.indices(image.shape)
    image += 1e4 * np.exp(-((rows - 20) ** 2 + (columns - 25) ** 2) / 2 / 0.85**2)  # as sharp as a microscope may draw
    known = to_tensor(image).known[0, 0].numpy()
    assert not known[10, 10]
    assert not known[30, 5]
    assert known.sum() == known.size - 2


def test_one_hot_pixel_does_not_flatten_the_rest(camera: np.ndarray) -> None:
    image = camera.astype(np.float64)
    image[10, 10] = 1e6
    values = to_tensor(image).values
    assert values.flatten().sort().values[-2] > 0.3


@pytest.mark.parametrize(
    ("image", "error", "sentence"),
    [
        (np.zeros((20, 20), complex), TypeError, "complex"),
        (np.full((20, 20), None), TypeError, "object"),
        (np.full((20, 20), "a"), TypeError, "dtype"),
        (np.zeros((15, 40)), ValueError, "at least 16"),
        (np.zeros((20, 20)), ValueError, "same intensity"),
        (np.full((20, 20), np.nan), ValueError, "every pixel is masked"),
        (np.zeros((4, 20, 20, 20)), ValueError, "one plane"),
        (np.zeros((20, 20, 2)), ValueError, "c = 1, 3 or 4"),
        (np.zeros(20), ValueError, "one plane"),
    ],
)
def test_what_cannot_be_restored_is_said(image: np.ndarray, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        to_tensor(image)


def test_masks_that_do_not_fit(camera: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"mask shape \(64, 64\) does not match image \(48, 40\)"):
        to_tensor(camera, np.zeros((64, 64), bool))
    with pytest.raises(ValueError, match="every pixel is masked"):
        to_tensor(camera, np.ones(camera.shape, bool))


def test_a_masked_array_of_another_shape_is_refused_in_a_sentence() -> None:
    image = np.ma.masked_array(
        np.ones((20, 16, 16, 1)), mask=np.eye(16, dtype=bool)[:, :, None] & np.ones((20, 16, 16, 1), bool)
    )
    with pytest.raises(ValueError, match=r"image has shape .*\.$"):
        restore(image, np.zeros((20, 16), bool))
