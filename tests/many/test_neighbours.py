"""Planes of a stack help one another: which, along which axis, and what then is remembered."""

import dataclasses

import dask.array
import numpy as np
import pytest
import tifffile
from films import write_film
from terminal import QUICK, run

import napari_dip
from napari_dip.image_tensor import scale_neighbours, to_tensor
from napari_dip.many.axes import find_axes
from napari_dip.many.image_stack import MaskedStack, UnreadablePixels
from napari_dip.many.neighbours import find_helping_axes, find_neighbour_axis
from napari_dip.request import Request


@pytest.fixture(scope="module")
def still() -> np.ndarray:
    """Five frames (48, 48) of one scene in the same noise; uint16."""
    from skimage import data

    truth = 400.0 + 10.0 * data.camera()[80:128, 190:238]
    return np.rint(truth + np.random.default_rng(0).normal(0, 400, (5, *truth.shape))).clip(0).astype(np.uint16)


@pytest.fixture
def settings(small_settings) -> napari_dip.Settings:
    return dataclasses.replace(small_settings, step_limit=10)


class Watched:
    """An array that counts how often each plane is read."""

    def __init__(self, array: np.ndarray, broken: int | None = None) -> None:
        self.array, self.shape, self.dtype, self.ndim = array, array.shape, array.dtype, array.ndim
        self.broken, self.read = broken, []

    def __getitem__(self, index):
        self.read.append(index[0])
        if index[0] == self.broken:
            raise UnreadablePixels("some pixels cannot be read")
        return self.array[index]


def planes_of(stack: MaskedStack, number: int):
    (plane,) = stack.axes.planes({"T": number})
    around = stack.read_neighbours(plane)
    return [int(pixels[0, 0]) for pixels, _ in around.planes], around.place


def test_the_nearest_planes_help_also_near_the_ends() -> None:
    numbered = np.arange(7)[:, None, None] * np.ones((1, 16, 16), int)
    stack = MaskedStack(numbered, find_axes(numbered.shape, "TYX"), None, "T")
    assert planes_of(stack, 0) == ([1, 2, 3, 4], 0)
    assert planes_of(stack, 3) == ([1, 2, 4, 5], 2)
    assert planes_of(stack, 6) == ([2, 3, 4, 5], 4)
    short = MaskedStack(numbered[:2], find_axes((2, 16, 16), "TYX"), None, "T")
    assert planes_of(short, 1) == ([0], 1)


def test_each_plane_of_a_file_is_read_once_and_few_stay_in_memory() -> None:
    watched = Watched(np.zeros((30, 16, 16)))
    stack = MaskedStack(watched, find_axes(watched.shape, "TYX"), None, "T")
    for plane in stack.axes.planes():
        stack.read(plane)
        stack.read_neighbours(plane)
        assert len(stack._recent) <= 5
    assert sorted(watched.read) == list(range(30))


def test_a_neighbour_that_cannot_be_read_is_left_out() -> None:
    watched = Watched(np.arange(5)[:, None, None] * np.ones((1, 16, 16)), broken=1)
    stack = MaskedStack(watched, find_axes(watched.shape, "TYX"), None, "T")
    assert planes_of(stack, 2) == ([0, 3, 4], 1)


def test_a_neighbour_without_known_pixels_is_left_out(camera) -> None:
    tensor = to_tensor(camera)
    nothing = np.ones(camera.shape, bool)
    planes = scale_neighbours(tensor, [(camera, nothing), (camera, None)], 1)
    assert planes.place == 0
    np.testing.assert_array_equal(planes.values[1], planes.values[0])
    assert scale_neighbours(tensor, [(camera, nothing)], 1) is None


@pytest.mark.parametrize(
    ("letters", "count", "wanted", "found"),
    [("TYX", 3, "auto", "T"), ("ZYX", 2, "auto", "Z"), ("CYX", 9, "auto", None), ("QYX", 5, "auto", "Q"),
     ("QYX", 4, "auto", None), ("QYX", 3, "q", "Q"), ("ZYX", 9, None, None)],
)  # fmt: skip
def test_the_axis(letters, count, wanted, found) -> None:
    array = np.zeros((count, 16, 16))
    assert find_neighbour_axis(array, find_axes(array.shape, letters), Request(), wanted) == found


def test_an_axis_without_a_name_helps_if_it_is_the_only_one() -> None:
    assert find_helping_axes(find_axes((9, 2, 16, 16), "QCYX")) == ["Q"]
    assert find_helping_axes(find_axes((9, 1, 16, 16), "QPYX")) == ["Q"]
    assert find_helping_axes(find_axes((9, 9, 16, 16), "QPYX")) == []
    assert find_helping_axes(find_axes((9, 2, 16, 16), "QZYX")) == ["Z"]


