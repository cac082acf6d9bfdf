"""A folder of files: finished outputs are kept, partial ones never appear, one bad file does not stop the others."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from films import write_film
from skimage import io
from terminal import QUICK, restore

import napari_dip
from napari_dip.many.file_job import FileJob
from napari_dip.many.folder import plan_jobs, read_report, restore_files
from napari_dip.many.image_stack import Stack
from napari_dip.many.kept_planes import find_planes_folder
from napari_dip.many.stack_files import open_stack, write_stack
from napari_dip.request import Hooks, Request
from napari_dip.whole_files import remove_unfinished, write_atomically

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes, and processes that are forked")


@pytest.fixture
def folder(tmp_path, camera):
    """A folder of two images, a stack, a broken file and a file that is not an image."""
    data = tmp_path / "data"
    data.mkdir()
    io.imsave(data / "a.png", camera, check_contrast=False)
    tifffile.imwrite(data / "b.tif", camera[::-1].astype(np.uint16))
    tifffile.imwrite(data / "c.ome.tif", np.stack([camera, camera // 2]),
                     metadata={"axes": "TYX", "TimeIncrement": 2.0}, photometric="minisblack")  # fmt: skip
    (data / "d.tif").write_text("no image")
    (data / "notes.txt").write_text("no image at all")
    return data


def test_every_readable_file_is_restored(folder, tmp_path) -> None:
    done = restore(folder, tmp_path / "out")
    assert done.exit_code == 1, done.output
    assert "3 done, 0 kept, 1 failed" in done.output
    assert "d.tif" in done.output
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a.tif", "b.tif", "c.ome.tif", "report.csv"]
    with (tmp_path / "out" / "report.csv").open() as file:
        rows = {row["source"].rsplit("/", 1)[1]: row for row in csv.DictReader(file)}
    assert rows["d.tif"]["status"] == "failed"
    assert "cannot be read" in rows["d.tif"]["error"]
    assert (rows["c.ome.tif"]["planes"], rows["a.png"]["planes"]) == ("2", "1")
    assert float(rows["a.png"]["noise"]) > 0
    assert json.loads(rows["a.png"]["settings"])["width"] == 8
    film = open_stack(tmp_path / "out" / "c.ome.tif")
    assert (film.axes, film.array.shape, film.pixel_sizes["T"]) == ("TYX", (2, 48, 40), 2.0)


def test_finished_files_are_kept(folder, tmp_path) -> None:
    (folder / "d.tif").unlink()
    out = tmp_path / "out"
    first = restore(f"{folder}/[ac]*", out, "--report", out / "r.json")
    assert first.exit_code == 0, first.output
    assert restore(folder, out).exit_code == 1  # without --resume nothing is overwritten
    before = (out / "a.tif").stat().st_mtime_ns, read_report(out / "r.json")[str(out / "a.tif")]
    again = restore(folder, out, "--resume", "--report", out / "r.json")
    assert "1 done, 2 kept, 0 failed" in again.output
    assert again.exit_code == 0
    assert (out / "a.tif").stat().st_mtime_ns == before[0]
    row = read_report(out / "r.json")[str(out / "a.tif")]
    assert (row.status, row.step, row.noise, row.error) == ("kept", before[1].step, before[1].noise, "")
    assert not list(out.glob(".*"))
    other = restore(folder, out, "--resume", "--seed", 7)
    assert other.output.count("made with different seed; add --overwrite") == 3
    alone = restore(folder / "a.png", out / "a.tif", "--resume", "--seed", 7)
    assert "a.tif is kept, although it was made with different seed" in " ".join(alone.output.split())
    assert "nothing is left to do" in restore(folder / "a.png", out / "a.tif", "--resume").output


def test_masks_are_found_by_name(folder, tmp_path, camera) -> None:
    (tmp_path / "masks").mkdir()
    mask = np.zeros(camera.shape, np.uint8)
    mask[10:14] = 1
    io.imsave(tmp_path / "masks" / "a_mask.png", mask, check_contrast=False)
    masks = tmp_path / "masks/{stem}_mask.png"
    done = restore(f"{folder}/[ab].*", tmp_path / "out", "--task", "inpaint", "--mask", masks, "--suffix", ".png")
    assert "1 done, 0 kept, 1 failed" in done.output
    assert "does not exist" in done.output  # the mask of b
    np.testing.assert_array_equal(io.imread(tmp_path / "out" / "a.png")[mask == 0], camera[mask == 0])


def test_two_files_do_not_share_an_output(folder, tmp_path) -> None:
    with pytest.raises(ValueError, match="would both be written to"):
        plan_jobs([folder / "a.png", folder / "a.tif"], tmp_path, FileJob(folder, tmp_path), suffix=None, mask=None)
    with pytest.raises(ValueError, match="would be overwritten as"):
        plan_jobs([folder / "b.tif"], folder, FileJob(folder, tmp_path), suffix=None, mask=None)


def test_a_stopped_file_is_restored_again(folder, tmp_path, small_settings) -> None:
    model = FileJob(folder, tmp_path, request=Request(settings=small_settings))
    jobs = plan_jobs([folder / "a.png", folder / "b.tif"], tmp_path / "out", model, suffix=None, mask=None)
    asked = iter(range(10_000))
    rows = list(restore_files(jobs, tmp_path / "r.json", devices=("cpu",), hooks=Hooks(lambda: next(asked) > 5)))
    assert [row.status for row in rows] == ["failed", "failed"]
    assert "stopped" in rows[0].error
    assert "not started" in rows[1].error
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.full
def test_one_device_has_one_task_at_a_time(folder, tmp_path, small_settings) -> None:
    model = FileJob(folder, tmp_path, request=Request(settings=small_settings))
    files = [folder / "a.png", folder / "b.tif", folder / "c.ome.tif"]
    one = plan_jobs(files, tmp_path / "one", model, suffix=None, mask=None)
    two = plan_jobs(files, tmp_path / "two", model, suffix=None, mask=None)
    assert [row.status for row in restore_files(one, tmp_path / "one/r.csv", devices=("cpu",))] == ["done"] * 3
    assert [row.status for row in restore_files(two, tmp_path / "two/r.csv", devices=("cpu", "cpu"))] == ["done"] * 3
    for name in ("a.tif", "b.tif", "c.ome.tif"):
        np.testing.assert_array_equal(
            tifffile.imread(tmp_path / "one" / name), tifffile.imread(tmp_path / "two" / name)
        )


@pytest.mark.full
def test_killed_and_resumed_nothing_is_lost(tmp_path, camera) -> None:
    """After kill -9 between planes there is no output; the next run continues with the finished planes."""
    film = np.stack([np.roll(camera, 5 * n, axis=0) for n in range(16)])
    write_film(tmp_path / "film.ome.tif", film)
    out = tmp_path / "out.ome.tif"
    arguments = ["restore", str(tmp_path / "film.ome.tif"), str(out), *QUICK]
    process = subprocess.Popen([sys.executable, "-c", "from napari_dip.command_line import main; main()", *arguments],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    planes = find_planes_folder(out)
    end = time.monotonic() + 120
    while len(list(planes.rglob("record_*.json"))) < 2 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not out.exists()
    kept = {path.name: path.stat().st_mtime_ns for path in planes.rglob("record_*.json")}
    assert len(kept) >= 2
    done = restore(tmp_path / "film.ome.tif", out, "--resume")
    assert done.exit_code == 0, done.output
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    settings = napari_dip.Settings(device="cpu", step_limit=4, width=8, levels=1, partner=False)
    expected = np.zeros(film.shape, np.float32)
    list(napari_dip.restore_stack(film, "TYX", settings=settings, out=expected))
    np.testing.assert_array_equal(tifffile.imread(out), expected)


def test_a_full_disk_leaves_no_half_file(tmp_path, camera) -> None:
    """On a disk of 64 kB there is room for the first output only; the second gets an error message."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True,
                             check=False)  # fmt: skip
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root only")
    try:
        data = tmp_path / "data"
        data.mkdir()
        for name in ("a.tif", "b.tif"):
            tifffile.imwrite(data / name, np.tile(camera, (2, 3)))  # 46 kB as float32
        done = restore(data, disk / "out")
        assert done.exit_code == 1
        assert "1 done, 0 kept, 1 failed" in done.output
        assert "the disk is full" in done.output
        assert sorted(path.name for path in (disk / "out").iterdir()) == ["a.tif", "report.csv"]
        assert tifffile.imread(disk / "out" / "a.tif").shape == (96, 120)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@on_linux
