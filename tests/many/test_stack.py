"""A stack is restored plane by plane: without neighbours, each comes out as if restore() had restored it alone."""

import dataclasses

import dask.array
import numpy as np
import pytest
import tifffile
import zarr

import napari_dip
from napari_dip.many.axes import find_axes
from napari_dip.many.image_stack import Stack
from napari_dip.many.stack_files import open_stack, write_stack


@pytest.fixture
def film(camera) -> np.ndarray:
    """A (3, 2, 32, 28) stack; the second channel has other units."""
    noise = np.random.default_rng(0).normal(0, 10, (3, 2, 32, 28))
    return ((camera[:32, :28] + noise) * np.array([1.0, 40.0])[:, None, None]).astype(np.float32)


@pytest.mark.parametrize("kind", ["numpy", pytest.param("dask", marks=pytest.mark.full), "zarr"])
def test_each_plane_equals_its_own_restoration(film, small_settings, tmp_path, kind) -> None:
    stack = {
        "numpy": lambda: film,
        "dask": lambda: dask.array.from_array(film, chunks=(1, 1, 32, 28)),
        "zarr": lambda: zarr.create_array(str(tmp_path / "film.zarr"), data=film, chunks=(1, 1, 32, 28)),
    }[kind]()
    out = np.full(film.shape, np.nan, np.float32)
    done = list(napari_dip.restore_stack(stack, "TCYX", settings=small_settings, planes={"T": [0, 2]}, out=out,
                                      neighbours=None))  # fmt: skip
    assert [each.plane.place for each in done] == [{"T": t, "C": c} for t in (0, 2) for c in (0, 1)]
    assert np.isnan(out[1]).all()
    for t, c in ((0, 1), (2, 0)):
        alone = napari_dip.restore(film[t, c], settings=small_settings)
        np.testing.assert_array_equal(out[t, c], alone.restored)


def test_channels_together_share_a_network_but_not_their_units(film, small_settings) -> None:
    first, *_ = napari_dip.restore_stack(film, "TCYX", settings=small_settings, channels="together",
                                         neighbours=None)  # fmt: skip
    assert first.count == 3
    result = first.result
    assert result is not None
    assert result.restored.shape == (*film.shape[2:], 2)
    assert result.record.given.colours is False
    assert "colours=False" in result.record.as_python()
    scaled, *_ = napari_dip.restore_stack(film * np.float32([[[[1]], [[8]]]]), "TCYX", settings=small_settings,
                                          channels="together", neighbours=None)  # fmt: skip
    np.testing.assert_allclose(scaled.result.restored, result.restored * [1, 8], rtol=1e-3)


def test_any_number_of_channels_is_restored_together(camera, small_settings) -> None:
    stack = np.stack([camera + 0.0, 255.0 - camera, camera * 2.0, camera**0.5, camera * 0.1])
    (done,) = napari_dip.restore_stack(stack, "CYX", settings=small_settings, channels="together")
    assert done.result.restored.shape == (*camera.shape, 5)
    with pytest.raises(ValueError, match="channel 1 have the same intensity"):
        list(napari_dip.restore_stack(np.stack([camera, camera * 0]), "CYX", settings=small_settings,
                                      channels="together"))  # fmt: skip


def test_a_stop_keeps_the_finished_planes(film, small_settings) -> None:
    asked = iter(range(10_000))
    out = np.full(film.shape, np.nan, np.float32)
    done = list(
        napari_dip.restore_stack(
            film, "TCYX", settings=small_settings, out=out, stop_requested=lambda: next(asked) >= 40
        )
    )
    assert [each.number for each in done] == [1, 2]
    assert done[-1].result.stop_reason is napari_dip.StopReason.USER
    assert np.isfinite(out[0]).all()
    assert np.isnan(out[1:]).all()


def test_reports_come_before_each_result(film, small_settings) -> None:
    steps = list(napari_dip.restore_stack(film[0], "CYX", settings=small_settings, report_wanted=lambda: True))
    assert sum(each.result is not None for each in steps) == 2
    assert len(steps) > 2


def test_everything_is_checked_at_the_call(film, small_settings) -> None:
    with pytest.raises(ValueError, match="say what its axes are"):
        napari_dip.restore_stack(film, settings=small_settings)
    with pytest.raises(ValueError, match="out has shape"):
        napari_dip.restore_stack(film, "TCYX", settings=small_settings, out=np.zeros(3))
    with pytest.raises(ValueError, match="mask shape"):
        napari_dip.restore_stack(film, "TCYX", mask=np.zeros((3, 3)), settings=small_settings)


