"""Planes of an interrupted run are reused only if a new run would give the same ones; one run at a time."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import zarr
from films import write_film
from terminal import restore
from yaozarrs import DimSpec, v05
from yaozarrs.write.v05 import write_image

import napari_dip
from napari_dip.image_files import write_tiff
from napari_dip.many.file_job import FileJob, find_planes_folder
from napari_dip.many.file_restoration import restore_file
from napari_dip.many.folder import plan_jobs, read_report, restore_files, tell_other_settings
from napari_dip.measurement.psf import gaussian_psf
from napari_dip.request import Hooks, Request
from napari_dip.whole_files import hide_unfinished

SETTINGS = napari_dip.Settings(device="cpu", width=8, levels=1, step_limit=4, partner=False)
REQUEST = Request(settings=SETTINGS)


@pytest.fixture
def film(camera) -> np.ndarray:
    """A (4, 24, 20) stack."""
    noise = np.random.default_rng(0).normal(0, 10, (4, 24, 20))
    return (camera[:24, :20] + noise).astype(np.float32)


@pytest.fixture
def job(film, tmp_path) -> FileJob:
    """A film with a mask, ready to be restored."""
    (tmp_path / "out").mkdir()
    write_film(tmp_path / "film.ome.tif", film)
    mask = np.zeros(film.shape, np.uint8)
    mask[:, 4:8, 4:8] = 1
    write_film(tmp_path / "mask.ome.tif", mask)
    return FileJob(tmp_path / "film.ome.tif", tmp_path / "out" / "film.ome.tif", tmp_path / "mask.ome.tif",
                   Request("inpaint", SETTINGS), resume=True)  # fmt: skip


def plan_folder(film, tmp_path, *, resume: bool, settings: napari_dip.Settings = SETTINGS) -> list[FileJob]:
    """Write each plane to its own file, and plan the jobs."""
    (tmp_path / "data").mkdir()
    for number, image in enumerate(film):
        tifffile.imwrite(tmp_path / "data" / f"{number}.tif", image)
    model = FileJob(tmp_path, tmp_path, request=Request(settings=settings), resume=resume)
    return plan_jobs(sorted((tmp_path / "data").iterdir()), tmp_path / "out", model, suffix=None, mask=None)


def interrupt(job: FileJob, planes: int) -> None:
    """Run a job until this many planes are finished."""
    done = []
    with pytest.raises(InterruptedError, match="kept"):
        restore_file(job, watch=lambda each: done.append(each.result), hooks=Hooks(lambda: len(done) >= planes))
    assert not job.out.exists()


def go_on(job: FileJob) -> tuple[list[int], str, np.ndarray]:
    """Run a job to its end; return the planes it restored, its notes, and its output."""
    done = []
    outcome = restore_file(job, watch=lambda each: done.append(each.plane.place["T"]))
    assert sorted(path.name for path in job.out.parent.iterdir()) == [job.out.name]  # nothing hidden is left
    return done, " ".join(outcome.warnings), tifffile.imread(job.out)


def afresh(job: FileJob, tmp_path) -> np.ndarray:
    """Return the output of an uninterrupted run."""
    elsewhere = replace(job, out=tmp_path / "afresh" / job.out.name)
    restore_file(elsewhere)
    return tifffile.imread(elsewhere.out)


def test_finished_planes_are_kept(job, tmp_path) -> None:
    interrupt(job, 2)
    done, said, pixels = go_on(job)
    assert (done, said) == ([2, 3], "")
    np.testing.assert_array_equal(pixels, afresh(job, tmp_path))


@pytest.mark.parametrize("what", ["pixels", "mask"])
def test_a_plane_is_restored_again_if_its_pixels_or_its_mask_have_changed(job, film, tmp_path, what) -> None:
    interrupt(job, 3)
    path = job.source if what == "pixels" else job.mask
    before, changed = path.stat(), tifffile.imread(path)
    changed[1] = changed[1, ::-1]
    write_film(path, changed)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # date and size stay the same
    assert path.stat().st_size == before.st_size
    done, said, pixels = go_on(job)
    assert done == [1, 3]
    assert "1 plane" in said
    assert "have changed" in said
    np.testing.assert_array_equal(pixels, afresh(job, tmp_path))


def test_chunks_of_a_zarr_may_change(film, tmp_path) -> None:
    """They change in place, so the folder's date stays the same."""
    dims = [DimSpec(name="t", scale=1.0), DimSpec(name="y", scale=1.0), DimSpec(name="x", scale=1.0)]
    source = tmp_path / "film.zarr"
    write_image(source, v05.Image(multiscales=[v05.Multiscale.from_dims(dims, n_levels=1)]), [film], writer="zarr",
                chunks=(1, 24, 20))  # fmt: skip
    job = FileJob(source, tmp_path / "out" / "film.ome.tif", request=REQUEST, resume=True)
    interrupt(job, 2)
    array = next(each for _, each in zarr.open_group(str(source), mode="r+").arrays())
    array[0] = film[0, ::-1]
    done, said, pixels = go_on(job)
    assert done == [0, 2, 3]
    assert "have changed" in said
    np.testing.assert_array_equal(pixels, afresh(job, tmp_path))


