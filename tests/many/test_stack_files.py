"""Stacks in files: from other programs and versions, in parts, truncated, or larger than any machine."""

import json
import os
import shutil

import numpy as np
import pytest
import tifffile
import zarr
from films import write_film
from PIL import Image
from terminal import restore

import napari_dip
from napari_dip.image_files import read_record
from napari_dip.many.image_stack import Stack
from napari_dip.many.stack_files import open_stack, read_stack_record, write_stack

RECORD = {"settings": {"width": 8}, "stack": {"axes": "TYX", "shape": [3, 24, 20]}, "note": 'a "shape": in words'}
GREY = {"photometric": "minisblack"}


@pytest.fixture
def film() -> np.ndarray:
    """A (3, 24, 20) uint8 stack."""
    return np.random.default_rng(0).integers(0, 200, (3, 24, 20)).astype(np.uint8)


def pixels(path) -> np.ndarray:
    return np.asarray(open_stack(path).array[...])


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.zarr"])
def test_a_record_is_written_and_read_back(tmp_path, film, name) -> None:
    write_stack(tmp_path / name, iter(film), film.shape, film.dtype, Stack(None, "TYX"), "TYX", RECORD)
    assert read_stack_record(tmp_path / name) == RECORD
    np.testing.assert_array_equal(pixels(tmp_path / name), film)


@pytest.mark.parametrize("name", ["out.tif", "out.ome.tif", "out.zarr"])
def test_results_carry_a_record(tmp_path, film, name) -> None:
    write_film(tmp_path / "film.ome.tif", film)
    assert restore(tmp_path / "film.ome.tif", tmp_path / name).exit_code == 0
    record = napari_dip.Record.from_dict(read_stack_record(tmp_path / name))
    assert record.stack is not None
    assert record.stack.shape == film.shape


@pytest.mark.parametrize("name", ["out.tif", "out.ome.tif", "out.zarr"])
def test_each_output_of_a_stack_records_its_name_and_its_source(tmp_path, film, name) -> None:
    source = tmp_path / "film.ome.tif"
    write_film(source, film)
    assert restore(source, tmp_path / name, "--residual", "--dtype", "same", "--warm-start", "t").exit_code == 0
    for output, dtype in (("restored", "uint8"), ("residual", "float32")):
        path = tmp_path / (name if output == "restored" else name.replace("out", "out_residual"))
        record = napari_dip.Record.from_dict(read_stack_record(path))
        assert (record.output.name, record.output.dtype) == (output, dtype)
        assert record.given.path == str(source)
        assert record.stack.warm_start == "T"
        assert f"{output}" in record.as_python()
    write_film(tmp_path / "other.ome.tif", film)
    path.replace(path.with_name(path.name.replace("out_residual", "other_out")))
    refused = restore(
        tmp_path / "other.ome.tif", path.with_name(path.name.replace("out_residual", "other_out")), "--resume"
    )
    assert refused.exit_code == 1
    assert "is not the restored image" in refused.output


def test_stacks_of_earlier_versions_are_kept(tmp_path, film) -> None:
    """All their outputs carry the record of the restored image, which lacks the number of threads."""
    write_film(tmp_path / "film.ome.tif", film)
    line = (tmp_path / "film.ome.tif", tmp_path / "out.ome.tif", "--residual")
    assert restore(*line).exit_code == 0
    old = read_stack_record(tmp_path / "out.ome.tif")
    del old["threads"]
    residual = tifffile.imread(tmp_path / "out_residual.ome.tif")
    write_stack(
        tmp_path / "out_residual.ome.tif", iter(residual), film.shape, np.float32, Stack(None, "TYX"), "TYX", old
    )
    kept = restore(*line, "--resume")
    assert "nothing is left to do" in kept.output