@pytest.mark.parametrize(
    ("name", "report"),
    [(b"\xff\xfe.tif", "report.csv"), (b"\xff\xfe.tif", "report.json"), (b"two\nlines\r.tif", "report.csv"),
     (b"two\nlines\r.tif", "report.json"), (b"[red]markup.tif", "report.csv"), (b"\x1b[31mred.tif", "report.json"),
     (b"n" * 251 + b".tif", "report.csv")],
)  # fmt: skip
def test_any_name_is_restored_and_reported(tmp_path, camera, name, report) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    for each in (name, b"plain.tif"):
        tifffile.imwrite(data / os.fsdecode(each), camera[:16, :16])
    for _ in range(2):
        done = restore(data, out, "--report", out / report, "--resume")
        assert done.exit_code == 0, done.output
        assert not set(done.output) & {"\x1b", "\r"}
    assert "2 kept" in done.output
    assert sorted(os.listdir(os.fsencode(out))) == sorted([name, b"plain.tif", report.encode()])
    rows = read_report(out / report).values()
    assert [row.planes for row in rows] == [1, 1]  # matched by its name
    if report.endswith("csv"):
        assert len((out / report).read_text(encoding="utf-8").splitlines()) == 3


@on_linux
@pytest.mark.parametrize("out", [b"\xff.ome.tif", b"\xff.zarr", b"\xff.png", b"two\nlines.ome.tif"])
def test_any_name_is_written(tmp_path, camera, out) -> None:
    tifffile.imwrite(tmp_path / "in.tif", camera[:16, :16])
    done = restore(tmp_path / "in.tif", tmp_path / os.fsdecode(out))
    assert done.exit_code == 0, done.output
    assert sorted(os.listdir(os.fsencode(tmp_path))) == [b"in.tif", out] or out > b"in.tif"
    assert "nothing is left" in restore(tmp_path / "in.tif", tmp_path / os.fsdecode(out), "--resume").output