def test_planes_of_other_settings_are_kept_apart(job, tmp_path) -> None:
    interrupt(job, 3)
    other = replace(job, request=replace(job.request, settings=replace(SETTINGS, seed=5)))
    asked = []
    with pytest.raises(InterruptedError, match=r"3 planes from an interrupted run were not used: different seed"):
        restore_file(other, watch=asked.append, hooks=Hooks(lambda: len(asked) > 0))
    done, _, pixels = go_on(job)  # the run with the wrong settings cost nothing
    assert done == [3]
    np.testing.assert_array_equal(pixels, afresh(job, tmp_path))


def test_planes_of_another_psf_are_kept_apart(job, tmp_path) -> None:
    job = replace(job, mask=None, request=Request("deconvolve", SETTINGS, {"psf": gaussian_psf(0.7)}))
    interrupt(job, 2)
    other = replace(job, request=replace(job.request, parameters={"psf": gaussian_psf(1.2)}))
    done, said, pixels = go_on(other)
    assert done == [0, 1, 2, 3]
    assert "2 planes from an interrupted run were not used: different psf" in said
    np.testing.assert_array_equal(pixels, afresh(other, tmp_path))
    assert tell_other_settings(other) == ""
    assert "made with different psf; add --overwrite" in tell_other_settings(job)  # a finished file stays, and is told


@pytest.mark.parametrize("damage", ["short pixels", "no pixels", "empty record", "half a record", "one other pixel"])
def test_damaged_planes_are_restored_again(job, tmp_path, damage) -> None:
    interrupt(job, 3)
    pixels, record = (sorted(find_planes_folder(job.out).rglob(f"{name}_*"))[1] for name in ("restored", "record"))
    if damage == "short pixels":
        pixels.write_bytes(pixels.read_bytes()[:-7])
    elif damage == "no pixels":
        pixels.unlink()
    elif damage == "one other pixel":
        content = bytearray(pixels.read_bytes())
        content[-3] ^= 1
        pixels.write_bytes(content)
    else:
        record.write_text("" if damage == "empty record" else record.read_text()[:100])
    done, said, whole = go_on(job)
    assert done == [1, 3]
    assert "damaged" in said
    np.testing.assert_array_equal(whole, afresh(job, tmp_path))


def test_without_resume_all_planes_are_restored_again_with_a_note(job) -> None:
    interrupt(job, 2)
    done, said, _ = go_on(replace(job, resume=False))
    assert done == [0, 1, 2, 3]
    assert "2 planes" in said
    assert "--resume" in said


@pytest.fixture
def still(job, camera, tmp_path) -> FileJob:
    """Planes that are alike, each with a warm start from the one before."""
    noise = np.random.default_rng(1).normal(0, 20, (4, 36, 32))
    write_film(tmp_path / "still.ome.tif", (camera[:36, :32] + noise).astype(np.float32))
    return replace(job, source=tmp_path / "still.ome.tif", mask=None, request=REQUEST, warm_start="T")


def test_a_plane_starts_from_a_kept_network(still, tmp_path) -> None:
    whole = afresh(still, tmp_path)
    restore_file(replace(still, warm_start=None, out=tmp_path / "cold" / "still.ome.tif"))
    assert (tifffile.imread(tmp_path / "cold" / "still.ome.tif")[2] != whole[2]).any()
    interrupt(still, 2)
    done, said, pixels = go_on(still)
    assert (done, said) == ([2, 3], "")
    np.testing.assert_array_equal(pixels, whole)


