"""Work beside the window: what is raised comes back, and what was given is let go."""

import gc
import weakref

import numpy as np
import pytest

from napari_dip.plugin.run.worker import Job


class Picture:
    """Something large, which can be watched."""

    def __init__(self) -> None:
        self.pixels = np.zeros(10)


class Owner:
    """Whose methods are called back."""

    def __init__(self) -> None:
        self.heard: list = []

    def on_progress(self, value: object) -> None:
        self.heard.append(("progress", value))

    def on_result(self, value: object) -> None:
        self.heard.append(("result", value))

    def on_error(self, error: Exception) -> None:
        self.heard.append(("error", type(error).__name__, str(error)))

    def on_finished(self) -> None:
        self.heard.append("finished")


def make_job(owner: Owner, function, *arguments: object) -> Job:
    return Job(
        function, *arguments,
        on_result=owner.on_result, on_error=owner.on_error, on_progress=owner.on_progress,
        on_finished=owner.on_finished,
    )  # fmt: skip


def double(value: float) -> float:
    return 2 * value


def count(to: int):
    yield from range(to)
    return to


def fail(error: Exception) -> None:
    raise error


def fail_later(error: Exception):
    yield 1
    raise error


def look(picture: Picture) -> float:
    return picture.pixels.sum()


def look_for_ever(picture: Picture):
    while True:
        yield picture.pixels.sum()


@pytest.mark.parametrize(
    ("function", "argument", "heard"),
    [
        (double, 2, [("result", 4)]),
        (count, 2, [("progress", 0), ("progress", 1), ("result", 2)]),
        (fail, ValueError("bad"), [("error", "ValueError", "bad")]),
        (fail, RuntimeError("bad"), [("error", "RuntimeError", "bad")]),
        (fail_later, RuntimeError("bad"), [("progress", 1), ("error", "RuntimeError", "bad")]),
    ],
)
def test_what_is_returned_or_raised_comes_back(qtbot, function, argument, heard) -> None:
    owner = Owner()
    make_job(owner, function, argument).start()
    qtbot.waitUntil(lambda: "finished" in owner.heard, timeout=20_000)
    assert owner.heard == [*heard, "finished"]


@pytest.mark.parametrize("ends", ["by itself", "by request"])
def test_nothing_is_kept_while_the_window_lives(make_napari_viewer, qtbot, ends) -> None:
    make_napari_viewer()
    owner, picture = Owner(), Picture()
    heard, left = owner.heard, [weakref.ref(owner), weakref.ref(picture)]
    job = make_job(owner, look_for_ever if ends == "by request" else look, picture)
    del owner, picture
    job.start()
    qtbot.waitUntil(lambda: bool(heard), timeout=20_000)
    job.quit()
    qtbot.waitUntil(lambda: "finished" in heard, timeout=20_000)
    assert any(each[0] == "result" for each in heard) == (ends == "by itself")
    del job

    def all_gone() -> None:
        gc.collect()
        assert [each() for each in left] == [None, None]

    qtbot.waitUntil(all_gone, timeout=20_000)