def test_a_script_of_an_enhanced_stack_enhances(tmp_path, film, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_film(tmp_path / "film.ome.tif", film)
    few = ("--task", "enhance", "--set", "smoothed_steps=10")
    assert restore(tmp_path / "film.ome.tif", tmp_path / "out.ome.tif", *few).exit_code == 0
    made: dict = {}
    exec(napari_dip.Record.from_dict(read_stack_record(tmp_path / "out.ome.tif")).as_python(), made)
    np.testing.assert_array_equal(made["detail_enhanced"], pixels(tmp_path / "out.ome.tif"))


def write_marks(path, marks) -> None:
    if path.suffix == ".png":
        Image.fromarray(marks).save(path)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, marks, photometric="rgb" if marks.shape[-1] == 3 else "minisblack")
    else:
        zarr.save(str(path), marks)


@pytest.mark.parametrize("name", ["marks", "marks.tif", "marks.dat", "colours.tif", "colours.png", "plane.zarr"])
def test_a_mask_is_read_by_its_content_not_its_name(tmp_path, film, name) -> None:
    film[:, 4:6, 4:6] = 0
    write_film(tmp_path / "film.ome.tif", film)
    marks = (film == 0).astype(np.uint8)
    marks[1] = marks[0]
    if name.startswith("colours"):
        marks = np.stack([marks[0]] * 3, axis=2)
    elif name.startswith("plane"):
        marks = marks[:1]
    path = tmp_path / name
    write_marks(path.with_suffix(".tif") if name == "marks.dat" else path, marks)
    if name == "marks.dat":
        path.with_suffix(".tif").rename(path)
    done = restore(tmp_path / "film.ome.tif", tmp_path / "out.ome.tif", "--task", "inpaint", "--mask", path)
    assert done.exit_code == 0, done.output
    missing = np.broadcast_to(marks[..., 0] if name.startswith("colours") else marks, film.shape) != 0
    restored = pixels(tmp_path / "out.ome.tif")
    np.testing.assert_array_equal(restored[~missing], film[~missing])
    assert (restored[:, 4:6, 4:6] > 0).all()


def test_an_imagej_stack_keeps_a_non_ascii_unit(tmp_path, film) -> None:
    sizes = {f"PhysicalSize{axis}{what}": value for axis in "XY" for what, value in (("", 2.0), ("Unit", "Å"))}
    channels = {"Channel": {"Name": ["α", "β", "γ"]}}
    tifffile.imwrite(tmp_path / "film.ome.tif", film, metadata={"axes": "CYX", **sizes, **channels}, **GREY)
    done = restore(tmp_path / "film.ome.tif", tmp_path / "out.tif")
    assert done.exit_code == 0, done.output
    opened = open_stack(tmp_path / "out.tif")
    assert opened.units["X"] == "Å"
    assert opened.pixel_sizes["X"] == pytest.approx(2)
    assert opened.channel_names == ("α", "β", "γ")


def test_a_description_with_a_shape_of_its_own_is_read(tmp_path, film) -> None:
    """Version 0.1.0 saved the record of a napari stack unchanged, and tifffile takes it for its own."""
    tifffile.imwrite(tmp_path / "a.tif", film, description=json.dumps(RECORD), metadata=None, **GREY)
    np.testing.assert_array_equal(pixels(tmp_path / "a.tif"), film)
    assert read_record(tmp_path / "a.tif") == RECORD


