"""Written images can be read back; a file is complete or absent."""

import json
import os
import socket
import struct
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_dip.image_files import (
    check_png,
    read_image,
    read_mask,
    read_quantisation_table,
    read_record,
    write_png,
    write_tiff,
)
from napari_dip.whole_files import write_atomically


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3), (20, 30, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_tiff_is_written_and_read_back(tmp_path, shape, dtype) -> None:
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


def test_a_png_refuses_what_it_cannot_hold() -> None:
    with pytest.raises(ValueError, match="16-bit colours"):
        check_png(np.dtype(np.uint16), has_colours=True)


def test_printing_inks_are_refused(tmp_path) -> None:
    Image.new("CMYK", (20, 20)).save(tmp_path / "inks.jpg")
    with pytest.raises(ValueError, match="printing inks"):
        read_image(tmp_path / "inks.jpg")


def test_png_refuses_float(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"write a \.tif"):
        write_png(tmp_path / "a.png", np.zeros((4, 4)), np.dtype(np.float32))
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path) -> None:
    target = tmp_path / "a.tif"
    target.write_text("old")

    def fail(path) -> None:
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(target, fail)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_unreadable_files_are_named(tmp_path) -> None:
    (tmp_path / "a.tif").write_text("no image")
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((5, 20, 20), np.uint8))
    for name, sentence in (
        ("none.tif", "does not exist"),
        ("a.tif", "cannot be read"),
        ("stack.tif", "only a single plane"),
    ):
        with pytest.raises(ValueError, match=sentence):
            read_image(tmp_path / name)


def test_masks_are_true_where_not_zero(tmp_path) -> None:
    write_png(tmp_path / "m.png", np.eye(20) * 255, np.dtype(np.uint8))
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), np.eye(20, dtype=bool))


def grey() -> np.ndarray:
    """A (24, 20) uint8 image of noise."""
    return np.random.default_rng(0).integers(0, 200, (24, 20)).astype(np.uint8)


def write_by_hand(path, width: int, height: int, *, depth: int, colour: int) -> None:
    """Write a PNG with this size in its header, but only 20 x 20 pixels of 16-bit colours."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress((b"\0" + bytes(120)) * 20))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b""))


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
def test_a_record_with_a_shape_is_written_and_read_back(tmp_path, name) -> None:
    """tifffile mistakes a description with a "shape" for its own."""
    record = {"settings": {}, "stack": {"shape": [3, 4], "axes": "YX"}, "note": 'with "shape": in quotes'}
    write_tiff(tmp_path / name, grey(), record)
    assert read_record(tmp_path / name) == record
    np.testing.assert_array_equal(read_image(tmp_path / name), grey())
    np.testing.assert_array_equal(tifffile.imread(tmp_path / name), grey())  # as other programs read it


def test_a_description_with_a_shape_of_its_own_is_read(tmp_path) -> None:
    record = {"settings": {}, "stack": {"shape": [3, 4]}}
    tifffile.imwrite(tmp_path / "a.tif", grey(), description=json.dumps(record), metadata=None)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), grey())
    assert read_record(tmp_path / "a.tif") == record


def test_a_large_tiff_is_not_refused_as_a_bomb(tmp_path) -> None:
    """It has 182 megapixels, more than Pillow allows; all are zero, so the file is sparse."""
    tifffile.imwrite(tmp_path / "a.tif", shape=(13_000, 14_000), dtype=np.uint8)
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "a.tif").shape == (13_000, 14_000)
        assert read_quantisation_table(tmp_path / "a.tif") is None
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.full
def test_a_large_png_is_not_refused_as_a_bomb(tmp_path) -> None:
    """Pillow's limit stays unchanged."""
    image = np.zeros((13_000, 14_000), np.uint8)
    image[::7, ::5] = 3
    Image.fromarray(image).save(tmp_path / "a.png", compress_level=1)
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_a_png_that_promises_too_many_pixels_is_refused(tmp_path) -> None:
    write_by_hand(tmp_path / "a.png", 30_000, 30_000, depth=8, colour=0)
    with pytest.raises(ValueError, match="promises 30000 x 30000 pixels, more than its bytes can hold"):
        read_image(tmp_path / "a.png")


