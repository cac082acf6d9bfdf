"""A folder of files: finished outputs are kept, partial ones never appear, one bad file stops no other."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile
from skimage import io
from typer.testing import CliRunner

import napari_dip
from napari_dip.command_line import app
from napari_dip.many.file_job import FileJob
from napari_dip.many.folder import plan_jobs, read_report, restore_files
from napari_dip.many.kept_planes import folder_of_planes
from napari_dip.many.stack_files import open_stack

QUICK = ["--device", "cpu", "--step-limit", "10", "--set", "width=8", "--set", "levels=2", "--set", "partner=false"]


def run(*arguments: object):
    return CliRunner().invoke(app, ["restore", *(str(each) for each in arguments), *QUICK])


@pytest.fixture
def folder(tmp_path, camera):
    """A folder of two images, a stack, a broken file and one that is no image."""
    data = tmp_path / "data"
    data.mkdir()
    io.imsave(data / "a.png", camera, check_contrast=False)
    tifffile.imwrite(data / "b.tif", camera[::-1].astype(np.uint16))
    tifffile.imwrite(data / "c.ome.tif", np.stack([camera, camera // 2]),
                     metadata={"axes": "TYX", "TimeIncrement": 2.0}, photometric="minisblack")  # fmt: skip
    (data / "d.tif").write_text("no image")
    (data / "notes.txt").write_text("no image at all")
    return data


def test_all_that_can_be_restored_is(folder, tmp_path) -> None:
    done = run(folder, tmp_path / "out")
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


def test_what_is_done_is_kept(folder, tmp_path) -> None:
    (folder / "d.tif").unlink()
    out = tmp_path / "out"
    first = run(f"{folder}/[ac]*", out, "--report", out / "r.json")
    assert first.exit_code == 0, first.output
    assert run(folder, out).exit_code == 1  # without --resume nothing is overwritten
    before = (out / "a.tif").stat().st_mtime_ns, read_report(out / "r.json")[str(out / "a.tif")]
    (out / ".b.tif.unfinished-xyz.tif").write_text("half")
    again = run(folder, out, "--resume", "--report", out / "r.json")
    assert "1 done, 2 kept, 0 failed" in again.output
    assert again.exit_code == 0
    assert (out / "a.tif").stat().st_mtime_ns == before[0]
    row = read_report(out / "r.json")[str(out / "a.tif")]
    assert (row.status, row.step, row.noise) == ("kept", before[1].step, before[1].noise)
    assert not list(out.glob(".*"))


def test_masks_go_by_name(folder, tmp_path, camera) -> None:
    (tmp_path / "masks").mkdir()
    mask = np.zeros(camera.shape, np.uint8)
    mask[10:14] = 1
    io.imsave(tmp_path / "masks" / "a_mask.png", mask, check_contrast=False)
    done = run(f"{folder}/[ab].*", tmp_path / "out", "--task", "inpaint", "--mask", tmp_path / "masks/{stem}_mask.png",
               "--suffix", ".png")  # fmt: skip
    assert "1 done, 0 kept, 1 failed" in done.output
    assert "there is no file" in done.output  # the mask of b
    np.testing.assert_array_equal(io.imread(tmp_path / "out" / "a.png")[mask == 0], camera[mask == 0])


def test_two_files_do_not_share_an_output(folder, tmp_path) -> None:
    with pytest.raises(ValueError, match="would both become"):
        plan_jobs([folder / "a.png", folder / "a.tif"], tmp_path, FileJob(folder, tmp_path), suffix=None, mask=None)
    with pytest.raises(ValueError, match="its own output"):
        plan_jobs([folder / "b.tif"], folder, FileJob(folder, tmp_path), suffix=None, mask=None)


def test_a_stopped_file_is_done_again(folder, tmp_path, small_settings) -> None:
    jobs = plan_jobs([folder / "a.png", folder / "b.tif"], tmp_path / "out",
                     FileJob(folder, tmp_path, settings=small_settings), suffix=None, mask=None)  # fmt: skip
    asked = iter(range(10_000))
    rows = list(restore_files(jobs, tmp_path / "r.json", devices=("cpu",), stop_requested=lambda: next(asked) > 5))
    assert [row.status for row in rows] == ["failed", "failed"]
    assert "stopped" in rows[0].error
    assert "not begun" in rows[1].error
    assert not list((tmp_path / "out").iterdir())


def test_one_device_has_one_task_at_a_time(folder, tmp_path, small_settings) -> None:
    model = FileJob(folder, tmp_path, settings=small_settings)
    files = [folder / "a.png", folder / "b.tif", folder / "c.ome.tif"]
    one = plan_jobs(files, tmp_path / "one", model, suffix=None, mask=None)
    two = plan_jobs(files, tmp_path / "two", model, suffix=None, mask=None)
    assert [row.status for row in restore_files(one, tmp_path / "one/r.csv", devices=("cpu",))] == ["done"] * 3
    assert [row.status for row in restore_files(two, tmp_path / "two/r.csv", devices=("cpu", "cpu"))] == ["done"] * 3
    for name in ("a.tif", "b.tif", "c.ome.tif"):
        np.testing.assert_array_equal(
            tifffile.imread(tmp_path / "one" / name), tifffile.imread(tmp_path / "two" / name)
        )


def test_killed_and_resumed_nothing_is_lost(tmp_path, camera) -> None:
    """Kill -9 between planes: the output is not there; then it goes on with the planes that were done."""
    film = np.stack([np.roll(camera, 5 * n, axis=0) for n in range(6)])
    tifffile.imwrite(tmp_path / "film.ome.tif", film, metadata={"axes": "TYX"}, photometric="minisblack")
    out = tmp_path / "out.ome.tif"
    arguments = ["restore", str(tmp_path / "film.ome.tif"), str(out), *QUICK]
    process = subprocess.Popen([sys.executable, "-c", "from napari_dip.command_line import main; main()", *arguments],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    planes = folder_of_planes(out)
    end = time.monotonic() + 120
    while len(list(planes.rglob("record_*.json"))) < 2 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not out.exists()
    kept = {path.name: path.stat().st_mtime_ns for path in planes.rglob("record_*.json")}
    assert len(kept) >= 2
    done = CliRunner().invoke(app, [*arguments, "--resume"])
    assert done.exit_code == 0, done.output
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    settings = napari_dip.Settings(device="cpu", step_limit=10, width=8, levels=2, partner=False)
    expected = np.zeros(film.shape, np.float32)
    list(napari_dip.restore_stack(film, "TYX", settings=settings, out=expected))
    np.testing.assert_array_equal(tifffile.imread(out), expected)


def test_a_full_disk_leaves_no_half_file(tmp_path, camera) -> None:
    """On a disk of 64 kB the second output finds no room: it fails in a sentence, and there is only the first."""
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
        done = run(data, disk / "out")
        assert done.exit_code == 1
        assert "1 done, 0 kept, 1 failed" in done.output
        assert "the disk is full" in done.output
        assert sorted(path.name for path in (disk / "out").iterdir()) == ["a.tif", "report.csv"]
        assert tifffile.imread(disk / "out" / "a.tif").shape == (96, 120)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