def write_old_zarr(path, film, version, separator="/", **level) -> None:
    """Write an OME-Zarr as before version 0.5: in zarr format 2."""
    group = zarr.create_group(str(path), zarr_format=2)
    encoding = {"name": "v2", "separator": separator}
    for n, step in enumerate((1, 2)):
        part = film[:, :, ::step, ::step]
        array = group.create_array(
            str(n), shape=part.shape, dtype=part.dtype, chunks=(1, 1, 12, 20), chunk_key_encoding=encoding
        )
        array[:] = part
    scales = [{"type": "scale", "scale": [1, 1, 0.5 * step, 0.25 * step]} for step in (1, 2)]
    axes = [{"name": "t", "type": "time", "unit": "second"}, {"name": "c", "type": "channel"}]
    axes += [{"name": letter, "type": "space", "unit": "micrometer"} for letter in "yx"]
    if version == "0.3":
        axes = [axis["name"] for axis in axes]
        level["datasets"] = [{"path": "0"}, {"path": "1"}]
    else:
        level["datasets"] = [{"path": str(n), "coordinateTransformations": [each]} for n, each in enumerate(scales)]
    group.attrs["multiscales"] = [{"version": version, "axes": axes, "name": "cells"} | level]
    group.attrs["omero"] = {"channels": [{"label": "DAPI"}, {"label": "GFP"}]}


@pytest.mark.parametrize("separator", ["/", "."])
def test_ome_zarr_0_4_is_read(tmp_path, separator) -> None:
    film = np.random.default_rng(0).integers(0, 200, (3, 2, 24, 20)).astype(np.uint16)
    write_old_zarr(tmp_path / "a.zarr", film, "0.4", separator)
    assert (tmp_path / "a.zarr" / "0" / separator.join("2110")).is_file()
    opened = open_stack(tmp_path / "a.zarr")
    np.testing.assert_array_equal(opened.array[...], film)
    assert (opened.axes, opened.channel_names) == ("TCYX", ("DAPI", "GFP"))
    assert opened.pixel_sizes == {"T": 1, "Y": 0.5, "X": 0.25}
    assert opened.units == {"T": "s", "Y": "µm", "X": "µm"}


def test_the_scale_of_the_multiscale_counts_too(tmp_path) -> None:
    film = np.zeros((3, 2, 24, 20), np.uint16)
    whole = [{"type": "scale", "scale": [2.5, 1, 0.1, 0.1]}]
    write_old_zarr(tmp_path / "a.zarr", film, "0.4", coordinateTransformations=whole)
    assert open_stack(tmp_path / "a.zarr").pixel_sizes == pytest.approx({"T": 2.5, "Y": 0.05, "X": 0.025})


def test_ome_zarr_0_3_is_read(tmp_path) -> None:
    film = np.random.default_rng(0).integers(0, 200, (3, 2, 24, 20)).astype(np.uint16)
    write_old_zarr(tmp_path / "a.zarr", film, "0.3")
    opened = open_stack(tmp_path / "a.zarr")
    np.testing.assert_array_equal(opened.array[...], film)
    assert (opened.axes, opened.pixel_sizes) == ("TCYX", {})


def test_an_old_zarr_is_restored_into_a_new_one(tmp_path, film) -> None:
    write_old_zarr(tmp_path / "a.zarr", film[:1, None], "0.4")
    done = restore(tmp_path / "a.zarr", tmp_path / "b.zarr")
    assert done.exit_code == 0, done.output
    assert open_stack(tmp_path / "b.zarr").pixel_sizes == {"T": 1, "Y": 0.5, "X": 0.25}