def test_a_tiff_that_promises_too_many_pixels_is_refused(tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", grey(), compression="zlib", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        for name in ("ImageLength", "ImageWidth", "RowsPerStrip"):
            file.pages[0].tags[name].overwrite(60_000)
    with pytest.raises(ValueError, match="promises more pixels than its bytes can hold"):
        read_image(tmp_path / "a.tif")


def test_printing_inks_are_refused_in_a_tiff_too(tmp_path) -> None:
    Image.new("CMYK", (20, 20)).save(tmp_path / "inks.tif")
    with pytest.raises(ValueError, match="printing inks"):
        read_image(tmp_path / "inks.tif")


def test_the_format_does_not_depend_on_the_name(tmp_path) -> None:
    Image.fromarray(grey()).save(tmp_path / "a.tif", format="PNG")
    tifffile.imwrite(tmp_path / "b.png", grey())
    Image.fromarray(grey()).save(tmp_path / "c.tif", format="JPEG", quality=50)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), grey())
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), grey())
    assert read_quantisation_table(tmp_path / "b.png") is None
    assert read_quantisation_table(tmp_path / "c.tif").shape == (8, 8)


def test_pngs_of_other_depths_are_read_as_they_are(tmp_path) -> None:
    Image.fromarray(grey() > 90).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "bits.png"), grey() > 90)
    deep = grey().astype(np.uint16) * 300
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), deep)
    few = Image.fromarray(np.stack([grey(), grey() // 2, grey() // 3], -1)).quantize(16)
    few.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), np.asarray(few.convert("RGB")))


def test_16_bit_colours_are_not_silently_read_as_8_bit(tmp_path) -> None:
    """Pillow reads only 8 of the 16 bits of a PNG's colours."""
    write_by_hand(tmp_path / "a.png", 20, 20, depth=16, colour=2)
    with pytest.raises(ValueError, match=r"16-bit colours.*save it as TIFF"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(("name", "kind"), [("a.png", "GIF"), ("b.png", "WEBP"), ("c.png", "PNG")])
def test_animations_are_refused(tmp_path, name, kind) -> None:
    frames = [Image.fromarray(np.roll(grey(), 5 * n)) for n in range(3)]
    frames[0].save(tmp_path / name, format=kind, save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match="has 3 frames"):
        read_image(tmp_path / name)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".ome.tif"])
def test_a_truncated_image_is_never_read_as_another(tmp_path, suffix) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix in (".png", ".jpg"):
        Image.fromarray(grey()).save(path)
    else:
        write_tiff(path, grey(), {"seed": 3})
    data, whole = path.read_bytes(), read_image(path)
    refused = []
    for length in range(0, len(data) - 20, 23):
        path.write_bytes(data[:length])
        try:
            np.testing.assert_array_equal(read_image(path), whole)
        except ValueError as error:
            refused.append(str(error))
    assert len(refused) > 10
    assert all(path.name in sentence and "\n" not in sentence for sentence in refused)


def test_a_wrong_checksum_is_detected(tmp_path) -> None:
    Image.fromarray(np.zeros((24, 20), np.uint8)).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[data.index(b"IEND") - 5] ^= 1  # the last byte of the checksum of the pixels
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ValueError, match="truncated or damaged"):
        read_image(tmp_path / "a.png")


def test_pipes_sockets_and_folders_are_refused_without_blocking(tmp_path, monkeypatch) -> None:
    os.mkfifo(tmp_path / "pipe.tif")
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "empty.tif").touch()
    monkeypatch.chdir(tmp_path)  # socket names must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.tif")
        for name, sentence in (
            ("pipe.tif", "is a pipe, socket or device"),
            ("socket.tif", "is a pipe, socket or device"),
            ("/dev/null", "is a pipe, socket or device"),
            ("folder.tif", "is a folder"),
            ("empty.tif", "is empty"),
            ("none.tif", "does not exist"),
        ):
            for read in (read_image, read_mask, read_quantisation_table):
                with pytest.raises(ValueError, match=sentence):
                    read(tmp_path / name)
            assert read_record(tmp_path / name) is None


def test_a_missing_decompressor_is_named(tmp_path) -> None:
    Image.fromarray(grey()).save(tmp_path / "a.tif", compression="jpeg")
    try:
        import imagecodecs  # noqa: F401
    except ImportError:
        with pytest.raises(ValueError, match=r"compression \(JPEG\) needs the package imagecodecs"):
            read_image(tmp_path / "a.tif")
    else:
        assert read_image(tmp_path / "a.tif").shape == (24, 20)


def test_complex_numbers_are_refused(tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", grey().astype(np.complex64))
    with pytest.raises(ValueError, match="not real numbers"):
        read_image(tmp_path / "a.tif")


def test_a_tag_that_promises_too_much_is_refused_before_memory_is_allocated(tmp_path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((20, 16), np.uint8), description="of a plane", metadata=None)
    with tifffile.TiffFile(path) as file:
        entry = file.pages.first.tags["ImageDescription"].offset
    data = bytearray(path.read_bytes())
    data[entry + 4 : entry + 8] = struct.pack("<I", 3_000_000_000)
    path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(ValueError, match="a tag promises more than the file holds"):
        read_image(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6
