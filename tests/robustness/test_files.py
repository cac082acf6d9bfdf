"""Any file gives its image or an error message: no other error, no hang, no excessive memory."""

import csv
import logging
import os
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from terminal import restore

from napari_dip.image_files import read_image, read_mask, read_quantisation_table, read_record
from napari_dip.many.image_stack import Stack
from napari_dip.many.stack_files import open_stack, read_stack_record, write_stack

_MEMORY = 100e6  # bytes; the files have 4 kB
_FILM = np.random.default_rng(0).integers(0, 200, (4, 24, 20)).astype(np.uint8)
_GREY = _FILM[0]
_RECORD = {"settings": {"width": 8}, "stack": {"axes": "TYX", "shape": [4, 24, 20]}}


def _write_pages(path: Path) -> None:
    with tifffile.TiffWriter(path) as writer:
        for plane in _FILM:
            writer.write(plane, metadata=None, contiguous=False)


def _write_pyramid(path: Path) -> None:
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(_FILM, subifds=1, tile=(16, 16), photometric="minisblack", metadata={"axes": "TYX"})
        writer.write(_FILM[:, ::2, ::2], subfiletype=1, tile=(16, 16), photometric="minisblack")


def _write_our_stack(path: Path) -> None:
    like = Stack(None, "TYX", (), {"T": 2.0, "Y": 0.5, "X": 0.5}, {"T": "s", "Y": "µm", "X": "µm"})
    write_stack(path, iter(_FILM), _FILM.shape, np.uint8, like, "TYX", _RECORD)