@pytest.mark.parametrize("what", ["pixels", "network"])
def test_planes_that_depend_on_a_lost_plane_are_restored_again(still, tmp_path, what) -> None:
    interrupt(still, 3)
    if what == "pixels":
        changed = tifffile.imread(still.source)
        changed[1] = changed[1, ::-1]
        write_film(still.source, changed)
    else:
        for network in find_planes_folder(still.out).rglob("network*"):
            network.write_bytes(network.read_bytes()[:-10])
    done, said, pixels = go_on(still)
    assert done == [0, 1, 2, 3]  # the first one's network is gone
    assert "depends on the plane before it" in said
    np.testing.assert_array_equal(pixels, afresh(still, tmp_path))


HOLD = """
import sys
from pathlib import Path
from napari_dip.many.output_lock import hold_outputs
with hold_outputs([Path(sys.argv[1])]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def at_work():
    """Start another process that locks an output, as a run does; it is killed in the end."""
    started = []

    def start(path):
        process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True)  # fmt: skip
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("name", ["film.ome.tif", "film.zarr"])
def test_only_one_process_works_on_a_stack(job, at_work, name) -> None:
    interrupt(job, 2)
    out = job.out.with_name(name)
    other = at_work(out)
    kept = sorted(path.name for path in out.parent.rglob("*"))
    for more in ((), ("--resume",), ("--seed", 1)):
        second = restore(job.source, out, *more)
        assert second.exit_code == 1
        assert "another process is working on" in second.output
    assert sorted(path.name for path in out.parent.rglob("*")) == kept
    other.kill()  # which releases the lock
    other.wait()
    assert restore(job.source, out).exit_code == 0
    assert not out.with_name(f".{name}.lock").exists()


def test_a_file_that_another_process_works_on_is_skipped(film, tmp_path, at_work) -> None:
    plan_folder(film, tmp_path, resume=True)
    out = tmp_path / "out"
    other = at_work(out / "1.tif")
    half = hide_unfinished(out / "1.tif")
    half = half.with_name(half.name.replace(str(os.getpid()), str(other.pid)))
    half.write_bytes(b"half of what the other writes")
    first = restore(tmp_path / "data", out, "--resume")
    assert first.exit_code == 1
    assert "3 done, 0 kept, 1 failed" in first.output
    assert "another process is working on" in read_report(out / "report.csv")[str(out / "1.tif")].error
    assert half.exists()
    other.kill()
    other.wait()
    again = restore(tmp_path / "data", out, "--resume")
    assert again.exit_code == 0, again.output
    assert "1 done, 3 kept, 0 failed" in again.output
    assert sorted(path.name for path in out.iterdir()) == ["0.tif", "1.tif", "2.tif", "3.tif", "report.csv"]


@pytest.mark.parametrize("report", ["report.csv", "report.json"])
def test_two_runs_share_a_folder(film, tmp_path, report) -> None:
    jobs = plan_folder(film, tmp_path, resume=True)
    one = restore_files(jobs, tmp_path / report, devices=("cpu",))
    first = next(one)
    two = list(restore_files(jobs, tmp_path / report, devices=("cpu",)))
    assert [row.status for row in two] == ["kept", "done", "done", "done"]
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    rest = list(one)
    assert [row.status for row in (first, *rest)] == ["done", "kept", "kept", "kept"]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == written
    rows = read_report(tmp_path / report)
    assert list(rows) == [str(job.out) for job in jobs]
    assert all(row.step == 4 for row in rows.values())
    if report.endswith(".json"):
        assert len(json.loads((tmp_path / report).read_text())) == 4


@pytest.mark.parametrize("resume", [False, True])
def test_a_file_created_meanwhile_is_not_overwritten(film, tmp_path, resume) -> None:
    jobs = plan_folder(film, tmp_path, resume=resume)
    run_of_all = restore_files(jobs, tmp_path / "report.csv", devices=("cpu",))
    first = next(run_of_all)
    jobs[1].out.write_text("precious")
    if not resume:
        restore_file(jobs[2])  # as another run would
        written = jobs[2].out.stat().st_mtime_ns
    rows = [first, *run_of_all]
    assert jobs[1].out.read_text() == "precious"
    if resume:
        assert [row.status for row in rows] == ["done", "failed", "done", "done"]
        assert "is not the restored image" in rows[1].error
    else:
        assert [row.status for row in rows] == ["done", "failed", "failed", "done"]
        assert "exists" in rows[1].error
        assert jobs[2].out.stat().st_mtime_ns == written


@pytest.mark.parametrize("report", ["report.csv", "report.json"])
def test_a_truncated_report_keeps_its_complete_rows(film, tmp_path, report) -> None:
    jobs = plan_folder(film[:3], tmp_path, resume=True)
    rows = list(restore_files(jobs, tmp_path / report, devices=("cpu",)))
    path = tmp_path / report
    path.write_bytes(path.read_bytes()[:-300])  # within the last row
    assert list(read_report(path).values()) == rows[:2]


def count_work(function) -> tuple[int, int]:
    """Return how many bytes a call writes and how often it lists a folder."""
    lists = 0
    listening = True

    def listen(event: str, arguments: tuple) -> None:
        nonlocal lists
        lists += listening and event in ("os.scandir", "os.listdir")

    def written() -> int:
        with open("/proc/self/io") as file:
            return int(dict(line.split(": ") for line in file.read().splitlines())["wchar"])

    sys.addaudithook(listen)
    before = written()
    function()
    listening = False
    return written() - before, lists


@pytest.mark.skipif(not os.path.exists("/proc/self/io"), reason="only Linux counts what a process writes")
@pytest.mark.parametrize("report", ["report.csv", "report.json"])
def test_work_grows_linearly_with_the_number_of_files(tmp_path, report) -> None:
    """For files that fail at once and files that are kept: twice the files, twice the writing, no more listing."""
    costs = {}
    for count in (40, 80):
        data, out = tmp_path / f"data{count}", tmp_path / f"out{count}"
        data.mkdir()
        out.mkdir()
        for number in range(count):
            (data / f"{number}.tif").write_text("no image")
            if number % 2:
                write_tiff(out / f"{number}.tif", np.zeros((2, 2), np.float32), {"settings": {}})
        jobs = plan_jobs(sorted(data.iterdir()), out, FileJob(data, out, request=REQUEST, resume=True), suffix=None,
                         mask=None)  # fmt: skip
        costs[count] = count_work(lambda jobs=jobs, out=out: list(restore_files(jobs, out / report, devices=("cpu",))))
    assert costs[80][0] < 2.2 * costs[40][0]
    assert costs[80][1] == costs[40][1]


def test_an_interrupt_leaves_nothing_half_written(job, tmp_path) -> None:
    """After a KeyboardInterrupt, as in a script or a notebook, planes are kept and the output is unlocked."""

    def interrupt_second(each) -> None:
        if each.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_file(job, watch=interrupt_second)
    assert [path.name for path in job.out.parent.iterdir()] == [find_planes_folder(job.out).name]
    done, _, pixels = go_on(job)
    assert done == [2, 3]
    np.testing.assert_array_equal(pixels, afresh(job, tmp_path))


def threads_at_work() -> set[threading.Thread]:
    """Return all threads except zarr's own."""
    return {each for each in threading.enumerate() if each.name != "zarr_io"}


def test_an_abandoned_folder_ends_its_threads(film, tmp_path) -> None:
    endless = replace(SETTINGS, step_limit=100_000, stopping="fixed")
    jobs = plan_folder(film, tmp_path, resume=False, settings=endless)
    jobs[0] = replace(jobs[0], request=REQUEST)
    before = threads_at_work()
    rows = restore_files(jobs, tmp_path / "report.csv", devices=("cpu", "cpu"))
    first = next(rows)
    assert (first.status, first.source) == ("done", str(jobs[0].source))
    rows.close()
    assert threads_at_work() <= before
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0.tif"]
    assert list(read_report(tmp_path / "report.csv")) == [str(tmp_path / "out" / "0.tif")]


def test_an_abandoned_stack_ends_its_threads(film) -> None:
    before = threads_at_work()
    out = np.full(film.shape, np.nan, np.float32)
    often = replace(SETTINGS, report_every=2)
    steps = napari_dip.restore_stack(film, "TYX", settings=often, out=out, report_wanted=lambda: True)
    for each in steps:
        if each.number == 2:
            break
    steps.close()
    assert np.isfinite(out[0]).all()
    assert np.isnan(out[1:]).all()
    assert threads_at_work() <= before
