"""Large layers: the worker reads them, chunk by chunk, and a stop is obeyed at every moment."""

import threading
import time
from collections.abc import Iterator

import dask.array
import numpy as np
import pytest
from gestures import finish, names, open_widget, press, stop
from napari.layers import Image
from skimage import data

from napari_dip.interruption import Interrupted
from napari_dip.many import tiling
from napari_dip.many.axes import Axes
from napari_dip.many.image_stack import MaskedStack
from napari_dip.plugin.layers import array_part
from napari_dip.plugin.layers.array_part import ArrayPart
from napari_dip.plugin.layers.source import read_source
from napari_dip.plugin.run import plane_reader, restoring
from napari_dip.plugin.run.plane_reader import PlaneReader

SMALL = {"width": 8, "levels": 3, "device": "cpu"}
SIDE, TILE = 160, 64


@pytest.fixture
def picture() -> np.ndarray:
    noisy = data.camera()[60 : 60 + SIDE, 150 : 150 + SIDE] + np.random.default_rng(0).normal(0, 20, (SIDE, SIDE))
    return np.clip(noisy, 0, 255).astype(np.uint8)


class Chunks:
    """A dask array that notes which of its chunks are computed, in the window's thread or in another one."""

    def __init__(self, pixels: np.ndarray, chunks: tuple[int, ...]) -> None:
        self.read: list[tuple[int, ...]] = []
        self.by_window: list[tuple[int, ...]] = []
        self.wait = lambda: None
        self.array = dask.array.from_array(pixels, chunks).map_blocks(self._note, dtype=pixels.dtype)

    def _note(self, block: np.ndarray, block_info=None) -> np.ndarray:
        if block_info:
            place = tuple(block_info[0]["chunk-location"])
            self.read.append(place)
            if threading.current_thread() is threading.main_thread():
                self.by_window.append(place)
            self.wait()
        return block


def reader_of(array, letters: str = "YX", **hooks) -> tuple[MaskedStack, PlaneReader]:
    axes = Axes(letters, tuple(array.shape))
    reader = PlaneReader(
        array, axes, hooks.get("stop_requested", lambda: False), hooks.get("phase_begun", lambda words: None)
    )
    return MaskedStack(reader, axes), reader


@pytest.fixture
def small_blocks(monkeypatch) -> None:
    """So that a small image is read in many blocks."""
    monkeypatch.setattr(plane_reader, "_LEAST_SIDE", 48)


def test_a_plane_is_read_once_however_many_tiles_there_are(picture, small_blocks) -> None:
    chunks, phases = Chunks(np.stack([picture, 255 - picture]), (1, 32, 64)), []
    stack, _ = reader_of(chunks.array, "TYX", phase_begun=phases.append)
    first, second = stack.axes.planes()
    for rows, columns in (
        (slice(0, 40), slice(0, 160)),
        (slice(30, 90), slice(70, 90)),
        (slice(150, 160), slice(0, 8)),
    ):
        np.testing.assert_array_equal(stack.read(first, rows, columns), picture[rows, columns])
    assert sorted(chunks.read) == [(0, row, column) for row in range(5) for column in range(3)]
    np.testing.assert_array_equal(stack.read(second), 255 - picture)
    assert len(chunks.read) == 30
    assert phases == ["Reading the image"] * 2


def test_a_stop_is_obeyed_while_a_chunk_is_read(picture, small_blocks) -> None:
    chunks, stop, may_go_on = Chunks(picture, (80, 80)), threading.Event(), threading.Event()
    chunks.wait = lambda: may_go_on.wait(20)
    stack, _ = reader_of(chunks.array, stop_requested=stop.is_set)
    threading.Timer(0.1, stop.set).start()
    start = time.perf_counter()
    with pytest.raises(Interrupted):
        stack.read(next(stack.axes.planes()))
    assert time.perf_counter() - start < 5
    may_go_on.set()


def test_what_was_read_stays_as_it_was(picture, monkeypatch) -> None:
    """A small plane from the moment of Restore on; a larger one from when the worker has read it."""
    layer = Image(picture.copy())
    small = read_source(layer)
    monkeypatch.setattr(array_part, "_MOST_BYTES", 1000)
    large = read_source(layer)
    layer.data[:8] = 7
    np.testing.assert_array_equal(small.image, picture)
    stack, _ = reader_of(large.array)
    plane = next(stack.axes.planes())
    assert (stack.read(plane)[:8] == 7).all()
    layer.data[:8] = 9
    assert (stack.read(plane)[:8] == 7).all()


def test_masked_pixels_stay_masked(picture, small_blocks) -> None:
    hidden = np.zeros(picture.shape, bool)
    hidden[100, 100] = True
    stack, _ = reader_of(dask.array.from_array(np.ma.masked_array(picture, hidden), chunks=50))
    read = stack.read(next(stack.axes.planes()))
    np.testing.assert_array_equal(np.ma.getmaskarray(read), hidden)