def _write_old_zarr(path: Path) -> None:
    group = zarr.create_group(str(path), zarr_format=2)
    array = group.create_array(
        "0", shape=_FILM.shape, dtype=_FILM.dtype, chunks=(1, 24, 20),
        chunk_key_encoding={"name": "v2", "separator": "/"},
    )  # fmt: skip
    array[:] = _FILM
    scale = {"type": "scale", "scale": [1, 0.5, 0.5]}
    axes = [{"name": "t", "type": "time"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": [scale]}]}]


_TIFF, _AXES = {"photometric": "minisblack"}, {"axes": "TYX"}
_WRITERS = {
    "plain.tif": lambda path: tifffile.imwrite(path, _GREY),
    "strips.tif": lambda path: tifffile.imwrite(path, _GREY.astype(np.uint16), rowsperstrip=5, metadata=None),
    "zlib.tif": lambda path: tifffile.imwrite(path, _GREY, compression="zlib", rowsperstrip=4, predictor=2),
    "tiles.tif": lambda path: tifffile.imwrite(path, _GREY, tile=(16, 16), compression="zlib", metadata=None),
    "colours.tif": lambda path: tifffile.imwrite(path, np.stack([_GREY] * 3), photometric="rgb", planarconfig=2),
    "float.tif": lambda path: tifffile.imwrite(path, _FILM.astype(np.float32), bigtiff=True, **_TIFF),
    "deflated.tif": lambda path: tifffile.imwrite(path, _FILM, compression="zlib", **_TIFF),
    "pages.tif": _write_pages,
    "imagej.tif": lambda path: tifffile.imwrite(path, _FILM, imagej=True, metadata={"axes": "TYX"}),
    "our_imagej.tif": _write_our_stack,
    "pyramid.ome.tif": _write_pyramid,
    "deflated.ome.tif": lambda path: tifffile.imwrite(path, _FILM, metadata=_AXES, compression="zlib", **_TIFF),
    "ours.ome.tif": _write_our_stack,
    "grey.png": lambda path: Image.fromarray(_GREY).save(path),
    "deep.png": lambda path: Image.fromarray(_GREY.astype(np.uint16) * 200).save(path),
    "bits.png": lambda path: Image.fromarray(_GREY > 90).save(path),
    "palette.png": lambda path: Image.fromarray(np.stack([_GREY] * 3, -1)).quantize(16).save(path),
    "grey.jpg": lambda path: Image.fromarray(_GREY).save(path),
    "colours.jpg": lambda path: Image.fromarray(np.stack([_GREY] * 3, -1)).save(path, progressive=True),
    "still.gif": lambda path: Image.fromarray(_GREY).save(path),
    "ours.zarr": _write_our_stack,
    "old.zarr": _write_old_zarr,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _without_logs():
    """The libraries log thousands of lines here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    for name, write in _WRITERS.items():
        write(folder / name)
    return folder


def _read_stack(path: Path) -> np.ndarray:
    return np.array(open_stack(path).array[...])


def _read(read, path: Path):
    """Return what is read, or the error message."""
    try:
        return read(path)
    except ValueError as error:
        return str(error)


def _check_law(path: Path) -> None:
    """Check that a file, whatever it contains, is read or refused."""
    tracemalloc.start()
    try:
        for read in (_read_stack, read_image, read_mask, read_quantisation_table, read_record, read_stack_record):
            found = _read(read, path)
            if isinstance(found, str):
                assert "\n" not in found
                assert path.name in found
            elif isinstance(found, np.ndarray):
                assert found.ndim >= 2
                assert found.size > 0
                assert found.dtype.kind in "buif"
        assert tracemalloc.get_traced_memory()[1] < _MEMORY
    finally:
        tracemalloc.stop()


_EDITS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "set", "cut", "insert", "end"]),
        st.one_of(st.floats(0, 1), st.integers(0, 600)),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=4,
)


def _damage(data: bytes, edits) -> bytes:
    """Return bytes with some flipped, overwritten, removed or inserted, or truncated."""
    for kind, where, new in edits:
        at = min(len(data), int(where * len(data)) if isinstance(where, float) else where)
        if kind == "flip":
            data = data[:at] + bytes(each ^ new[0] for each in data[at : at + 1]) + data[at + 1 :]
        elif kind == "set":
            data = data[:at] + new + data[at + len(new) :]
        elif kind == "cut":
            data = data[:at] + data[at + len(new) :]
        elif kind == "insert":
            data = data[:at] + new + data[at:]
        else:
            data = data[:at]
    return data


@given(name=st.sampled_from(sorted(_WRITERS)), edits=_EDITS, number=st.integers(0, 20))
def test_a_damaged_file_is_read_or_refused_with_a_message(originals, tmp_path_factory, name, edits, number) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    path = folder / name
    try:
        if path.suffix == ".zarr":
            shutil.copytree(originals / name, path)
            files = sorted(each for each in path.rglob("*") if each.is_file())
            target = files[number % len(files)]
        else:
            shutil.copy(originals / name, path)
            target = path
        target.write_bytes(_damage(target.read_bytes(), edits))
        _check_law(path)
    finally:
        shutil.rmtree(folder)


def test_in_a_folder_of_broken_files_the_others_are_restored(originals, tmp_path) -> None:
    """The report says what is wrong with each; a pipe does not block, and a name need not be UTF-8."""
    data = tmp_path / "data"
    data.mkdir()
    odd = os.fsdecode(b"caf\xe9")
    for source, name in (
        ("plain.tif", "good.tif"),
        ("grey.png", "png.tif"),
        ("plain.tif", f"{odd}.tif"),
        ("ours.ome.tif", "film.ome.tif"),
        ("still.gif", "gif.png"),
    ):
        shutil.copy(originals / source, data / name)
    shutil.copytree(originals / "old.zarr", data / "old.zarr")
    broken = {"a.ome.tif": "ours.ome.tif", "b.png": "grey.png", "c.tif": "imagej.tif", "d.jpg": "grey.jpg"}
    for name, source in broken.items():
        whole = (originals / source).read_bytes()
        (data / name).write_bytes(whole[: len(whole) // 2])
    os.mkfifo(data / "pipe.tif")
    (data / "empty.png").touch()
    (data / "folder.tif").mkdir()
    (data / "file.zarr").write_text("no folder")
    (data / "link.tif").symlink_to(data / "nowhere.tif")
    shutil.copytree(originals / "old.zarr", data / "damaged.zarr")
    (data / "damaged.zarr" / "0" / "2" / "0" / "0").write_bytes(b"no chunk")
    done = restore(data, tmp_path / "out")
    assert done.exit_code == 1, done.output
    assert "6 done, 0 kept, 10 failed" in done.output
    with (tmp_path / "out" / "report.csv").open(encoding="utf-8") as file:
        rows = {Path(row["source"]).name: row for row in csv.DictReader(file)}
    failed = {name for name, row in rows.items() if row["status"] == "failed"}
    assert failed == {*broken, "pipe.tif", "empty.png", "folder.tif", "file.zarr", "link.tif", "damaged.zarr"}
    assert all(name in rows[name]["error"] for name in failed)
    assert rows["damaged.zarr"]["error"].startswith("plane T 2: ")
    assert rows["caf\\udce9.tif"]["status"] == "done"  # escaped
    assert (tmp_path / "out" / f"{odd}.tif").is_file()