def test_an_image_within_a_zarr_is_read_by_its_folder(tmp_path, film) -> None:
    """As bioformats2raw writes it: a single image is found; if there are several, you must name one."""
    write_old_zarr(tmp_path / "a.zarr", film[:, None], "0.4")
    zarr.create_group(str(tmp_path / "b.zarr"), zarr_format=2).attrs["bioformats2raw.layout"] = 3
    shutil.copytree(tmp_path / "a.zarr", tmp_path / "b.zarr" / "0")
    np.testing.assert_array_equal(pixels(tmp_path / "b.zarr"), film[:, None])
    shutil.copytree(tmp_path / "a.zarr", tmp_path / "b.zarr" / "1")
    with pytest.raises(ValueError, match=r"it holds 2 images; give the folder of one, such as .*b\.zarr/0"):
        open_stack(tmp_path / "b.zarr")
    done = restore(tmp_path / "b.zarr" / "1", tmp_path / "c.tif")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"plate": {"wells": []}, "version": "0.4"}, "it is a plate"),
        ({"well": {"images": []}}, "it is a well"),
        ({"labels": ["cells"]}, "it is a group of labels"),
        ({}, "it has no multiscale image"),
        ({"multiscales": []}, "it has no multiscale image"),
        ({"multiscales": [{"datasets": []}]}, "its metadata do not name an array"),
        ({"multiscales": [{"datasets": [{"path": "9"}]}]}, "9"),
        ({"multiscales": [{"datasets": [{"path": "../../.."}]}]}, "cannot be read"),
    ],
)
@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_without_an_image_gets_an_explanation(tmp_path, told, sentence, version) -> None:
    group = zarr.create_group(str(tmp_path / "a.zarr"), zarr_format=version)
    group.attrs.update({"ome": told | {"version": "0.5"}} if version == 3 else told)
    with pytest.raises(ValueError, match=sentence) as error:
        open_stack(tmp_path / "a.zarr")
    assert "\n" not in str(error.value)


def test_an_array_without_metadata_needs_axes(tmp_path, film) -> None:
    zarr.create_array(str(tmp_path / "a.zarr"), data=film)
    assert open_stack(tmp_path / "a.zarr").axes is None
    done = restore(tmp_path / "a.zarr", tmp_path / "b.tif")
    assert done.exit_code == 1
    assert "say what its axes are" in done.output
    assert restore(tmp_path / "a.zarr", tmp_path / "b.tif", "--axes", "TYX").exit_code == 0


@pytest.mark.parametrize("axes", ["YX", "TYX"])
def test_a_zarr_of_impossible_size_is_refused(tmp_path, axes) -> None:
    """It has 10¹⁴ pixels, in one plane or in many, and not one chunk on disk."""
    shape = (10**7, 10**7) if axes == "YX" else (10**8, 1000, 1000)
    group = zarr.create_group(str(tmp_path / "a.zarr"))
    group.create_array("0", shape=shape, chunks=(256,) * len(shape), dtype="uint8")
    scale = {"type": "scale", "scale": [1.0] * len(shape)}
    level = {"axes": [{"name": letter.lower()} for letter in axes],
             "datasets": [{"path": "0", "coordinateTransformations": [scale]}]}  # fmt: skip
    group.attrs["ome"] = {"version": "0.5", "multiscales": [level]}
    done = restore(tmp_path / "a.zarr", tmp_path / "b.zarr")
    assert done.exit_code == 1
    assert "GB are free" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_a_damaged_plane_is_named_and_those_before_it_are_kept(tmp_path, film) -> None:
    write_old_zarr(tmp_path / "a.zarr", film[:, None], "0.4")
    chunk = tmp_path / "a.zarr" / "0" / "2" / "0" / "1" / "0"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[: len(whole) // 2])
    done = restore(tmp_path / "a.zarr", tmp_path / "b.tif")
    assert done.exit_code == 1
    assert done.output.splitlines()[-1].startswith("napari-dip: plane T 2, C 0: some pixels of")
    assert not (tmp_path / "b.tif").exists()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / ".b.tif.planes").rglob("record_*")}
    assert len(kept) == 2
    chunk.write_bytes(whole)
    done = restore(tmp_path / "a.zarr", tmp_path / "b.tif", "--resume")
    assert done.exit_code == 0, done.output
    assert pixels(tmp_path / "b.tif").shape == (3, 24, 20)