def test_a_report_is_continued(folder, tmp_path) -> None:
    """Rows of other files stay."""
    out = tmp_path / "out"
    assert restore(f"{folder}/a.p*", out).exit_code == 0
    assert restore(f"{folder}/b.t*", out).exit_code == 1  # the report exists
    assert restore(f"{folder}/b.t*", out, "--resume").exit_code == 0
    assert [Path(name).name for name in read_report(out / "report.csv")] == ["a.tif", "b.tif"]


def fork(work) -> int:
    """Call a function in another process; return the process's number."""
    process = os.fork()
    if process == 0:
        try:
            work()
        finally:
            os._exit(0)
    return process


def kill_at(event: str, number: int, work) -> bool:
    """Call a function in a process that is killed just before its number-th event of a kind; return whether it was."""

    def work_until_killed() -> None:
        seen = [0]

        def watch(name: str, _: object) -> None:
            seen[0] += name == event
            if name == event and seen[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        work()

    return os.waitstatus_to_exitcode(os.waitpid(fork(work_until_killed), 0)[1]) == -signal.SIGKILL


@on_linux
def test_the_next_run_removes_what_a_killed_run_left(folder, tmp_path) -> None:
    """For one file, several files and a demo; files that another process is writing stay."""

    def write_for_ever(path: Path) -> None:
        path.write_text("half")
        (tmp_path / "begun").touch()
        time.sleep(600)

    out = tmp_path / "out"
    out.mkdir()
    alive = fork(lambda: write_atomically(out / "alive.tif", write_for_ever))
    try:
        while not (tmp_path / "begun").exists():
            time.sleep(0.005)
        (kept,) = out.iterdir()
        for command in ([folder / "a.png", out / "a.tif"], [f"{folder}/b.t*", out / "sub", "--report", out / "r.csv"]):
            for name in ("a.tif", "r.csv", "plot.png"):
                assert kill_at("os.rename", 1, lambda name=name: write_atomically(out / name, lambda beside: None))
            assert len(list(out.glob(".*"))) == 4
            assert restore(*command).exit_code == 0
            assert list(out.glob(".*")) == [kept]
    finally:
        os.kill(alive, signal.SIGKILL)
        os.waitpid(alive, 0)
    assert restore(folder / "a.png", out / "b.tif").exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.tif", "b.tif", "r.csv", "sub"]


def is_whole(path: Path, value: int) -> bool:
    """Return whether a zarr is complete: every pixel, its channel names and its record."""
    if not path.exists():
        return False
    stack = open_stack(path)
    assert stack.channel_names == ("a", "b")
    return bool((np.asarray(stack.array) == value).all())


@on_linux
def test_a_kill_leaves_the_old_zarr_or_the_new(tmp_path) -> None:
    """Killed at every renaming and at many of the files created and removed; the next run repairs what is left."""
    like = Stack(None, "CYX", ("a", "b"))
    path = tmp_path / "out.zarr"

    def write(value: int) -> None:
        planes = [np.full((8, 8), value, np.uint8)] * 2
        write_stack(path, planes, (2, 8, 8), np.uint8, like, "CYX", {"settings": {}})

    seen = set()
    for event, numbers in (("os.rename", range(1, 40)), ("os.remove", range(1, 40, 3)), ("os.mkdir", range(1, 6)),
                           ("os.rmdir", range(1, 20)), ("open", range(1, 60, 7))):  # fmt: skip
        for number in numbers:
            if path.exists():
                shutil.rmtree(path)
            write(1)
            killed = kill_at(event, number, lambda: write(2))
            at_once = (is_whole(path, 1), is_whole(path, 2))
            seen.add(at_once)
            assert any(at_once) or not path.exists()
            remove_unfinished([tmp_path])
            assert is_whole(path, 1) or is_whole(path, 2)
            assert [each.name for each in tmp_path.iterdir()] == ["out.zarr"]
            if not killed:
                assert is_whole(path, 2)
                break
    assert seen == {(True, False), (False, True), (False, False)}  # between the two renamings there is none


def test_a_file_without_disk_space_does_not_stop_the_others(tmp_path, camera) -> None:
    resource = pytest.importorskip("resource")
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    for name, repeats in (("a.tif", 1), ("b.tif", 6), ("c.tif", 1)):
        tifffile.imwrite(data / name, np.tile(camera[:16, :16], (repeats, repeats)))
    limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, most))
    try:
        done = restore(data, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    assert done.exit_code == 1
    assert "2 done, 0 kept, 1 failed" in done.output
    assert "b.tif could not be written: the disk is full" in done.output.replace("\n", " ")
    assert sorted(path.name for path in out.iterdir()) == ["a.tif", "c.tif", "report.csv"]