def test_a_plane_too_large_for_memory_is_read_where_it_is_needed(picture, monkeypatch) -> None:
    monkeypatch.setattr(plane_reader, "_SHARE_OF_MEMORY", 0)
    chunks = Chunks(picture, (40, 40))
    stack, _ = reader_of(chunks.array)
    plane = next(stack.axes.planes())
    np.testing.assert_array_equal(stack.read(plane, slice(10, 30), slice(50, 60)), picture[10:30, 50:60])
    assert chunks.read == [(0, 1)]


def test_a_part_of_an_array_is_read_only_where_it_is_indexed(picture) -> None:
    class Eager:
        """Like zarr: indexing reads."""

        shape, dtype, asked = (2, 3, SIDE, SIDE), picture.dtype, []

        def __getitem__(self, index):
            self.asked.append(index)
            return np.broadcast_to(picture, self.shape)[index]

    part = ArrayPart(Eager(), (slice(1, 2), slice(2, 3)))
    nested = ArrayPart(part, (slice(None), slice(None), slice(10, 100), slice(20, None)))
    assert part.shape == (1, 1, SIDE, SIDE)
    assert nested.shape == (1, 1, 90, SIDE - 20)
    assert Eager.asked == []
    np.testing.assert_array_equal(nested[0, 0, 5:9, :7], picture[15:19, 20:27])
    np.testing.assert_array_equal(nested[0, 0], picture[10:100, 20:])
    assert Eager.asked[0] == (1, 2, slice(15, 19), slice(20, 27))


def test_the_form_asks_without_reading(picture, viewer) -> None:
    chunks = Chunks(np.stack([picture, picture]), (1, 80, 80))
    layer = viewer.add_image(chunks.array, name="film")
    widget = open_widget(viewer, layer)
    chunks.read.clear()
    request = widget.form.request()
    assert chunks.read == []
    assert request.source.is_single
    np.testing.assert_array_equal(request.source.image, picture)


@pytest.fixture
def synchronous() -> Iterator[None]:
    """Let dask compute in the thread that asks, not in threads of its own."""
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture
def tiled(monkeypatch) -> None:
    """So that an image of 160 x 160 pixels counts as large."""
    monkeypatch.setattr(tiling, "_MOST_AT_ONCE", 100 * 100)
    monkeypatch.setattr(tiling, "_PROMPT_TILE", TILE)
    monkeypatch.setattr(restoring, "_MOST_PIXELS_TO_WAIT_FOR", 100 * 100)


def test_a_large_layer_says_what_it_does_and_shows_the_tile_in_its_place(
    picture, viewer, qtbot, tiled, small_blocks, synchronous
) -> None:
    chunks = Chunks(picture, (80, 80))
    layer = viewer.add_image(chunks.array, name="slide", translate=(5, 7))
    widget = open_widget(viewer, layer)
    widget.form.original_type.value = True
    said: list[str] = []
    controls, hear = widget.controls, widget._on_phase
    widget._on_phase = lambda words: (said.append(words), hear(words))
    assert chunks.by_window  # napari's own reading, to draw it
    chunks.read.clear()
    chunks.by_window.clear()
    press(qtbot, controls.restore_button)
    qtbot.waitUntil(lambda: "slide preview" in viewer.layers, timeout=60_000)
    preview = viewer.layers["slide preview"]
    assert preview.data.shape == (TILE, TILE)
    corner = np.array(preview.data_to_world((0, 0))) - (5, 7)
    assert all(at in (0, 32, 64, 96) for at in corner)
    qtbot.waitUntil(lambda: any("sample 2 of" in each for each in said), timeout=60_000)
    stop(widget, qtbot)
    assert sorted(chunks.read) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert chunks.by_window == []
    for words in ("Reading the image", "Measuring the noise", "Planning the tiles"):
        assert words in said
    assert "Preparing the filters, sample 1 of 3" in said
    assert names(viewer) == ["slide", "slide restored"]
    restored = viewer.layers["slide restored"]
    assert restored.data.dtype == picture.dtype
    assert (restored.data == 0).mean() > 0.5
    assert restored.data.any()
    assert controls.status.value.startswith("Stopped by hand")
    assert "were still to be restored" in controls.status.value


def test_a_stop_at_once_leaves_a_sentence_and_working_buttons(picture, viewer, qtbot, tiled) -> None:
    chunks, may_go_on = Chunks(picture, (80, 80)), threading.Event()
    layer = viewer.add_image(chunks.array, name="slide")
    widget = open_widget(viewer, layer)
    chunks.wait = lambda: may_go_on.wait(20)
    press(qtbot, widget.controls.restore_button)
    qtbot.waitUntil(lambda: widget.controls.status.value == "Reading the image …", timeout=30_000)
    stop(widget, qtbot)
    assert not may_go_on.is_set()
    assert widget.controls.status.value == "Stopped before there was anything to keep."
    assert widget.controls.restore_button.enabled
    assert names(viewer) == ["slide"]
    may_go_on.set()
    chunks.wait = lambda: None
    press(qtbot, widget.controls.restore_button)
    qtbot.waitUntil(lambda: "slide preview" in viewer.layers, timeout=60_000)
    press(qtbot, widget.controls.stop_button)
    finish(widget, qtbot)
    assert names(viewer) == ["slide", "slide restored"]
