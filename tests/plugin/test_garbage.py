"""What Python collects while a worker runs: in the window's thread, and afterwards as it was."""

import gc
import subprocess
import sys
import threading
import time

import pytest
from gestures import wait_for_workers
from qtpy.QtCore import QObject

from napari_dip.interruption import Interrupted, wait_for
from napari_dip.plugin.run.worker import Job


@pytest.fixture
def automatic(qtbot):
    """Collection as Python starts with it, before and after."""

    def come_to_rest() -> None:
        wait_for_workers(qtbot)
        qtbot.waitUntil(gc.isenabled, timeout=5_000)

    come_to_rest()
    limits = gc.get_threshold()
    yield
    gc.set_threshold(*limits)
    come_to_rest()


class Dock(QObject):
    """A Qt object in a cycle, as those of a closed window are; notes which thread destroys it."""

    def __init__(self, seen: list[int]) -> None:
        super().__init__()
        self._seen, self.itself = seen, self

    def __del__(self) -> None:
        self._seen.append(threading.get_ident())


def allocate(*, until, seconds: float = 20) -> bool:
    """Make so many objects that Python would collect, and wait; return whether it happened."""
    end = time.monotonic() + seconds
    kept: list[list] = []
    while not until() and time.monotonic() < end:
        kept += [[] for _ in range(300)]
        time.sleep(0.01)
    return until()


@pytest.mark.parametrize("grown_old", [False, True])
def test_the_window_collects_what_is_closed_while_a_worker_runs(automatic, qtbot, monkeypatch, grown_old) -> None:
    seen: list[int] = []
    results: list[bool] = []
    closed = threading.Event()

    def work() -> bool:
        return closed.wait(30) and allocate(until=lambda: bool(seen))

    dock = Dock(seen)
    if grown_old:
        gc.collect()  # the dock is among the oldest objects now
        gc.set_threshold(700, 1, 1)
        monkeypatch.setattr("napari_dip.plugin.run.garbage._MANY", 0)
    Job(work, on_result=results.append).start()
    del dock
    closed.set()
    qtbot.waitUntil(lambda: bool(results), timeout=60_000)
    assert seen == [threading.get_ident()]
    qtbot.waitUntil(gc.isenabled, timeout=5_000)


def test_the_oldest_objects_are_left_alone_until_many_have_joined_them(automatic, qtbot) -> None:
    """To search them holds the window for longer than the eye forgives."""
    searched: list[int] = []

    def note(phase: str, of: dict) -> None:
        if phase == "start" and not gc.isenabled():
            searched.append(of["generation"])

    gc.callbacks.append(note)
    try:
        gc.set_threshold(700, 1, 1)
        Job(lambda: allocate(until=lambda: searched.count(1) > 3)).start()
        qtbot.waitUntil(lambda: searched.count(1) > 3, timeout=30_000)
    finally:
        gc.callbacks.remove(note)
    assert 2 not in searched


def fail() -> None:
    raise ValueError("bad")


def wait_for_ever():
    while True:
        time.sleep(0.01)
        yield


@pytest.mark.parametrize("function", [fail, wait_for_ever])
def test_python_collects_again_after_the_last_worker(automatic, qtbot, function) -> None:
    """Whether it failed or was told to end, as when its window closes."""
    released = threading.Event()
    first, last = Job(function), Job(released.wait, 30)
    first.start()
    last.start()
    assert not gc.isenabled()
    first.quit()
    qtbot.wait(300)
    assert not gc.isenabled()
    released.set()
    qtbot.waitUntil(gc.isenabled, timeout=5_000)


def test_work_that_nobody_waits_for_any_more_counts(automatic, qtbot) -> None:
    released = threading.Event()

    def work() -> None:
        with pytest.raises(Interrupted):
            wait_for(lambda: released.wait(30), lambda: True)

    ended: list[str] = []
    Job(work, on_finished=lambda: ended.append("work")).start()
    qtbot.waitUntil(lambda: bool(ended), timeout=10_000)
    qtbot.wait(300)
    assert not gc.isenabled()
    released.set()
    qtbot.waitUntil(gc.isenabled, timeout=5_000)


def test_who_collects_in_another_way_goes_on(automatic, qtbot) -> None:
    gc.disable()
    ended: list[str] = []
    Job(time.sleep, 0, on_finished=lambda: ended.append("work")).start()
    qtbot.waitUntil(lambda: bool(ended), timeout=10_000)
    qtbot.wait(300)
    assert not gc.isenabled()
    gc.enable()


SCRIPT = """
import gc
from qtpy.QtCore import QCoreApplication, QTimer
from napari_dip.plugin.run.garbage import GarbageCollector

application = QCoreApplication([])
collector = GarbageCollector(lambda: True)
collector.begin()
assert not gc.isenabled()
QTimer.singleShot(0, application.quit)
application.exec()
assert gc.isenabled()
"""


def test_python_collects_again_when_the_application_ends() -> None:
    """A script may go on after ``napari.run()``, and there no timer rings any more."""
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=60)
