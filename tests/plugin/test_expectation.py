"""What the form says of time and memory before a run: nothing that it does not know, and never in the way."""

import dataclasses
import json

import numpy as np
import pytest
from gestures import finish, open_widget, press, run

import napari_dip
from napari_dip.many import past_runs
from napari_dip.many.past_runs import keep_run, recall_runs
from napari_dip.many.run_estimate import RunEstimate, describe_estimate, estimate_run, remember_run
from napari_dip.request import Request

SMALL = {"width": 8, "levels": 2, "step_limit": 20, "device": "cpu"}
QUICK = napari_dip.Settings(**SMALL)


@pytest.fixture(scope="module")
def result() -> napari_dip.Restoration:
    return napari_dip.restore(np.random.default_rng(0).random((32, 32)), settings=QUICK)


def estimate(past, *, task="denoise", settings=QUICK, shape=(32, 32), planes=1, **parameters) -> RunEstimate:
    return estimate_run(Request(task, settings, parameters), shape, planes, past, neighbours=False)


def test_nothing_is_known_before_the_first_run(result) -> None:
    found = estimate([])
    assert found.seconds is None
    assert 1e8 < found.bytes_needed < 1e9
    assert describe_estimate(found, 1) == "Time: the first run will tell. Memory: 0.2 GB."
    past = dataclasses.replace(remember_run(result), device="GPU (another) in bfloat16, 1 threads")
    assert estimate([past]).seconds is None


def test_the_next_run_takes_as_long_as_the_last_and_grows_with_pixels_and_planes(result) -> None:
    past = [dataclasses.replace(remember_run(result), seconds=8.0)]
    assert estimate(past).seconds == (8, 8)
    assert estimate(past, shape=(64, 32), planes=3).seconds == (48, 48)
    assert estimate(past, settings=dataclasses.replace(QUICK, seed=5, residual=True)).seconds == (8, 8)
    assert not estimate(past, shape=(64, 32)).is_rough
    assert estimate(past, shape=(128, 128)).is_rough
    slower = [*past, dataclasses.replace(past[0], seconds=12.0)]
    assert describe_estimate(estimate(slower, planes=2), 2) == "About 15 to 25 s for 2 planes, 0.2 GB of memory."


def test_runs_on_images_of_quite_another_size_do_not_count_beside_one_of_this_size(result) -> None:
    own = dataclasses.replace(remember_run(result), seconds=7.0)
    large = dataclasses.replace(own, pixels=64 * own.pixels, seconds=64.0)
    assert estimate([own, large]).seconds == estimate([large, own]).seconds == (7, 7)
    assert not estimate([own, large]).is_rough
    rough = estimate([large])
    assert rough.seconds == (0.5, 2)
    assert rough.is_rough


def test_what_was_never_run_is_told_roughly_from_what_was(result) -> None:
    past = [dataclasses.replace(remember_run(result), seconds=8.0)]
    four = estimate(past, settings=dataclasses.replace(QUICK, runs=4))
    assert four.is_rough
    assert 8 < four.seconds[0] * 2 <= 32
    assert four.seconds[1] == 4 * four.seconds[0]
    small = dataclasses.replace(past[0], pixels=64, seconds=4.0)  # the run on an image of the same size says more
    assert estimate([*past, small], settings=dataclasses.replace(QUICK, runs=4)) == four
    filling = estimate(past, task="inpaint", settings=dataclasses.replace(QUICK, step_limit=1000))
    assert filling.is_rough
    assert describe_estimate(filling, 1).startswith("Roughly ")
    twice, enlarged = (estimate(past, task="super_resolve", factor=factor) for factor in (2, 4))
    assert enlarged.seconds[0] == pytest.approx(4 * twice.seconds[0])
    long = dataclasses.replace(QUICK, step_limit=1000)
    noise, blur = (
        estimate(past, task=task, settings=long, **parameters)
        for task, parameters in (("denoise", {}), ("deconvolve", {"psf": np.ones((1, 1))}))
    )
    assert 2 * noise.seconds[0] < blur.seconds[0] < 8 * noise.seconds[0]  # 4 times, measured at 192² on a CPU


def test_a_large_image_is_told_in_tiles(result) -> None:
    past = [dataclasses.replace(remember_run(result), seconds=1.0)]
    found = estimate(past, shape=(2048, 1024))
    assert found.tiles > 1
    assert f"in {found.tiles} tiles" in describe_estimate(found, 1)
    assert found.bytes_needed < estimate(past, shape=(1024, 1024)).bytes_needed


def test_runs_are_remembered_and_damage_is_forgotten(result) -> None:
    assert recall_runs() == []
    keep_run(result)
    keep_run(result)
    assert recall_runs() == [remember_run(result)] * 2
    for damaged in ("no JSON", json.dumps([[1, 2]]), json.dumps({"a": 1})):
        past_runs.find_past_runs().write_text(damaged)
        assert recall_runs() == []
    keep_run(result)
    assert len(recall_runs()) == 1


def test_what_was_stopped_says_nothing(result) -> None:
    stops = iter([False] * 5)
    *_, last = napari_dip.restore_steps(
        np.random.default_rng(0).random((32, 32)), settings=QUICK, stop_requested=lambda: next(stops, True)
    )
    assert remember_run(last.result) is None


def test_the_form_says_it_before_each_run(viewer, qtbot, camera) -> None:
    image = viewer.add_image(camera, name="cells")
    widget = open_widget(viewer, image)
    controls = widget.controls
    qtbot.waitUntil(lambda: "first run" in controls.expectation.value, timeout=60_000)
    press(qtbot, controls.restore_button)
    assert not controls.expectation.native.isVisibleTo(widget.native)  # the bar takes its place
    finish(widget, qtbot)
    qtbot.waitUntil(lambda: controls.expectation.value.startswith("About "), timeout=60_000)
    qtbot.waitUntil(lambda: "first run" not in controls.expectation.value, timeout=60_000)
    assert controls.expectation.native.isVisibleTo(widget.native)
    widget.form.task.value = "enhance"
    qtbot.waitUntil(lambda: controls.expectation.value.startswith("Roughly "), timeout=60_000)
    widget.form.task.value = "denoise"
    qtbot.waitUntil(lambda: controls.expectation.value.startswith("About "), timeout=60_000)
    viewer.layers.clear()
    qtbot.waitUntil(lambda: controls.expectation.value == "", timeout=60_000)


def test_a_paused_run_says_nothing(viewer, qtbot, camera) -> None:
    widget = open_widget(viewer, viewer.add_image(camera, name="cells"))
    press(qtbot, widget.controls.restore_button)
    press(qtbot, widget.controls.pause_button)
    press(qtbot, widget.controls.pause_button)
    finish(widget, qtbot)
    assert recall_runs() == []
    run(widget, qtbot)
    assert len(recall_runs()) == 1


def test_a_stack_counts_its_planes(viewer, qtbot, camera) -> None:
    image = viewer.add_image(np.stack([camera] * 3), name="film", axis_labels=("t", "y", "x"))
    widget = open_widget(viewer, image, planes="all")
    assert widget.form.plan().planes == 3
    assert widget.form.plan().neighbours
    widget.form.task.value = "enhance"
    assert not widget.form.plan().neighbours
    widget.form.stack.planes.value = "this"
    assert widget.form.plan().planes == 1