def test_of_time_and_depth_the_one_with_less_change_is_chosen() -> None:
    depth, time = np.meshgrid(np.arange(4), np.arange(3))
    stack = (10 * depth + time)[:, :, None, None] * np.ones((1, 1, 16, 16))
    axes = find_axes(stack.shape, "TZYX")
    assert find_neighbour_axis(stack, axes, Request(), "auto") == "T"
    assert find_neighbour_axis(stack.swapaxes(0, 1), find_axes((4, 3, 16, 16), "TZYX"), Request(), "auto") == "Z"
    assert find_neighbour_axis(stack, axes, Request("enhance"), "auto") is None
    assert find_neighbour_axis(stack, axes, Request("inpaint"), "auto") == "T"


def test_an_axis_that_does_not_exist_gets_a_sentence(still, settings) -> None:
    with pytest.raises(ValueError, match="neighbours along Z cannot help; choose T"):
        napari_dip.restore_stack(still, "TYX", neighbours="Z", settings=settings)
    with pytest.raises(ValueError, match="there is only one plane"):
        napari_dip.restore_stack(still[0], "YX", neighbours="Z", settings=settings)


def test_a_plane_is_the_same_whatever_else_is_restored_and_its_record_names_its_neighbours(still, settings) -> None:
    still = still[:, :36, :32]
    lazy = dask.array.from_array(still, chunks=(1, 36, 32))
    (alone,) = napari_dip.restore_stack(lazy, "TYX", planes={"T": 2}, settings=settings)
    third = list(napari_dip.restore_stack(still, "TYX", planes={"T": [1, 2]}, settings=settings))[1]
    np.testing.assert_array_equal(alone.result.restored, third.result.restored)
    record = alone.result.record
    assert record.neighbours == 4
    assert alone.result.note.startswith("4 neighbouring planes helped.")
    assert record.given.along == "T"
    assert record.given.neighbours == third.result.record.given.neighbours
    with pytest.raises(ValueError, match="neighbouring planes helped here"):
        record.as_python()
    of_stack = record.of_stack("TYX", still.shape, [({"T": 2}, record)])
    assert of_stack.stack.neighbours == "T"
    assert of_stack.stack.planes[0].helped == 4
    assert "neighbours='T'" in of_stack.as_python()
    (plain,) = napari_dip.restore_stack(still, "TYX", planes={"T": 2}, settings=settings, neighbours=None)
    assert (plain.result.record.neighbours, plain.result.record.given.along) == (0, None)


def test_a_script_repeats_it_and_refuses_other_neighbours(still, settings, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # the script writes there
    path, still = tmp_path / "film.tif", still[:, :36, :32]
    tifffile.imwrite(path, still, metadata={"axes": "TYX"}, photometric="minisblack")
    (done,) = napari_dip.restore_stack(still, "TYX", planes={"T": 2}, settings=settings)
    record = done.result.record
    record = record.of_output("restored", done.result.restored, path=str(path))
    script = record.of_stack("TYX", still.shape, [({"T": 2}, record)]).as_python()
    scope: dict = {}
    exec(compile(script, "script", "exec"), scope)
    np.testing.assert_array_equal(scope["restored"][2], done.result.restored)
    other = still.copy()
    other[3] += 1
    tifffile.imwrite(path, other, metadata={"axes": "TYX"}, photometric="minisblack")
    with pytest.raises(SystemExit, match="around T 2 have changed"):
        exec(compile(script, "script", "exec"), {})


def test_the_terminal_says_how_many_planes_were_helped(still, tmp_path) -> None:
    write_film(tmp_path / "film.ome.tif", still[:3])
    line = ["restore", tmp_path / "film.ome.tif", tmp_path / "out.ome.tif", *QUICK, "--set", "partner=true"]
    done = run(*line)
    assert "Neighbouring planes helped 3 of them." in done.output, done.output
    done = run(*line, "--neighbours", "none", "--overwrite")
    assert "Neighbouring" not in done.output, done.output


@pytest.mark.full
def test_tiles_have_neighbours_too(still, settings) -> None:
    from napari_dip.many.stack import restore_planes
    from napari_dip.many.tiling import Tiling
    from napari_dip.request import NO_REPORTS

    axes = find_axes(still.shape, "TYX")
    (plane,) = axes.planes({"T": 2})
    tiling = Tiling((48, 48), (32, 32), 16)
    fixed = Request(settings=dataclasses.replace(settings, stopping="fixed"))
    results = []
    for along in ("T", None):
        stack = MaskedStack(still, axes, None, along)
        *_, last = restore_planes(stack, [plane], fixed, NO_REPORTS, tiling=tiling, networks=None, client=None)
        results.append(last.result.restored)
    truth = still.mean(axis=0)
    helped, alone = (np.mean((each - truth) ** 2) for each in results)
    assert helped < 0.75 * alone