@pytest.mark.parametrize("name", ["a.ome.tif", "a.zarr", "a.tif"])
@pytest.mark.parametrize("axes", ["TCYX", "ZYX", "TZYXS"])
def test_stacks_are_written_and_read_back(tmp_path, name, axes) -> None:
    sizes = {"T": 2, "C": 3, "Z": 4, "Y": 20, "X": 30, "S": 3}
    pixels = (np.random.default_rng(0).random([sizes[letter] for letter in axes]) * 200).astype(np.uint16)
    names = ("DAPI", "GFP", "RFP") if "C" in axes else ()
    told = {letter: size for letter, size in (("T", 5.0), ("Z", 2.0), ("Y", 0.5), ("X", 0.25)) if letter in axes}
    like = Stack(None, axes, names, told, {"Y": "µm", "X": "µm", "Z": "µm", "T": "s"})
    if name == "a.tif" and axes.endswith("S"):
        with pytest.raises(ValueError, match="end the name in"):
            write_stack(tmp_path / name, [], pixels.shape, np.uint16, like, axes)
        return
    planes = pixels.reshape(-1, *pixels.shape[-3 if axes.endswith("S") else -2 :])
    write_stack(tmp_path / name, planes, pixels.shape, np.uint16, like, axes, {"seed": 3})
    back = open_stack(tmp_path / name)
    found = find_axes(back.array.shape, back.axes)
    expected = pixels
    if name.endswith(".zarr") and axes.endswith("S"):
        assert back.axes == "TCZYX"  # OME-Zarr has no colour axis
        expected = np.moveaxis(pixels, -1, 1)
    else:
        assert found.letters == axes
    np.testing.assert_array_equal(np.asarray(back.array[...]), expected)
    assert back.channel_names == names
    for letter, size in told.items():
        assert back.pixel_sizes[letter] == pytest.approx(size)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_without_axis_names_needs_axes(tmp_path, film, small_settings) -> None:
    tifffile.imwrite(tmp_path / "a.tif", film, photometric="minisblack")
    with pytest.raises(ValueError, match="say what its axes are"):
        napari_dip.restore_stack(tmp_path / "a.tif", settings=small_settings)
    first = next(napari_dip.restore_stack(tmp_path / "a.tif", "TCYX", settings=small_settings))
    assert first.count == 6


def test_the_finest_level_of_a_multiscale_image_is_read(tmp_path, film) -> None:
    from yaozarrs import DimSpec, v05
    from yaozarrs.write.v05 import write_image

    levels = [film[0, 0], film[0, 0, ::2, ::2], film[0, 0, ::4, ::4]]
    dims = [DimSpec(name="y", scale=0.5, unit="micrometer"), DimSpec(name="x", scale=0.5, unit="micrometer")]
    image = v05.Image(multiscales=[v05.Multiscale.from_dims(dims, n_levels=3)])
    write_image(tmp_path / "m.zarr", image, levels, writer="zarr")
    back = open_stack(tmp_path / "m.zarr")
    assert (back.array.shape, back.axes, back.pixel_sizes) == ((32, 28), "YX", {"Y": 0.5, "X": 0.5})


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float16, ">f4", np.float64, bool])
def test_an_integer_out_is_rounded_and_clipped(dtype, small_settings) -> None:
    stack = np.random.default_rng(0).normal(220, 40, (2, 20, 20)).astype(np.float32)
    out = np.zeros(stack.shape, dtype)
    settings = dataclasses.replace(small_settings, step_limit=2)
    for each in napari_dip.restore_stack(stack, "TYX", settings=settings, out=out):
        expected, _ = napari_dip.as_dtype(each.result.restored, dtype)
        np.testing.assert_array_equal(out[each.number - 1], expected)
    if np.dtype(dtype).kind in "ui":
        assert np.abs(out - np.clip(each.result.restored, 0, np.iinfo(dtype).max))[1].max() <= 0.5


def test_unrestored_pixels_of_an_integer_out_stay_as_they_were(small_settings) -> None:
    plane = np.random.default_rng(0).normal(220, 40, (96, 96)).astype(np.float32)
    out, asked = np.full(plane.shape, 7, np.uint8), iter(range(10_000))
    settings = dataclasses.replace(small_settings, stopping="fixed", step_limit=10, partner=False)
    (last,) = napari_dip.restore_stack(
        plane, "YX", settings=settings, memory=6.32e8, out=out, stop_requested=lambda: next(asked) >= 15
    )
    restored = last.result.restored
    done = np.isfinite(restored)
    assert 0 < np.count_nonzero(done) < done.size
    assert (out[~done] == 7).all()
    np.testing.assert_array_equal(out[done], np.rint(np.clip(restored[done], 0, 255)))


@pytest.mark.parametrize(
    ("out", "error", "sentence"),
    [
        (np.zeros((2, 20, 20), complex), TypeError, "out has dtype complex128"),
        (np.zeros((2, 20, 20), "U3"), TypeError, "out has dtype <U3"),
        (np.broadcast_to(np.float32(0), (2, 20, 20)), ValueError, "out is read-only"),
    ],
)
def test_an_out_that_cannot_hold_the_result_is_refused_at_the_call(out, error, sentence) -> None:
    with pytest.raises(error, match=sentence):
        napari_dip.restore_stack(np.random.default_rng(0).random((2, 20, 20)), "TYX", out=out)
