"""What is written is read again; a file is whole or not there."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_dip.image_files import check_png, read_image, read_mask, write_png, write_tiff, write_whole


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3), (20, 30, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_tiff_there_and_back(tmp_path, shape, dtype) -> None:
    image = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    write_tiff(tmp_path / "a.tif", image, {"seed": 3})
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages[0].description == '{"seed": 3}'


def test_ome_tiff_is_read(tmp_path) -> None:
    image = np.arange(600, dtype=np.uint16).reshape(20, 30)
    tifffile.imwrite(tmp_path / "a.ome.tif", image, metadata={"axes": "YX"})
    np.testing.assert_array_equal(read_image(tmp_path / "a.ome.tif"), image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_rounds_and_clips(tmp_path, dtype) -> None:
    write_png(tmp_path / "a.png", np.array([[-5.0, 1.4, 1.6, 1e6]] * 4, np.float32), np.dtype(dtype))
    assert read_image(tmp_path / "a.png")[0].tolist() == [0, 1, 2, np.iinfo(dtype).max]


def test_one_channel_and_one_page_are_a_plane(tmp_path) -> None:
    plane = np.arange(20 * 16, dtype=np.uint8).reshape(20, 16)
    write_png(tmp_path / "a.png", plane[:, :, None], np.dtype(np.uint8))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), plane)
    tifffile.imwrite(tmp_path / "b.tif", plane[None], photometric="minisblack")
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif"), plane)


def test_what_png_cannot_keep_is_said_before() -> None:
    with pytest.raises(ValueError, match="16-bit colours"):
        check_png(np.zeros((4, 4, 3), np.uint16))


def test_printing_inks_are_refused(tmp_path) -> None:
    Image.new("CMYK", (20, 20)).save(tmp_path / "inks.jpg")
    with pytest.raises(ValueError, match="printing inks"):
        read_image(tmp_path / "inks.jpg")


def test_png_refuses_float(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"write a \.tif"):
        write_png(tmp_path / "a.png", np.zeros((4, 4)), np.dtype(np.float32))
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_nothing_and_harms_nothing(tmp_path) -> None:
    target = tmp_path / "a.tif"
    target.write_text("old")

    def fail(path) -> None:
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(target, fail)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_unreadable_files_are_named(tmp_path) -> None:
    (tmp_path / "a.tif").write_text("no image")
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((5, 20, 20), np.uint8))
    for name, sentence in (("none.tif", "no file"), ("a.tif", "cannot be read"), ("stack.tif", "only single planes")):
        with pytest.raises(ValueError, match=sentence):
            read_image(tmp_path / name)


def test_masks_are_true_where_not_zero(tmp_path) -> None:
    write_png(tmp_path / "m.png", np.eye(20) * 255, np.dtype(np.uint8))
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), np.eye(20, dtype=bool))