def test_a_damaged_first_plane_is_named_too(tmp_path, film) -> None:
    write_film(tmp_path / "a.ome.tif", film, compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        begin = file.pages[0].dataoffsets[0]
    with (tmp_path / "a.ome.tif").open("r+b") as file:
        file.seek(begin)
        file.write(b"no zlib at all")
    done = restore(tmp_path / "a.ome.tif", tmp_path / "b.tif")
    assert done.exit_code == 1
    assert "plane T 0: some pixels of" in done.output


def test_a_missing_codec_is_named(tmp_path, film) -> None:
    write_stack(tmp_path / "a.zarr", iter(film), film.shape, film.dtype, Stack(None, "TYX"), "TYX")
    told = tmp_path / "a.zarr" / "0" / "zarr.json"
    told.write_text(told.read_text().replace("zstd", "nobody_has_this"))
    with pytest.raises(ValueError, match="nobody_has_this"):
        np.asarray(open_stack(tmp_path / "a.zarr").array[0])


def test_a_pipe_in_a_zarr_does_not_block(tmp_path, film) -> None:
    write_stack(tmp_path / "a.zarr", iter(film), film.shape, film.dtype, Stack(None, "TYX"), "TYX")
    chunk = next(path for path in (tmp_path / "a.zarr" / "0").rglob("0") if path.is_file())
    chunk.unlink()
    os.mkfifo(chunk)
    with pytest.raises(ValueError, match="is a pipe"):
        open_stack(tmp_path / "a.zarr").array[...]


def cut_kinds(folder, film) -> None:
    """Write a stack in every format that holds more than one plane."""
    tifffile.imwrite(folder / "imagej.tif", film, imagej=True, metadata={"axes": "TYX"})
    write_film(folder / "ome.ome.tif", film)
    write_film(folder / "deflated.ome.tif", film, compression="zlib")
    tifffile.imwrite(folder / "shaped.tif", film, **GREY)
    tifffile.imwrite(folder / "big.tif", film, bigtiff=True, **GREY)
    with tifffile.TiffWriter(folder / "pages.tif") as writer:
        for plane in film:
            writer.write(plane, metadata=None, contiguous=False)
    write_stack(folder / "ours.tif", iter(film), film.shape, film.dtype, Stack(None, "TYX"), "TYX", RECORD)


def test_a_truncated_stack_is_never_read_as_a_shorter_one(tmp_path, film) -> None:
    cut_kinds(tmp_path, film)
    for path in list(tmp_path.iterdir()):
        data = path.read_bytes()
        assert pixels(path).shape == film.shape, path.name
        refused = []
        for length in range(0, len(data), 61):
            path.write_bytes(data[:length])
            try:
                found = pixels(path)
            except ValueError as error:
                refused.append(str(error))
            else:
                np.testing.assert_array_equal(found, film, err_msg=f"{path.name} cut to {length}")
        assert len(refused) > 10, path.name
        assert all(path.name in sentence for sentence in refused)


def test_a_truncated_stack_is_not_restored_as_one_plane(tmp_path, film) -> None:
    write_film(tmp_path / "a.ome.tif", film)
    data = (tmp_path / "a.ome.tif").read_bytes()
    (tmp_path / "a.ome.tif").write_bytes(data[: len(data) // 3])
    done = restore(tmp_path / "a.ome.tif", tmp_path / "b.ome.tif")
    assert done.exit_code == 1
    assert "truncated" in done.output.splitlines()[-1]
    assert not (tmp_path / "b.ome.tif").exists()


def test_ome_xml_that_promises_too_many_planes_is_refused(tmp_path, film) -> None:
    """As if its last pages had been removed."""
    write_film(tmp_path / "a.ome.tif", film)
    text = tifffile.tiffcomment(tmp_path / "a.ome.tif")
    more = text.replace('SizeT="3"', 'SizeT="9"').replace('PlaneCount="3"', 'PlaneCount="9"')
    assert more != text
    tifffile.imwrite(tmp_path / "b.ome.tif", film, description=more, metadata=None, **GREY)
    with pytest.raises(ValueError, match=r"missing|truncated"):
        open_stack(tmp_path / "b.ome.tif")


def test_a_missing_part_of_an_image_in_several_files_is_named(tmp_path, film) -> None:
    for n, other in ((1, 2), (2, 1)):
        data = "".join(
            f'<TiffData FirstT="{t}" IFD="0" PlaneCount="1"><UUID FileName="part{part}.ome.tif">'
            f"urn:uuid:00000000-0000-0000-0000-00000000000{part}</UUID></TiffData>"
            for t, part in ((0, 1), (1, 2))
        )
        xml = (
            f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:00000000-0000-0000-0000-00000000000{n}"><Image ID="Image:0"><Pixels ID="Pixels:0" '
            f'DimensionOrder="XYZCT" Type="uint8" SizeX="20" SizeY="24" SizeZ="1" SizeC="1" SizeT="2">'
            f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{data}</Pixels></Image></OME>'
        )
        assert other != n
        tifffile.imwrite(tmp_path / f"part{n}.ome.tif", film[n], description=xml, metadata=None, **GREY)
    np.testing.assert_array_equal(pixels(tmp_path / "part1.ome.tif"), film[1:])
    (tmp_path / "part2.ome.tif").unlink()
    with pytest.raises(ValueError, match=r"the file part2\.ome\.tif, which holds a part of it, is missing"):
        open_stack(tmp_path / "part1.ome.tif")


def test_a_pyramid_is_read_at_its_finest_level(tmp_path, film) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        writer.write(film, subifds=1, tile=(16, 16), metadata={"axes": "TYX"}, **GREY)
        writer.write(film[:, ::2, ::2], subfiletype=1, tile=(16, 16), **GREY)
    np.testing.assert_array_equal(pixels(tmp_path / "a.ome.tif"), film)


def test_pages_that_form_a_loop_are_refused(tmp_path) -> None:
    """A loop after more than a hundred pages, which tifffile would follow for hours."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for _ in range(120):
            writer.write(np.zeros((16, 16), np.uint8), metadata=None, contiguous=False)
        writer.write(np.zeros((16, 17), np.uint8), metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        last, back = file.pages.next_page_offset, file.pages[110].offset
    with (tmp_path / "a.tif").open("r+b") as file:
        file.seek(last)
        file.write(back.to_bytes(4, "little"))
    with pytest.raises(ValueError, match="form a loop"):
        open_stack(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("old", "new"), [('PhysicalSizeX="0.5"', 'PhysicalSizeX="0.0"'), ('PhysicalSizeX="0.5"', 'PhysicalSizeX="big"')]
)
def test_an_impossible_pixel_size_is_ignored(tmp_path, film, old, new) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", film, metadata={"axes": "TYX", "PhysicalSizeX": 0.5}, **GREY)
    text = tifffile.tiffcomment(tmp_path / "a.ome.tif")
    assert old in text
    tifffile.tiffcomment(tmp_path / "a.ome.tif", text.replace(old, new))
    opened = open_stack(tmp_path / "a.ome.tif")
    assert "X" not in opened.pixel_sizes
    np.testing.assert_array_equal(opened.array[...], film)


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
def test_a_stack_saved_from_napari_can_be_opened(tmp_path, film, name) -> None:
    """Saved by our writer, with the record of a stack, which has a shape."""
    from napari_dip.plugin.layers.layer_writer import write_image_layer

    write_image_layer(str(tmp_path / name), film, {"name": "film", "metadata": {"napari-dip": RECORD}})
    np.testing.assert_array_equal(pixels(tmp_path / name), film)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / name), film)  # as napari itself reads it
    assert RECORD.items() <= read_stack_record(tmp_path / name).items()


@pytest.mark.parametrize("record", [["settings"], "settings", 3, {"settings": {}, "stack": [1]},
                                    {"settings": {}, "stack": {"axes": 5}}, {"settings": {1, 2}}])  # fmt: skip
@pytest.mark.parametrize("names", [7, ["a", "b", "c"], None])
def test_napari_saves_a_layer_with_any_metadata(tmp_path, film, record, names) -> None:
    from napari_dip.plugin.layers.layer_writer import write_image_layer

    meta = {"name": "film", "axis_labels": ("c", "y", "x"), "metadata": {"napari-dip": record, "channel_names": names}}
    write_image_layer(str(tmp_path / "a.ome.tif"), film, meta)
    np.testing.assert_array_equal(pixels(tmp_path / "a.ome.tif"), film)


def test_a_stack_saved_from_napari_has_slice_and_frame_distances(tmp_path, film) -> None:
    from napari_dip.plugin.layers.layer_writer import write_image_layer

    meta = {"axis_labels": ("t", "z", "y", "x"), "scale": (0.5, 200, 100, 100), "units": ("minute", *["nanometer"] * 3)}
    write_image_layer(str(tmp_path / "a.ome.tif"), film[None], meta)
    opened = open_stack(tmp_path / "a.ome.tif")
    assert opened.pixel_sizes == {"T": 0.5, "Z": 200, "Y": 100, "X": 100}
    assert opened.units == {"T": "min", "Z": "nm", "Y": "nm", "X": "nm"}
    write_image_layer(str(tmp_path / "b.ome.tif"), film[None], meta | {"units": ("pixel",) * 4})
    assert open_stack(tmp_path / "b.ome.tif").pixel_sizes == {}


def test_units_are_not_evaluated() -> None:
    from napari_dip.plugin.layers.pixel_size import as_lengths

    for unit in ("m**(10**10**10)", "m/!", "(", "'", "m+1", "1/0", "lambda", "", "reference frame"):
        assert as_lengths([1.0, 1.0], [unit, unit])[1] is None
    assert as_lengths([1.0, 2.0], ["Å", "Å"]) == ("µm", (pytest.approx(1e-4), pytest.approx(2e-4)))


def test_nan_pixels_leave_zarr_metadata_valid(tmp_path) -> None:
    """As in tiles without known pixels."""
    stack = np.full((2, 16, 16), np.nan, np.float32)
    stack[0, 4:, 4:] = 3
    write_stack(tmp_path / "a.zarr", iter(stack), stack.shape, stack.dtype, Stack(None, None, ("a", "b")), "CYX")

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is not JSON")

    told = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text(), parse_constant=refuse)
    windows = [each["window"] for each in told["attributes"]["ome"]["omero"]["channels"]]
    assert [(each["start"], each["end"]) for each in windows] == [(3, 3), (0, 1)]


@pytest.mark.parametrize("units", [("min", "Å"), ("h", "pm"), ("s", "µm"), ("ms", "m")])
@pytest.mark.parametrize("name", ["a.ome.tif", "a.zarr"])
def test_units_are_read_as_they_were_written(tmp_path, film, units, name) -> None:
    told = {"T": units[0], "Y": units[1], "X": units[1]}
    like = Stack(None, "TYX", (), dict.fromkeys("TYX", 2.0), told)
    write_stack(tmp_path / name, iter(film), film.shape, film.dtype, like, "TYX")
    assert open_stack(tmp_path / name).units == told


@pytest.mark.parametrize("planes", [1, 2])
def test_outputs_that_are_not_enlarged_keep_their_pixel_size(tmp_path, film, planes) -> None:
    """Super-resolution makes pixels smaller, but not those of the residual."""
    told = {"axes": "TYX"[-3 if planes > 1 else -2 :], "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(tmp_path / "a.ome.tif", film[:planes].squeeze(), metadata=told, **GREY)
    done = restore(tmp_path / "a.ome.tif", tmp_path / "b.ome.tif", "--task", "super_resolve", "--factor", "2",
                   "--residual")  # fmt: skip
    assert done.exit_code == 0, done.output
    for name, scale in (("b", 2), ("b_residual", 1)):
        opened = open_stack(tmp_path / f"{name}.ome.tif")
        assert opened.array.shape[-2:] == (24 * scale, 20 * scale)
        assert opened.pixel_sizes == {"X": 0.5 / scale, "Y": 0.5 / scale}
