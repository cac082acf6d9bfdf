"""What the terminal says before a folder: how many files and planes, how long and how much memory, as far as known."""

import dataclasses
import re
import time

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

import napari_dip
from napari_dip.command_line import app
from napari_dip.many.file_job import FileJob
from napari_dip.many.folder import find_files, plan_jobs
from napari_dip.many.past_runs import find_past_runs, recall_runs
from napari_dip.many.run_estimate import PastRun, describe_files, estimate_files, remember_run
from napari_dip.pace import FilesTimer
from napari_dip.request import Request

QUICK = ["width=8", "levels=2", "partner=false", "stopping=fixed"]
SETTINGS = napari_dip.Settings(width=8, levels=2, partner=False, stopping="fixed", step_limit=20, device="cpu")


@pytest.fixture
def folder(tmp_path):
    """Two images, a stack of three planes, and what is no image."""
    folder, noise = tmp_path / "raw", np.random.default_rng(0).integers(0, 255, (3, 32, 32), "uint8")
    folder.mkdir()
    for name in "ab":
        tifffile.imwrite(folder / f"{name}.tif", noise[0])
    tifffile.imwrite(folder / "film.tif", noise, metadata={"axes": "TYX"}, imagej=True)
    (folder / "broken.tif").write_bytes(b"no TIFF")
    return folder


def restore(*line: object) -> str:
    changes = [f"--set={each}" for each in QUICK]
    return CliRunner().invoke(app, ["restore", *map(str, line), *changes, "--device=cpu", "--step-limit=20"]).output


@pytest.fixture(scope="module")
def past() -> PastRun:
    run = remember_run(napari_dip.restore(np.random.default_rng(0).random((32, 32)), settings=SETTINGS))
    assert run is not None
    return dataclasses.replace(run, seconds=60.0)


def estimate(folder, past: list[PastRun], **options):
    model = FileJob(folder, folder, request=Request(settings=SETTINGS))
    jobs = plan_jobs(find_files(str(folder)), folder / "out", model, suffix=None, mask=None)
    return estimate_files(jobs, past, **options)


def test_a_folder_is_told_before_it_begins_and_the_next_one_knows_more(folder, tmp_path) -> None:
    first = restore(folder, tmp_path / "one")
    assert "4 files, 5 planes to restore. Time: the first one will tell. Memory: 0.2 GB." in first
    assert len(recall_runs()) == 5
    second = restore(folder / "film.tif", tmp_path / "film.tif")
    assert re.search(r"About .+ s for 3 planes, 0\.2 GB of memory\.", second)
    (tmp_path / "one" / "a.tif").unlink()
    assert "2 files to restore. About " in restore(folder, tmp_path / "one", "--resume")  # and the one that failed


def test_planes_files_and_devices_count(folder, past) -> None:
    found = estimate(folder, [past])
    assert (found.files, found.planes, found.is_complete) == (4, 5, True)
    assert found.run.seconds == (300, 300)
    assert describe_files(found) == "4 files, 5 planes to restore. About 5 min, 0.2 GB of memory."
    assert estimate(folder, [past], devices=2).run.seconds == (150, 150)
    other = dataclasses.replace(past, kind="never run here", work=2 * past.work)
    assert estimate(folder, [other]).run.is_rough
    for name in ("a", "b", "film"):
        (folder / f"{name}.tif").unlink()
    assert estimate(folder, [past]) is None


def test_many_files_are_told_from_some(folder, past) -> None:
    (folder / "broken.tif").unlink()
    (folder / "film.tif").unlink()
    for number in range(28):
        tifffile.imwrite(folder / f"{number}.tif", np.eye(32, dtype="uint8"))
    found = estimate(folder, [past])
    assert (found.files, found.planes, found.is_complete) == (30, 30, False)
    assert found.run.seconds == pytest.approx((1800, 1800))
    assert describe_files(found) == "30 files to restore. About 30 min, 0.2 GB of memory."
    several = dataclasses.replace(found, planes=90)
    assert describe_files(several).startswith("30 files, about 90 planes to restore. ")


def test_a_home_that_cannot_be_written_costs_nothing_else(folder, tmp_path) -> None:
    find_past_runs().parent.write_text("a file where the folder would be")
    assert "Written: " in restore(folder / "a.tif", tmp_path / "a.tif")
    assert recall_runs() == []


def test_the_time_left_of_files_comes_from_those_that_are_finished(monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    timer, unknown = FilesTimer(3, (20.0, 40.0)), FilesTimer(3, None)
    assert unknown.seconds_left is None
    now[0] += 5
    assert timer.seconds_left == (15, 35)
    now[0] += 36
    assert timer.seconds_left is None  # longer than expected
    timer.end_file(is_done=False)
    assert timer.seconds_left is None
    now[0] += 10
    timer.end_file(is_done=True)
    assert timer.seconds_left == (10, 10)
    now[0] += 4
    assert timer.seconds_left == (6, 6)
    timer.end_file(is_done=True)
    assert timer.seconds_left is None  # nothing is left
