"""Planes and files on a real cluster of two processes: the same results, whoever dies meanwhile."""

import os
import signal

import numpy as np
import pytest
import tifffile
import torch

import napari_dip
from napari_dip.many.file_job import FileJob
from napari_dip.many.folder import plan_jobs, restore_files
from napari_dip.many.tasks import run_tasks

distributed = pytest.importorskip("distributed")


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the workers: the last bit depends on how many
    yield
    torch.set_num_threads(before)


@pytest.fixture
def client(monkeypatch, one_thread):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def double_slowly(number: int, device: str) -> int:
    if number == 3:
        raise ValueError("three is a bad file")
    return 2 * number


@pytest.mark.parametrize("devices", [("cpu",), ("cpu", "cpu", "cpu")])
def test_every_task_comes_once_and_errors_stop_no_other(devices) -> None:
    outcomes = dict(run_tasks(double_slowly, ((n,) for n in range(8)), devices=devices))
    assert sorted(outcomes) == list(range(8))
    assert isinstance(outcomes.pop(3), ValueError)
    assert all(value == 2 * n for n, value in outcomes.items())


@pytest.mark.full
def test_planes_are_the_same_on_a_cluster(client, camera, small_settings) -> None:
    film = np.stack([np.roll(camera, 3 * n, axis=1) for n in range(4)])
    here, there = np.zeros(film.shape, np.float32), np.zeros(film.shape, np.float32)
    list(napari_dip.restore_stack(film, "TYX", settings=small_settings, out=here))
    done = list(napari_dip.restore_stack(film, "TYX", settings=small_settings, out=there, client=client))
    assert sorted(each.plane.place["T"] for each in done) == [0, 1, 2, 3]
    np.testing.assert_array_equal(here, there)


@pytest.mark.full
def test_a_killed_worker_loses_nothing(client, camera, tmp_path) -> None:
    settings = napari_dip.Settings(device="cpu", width=8, levels=2, step_limit=60, partner=False, stopping="fixed")
    data = tmp_path / "data"
    data.mkdir()
    for n in range(6):
        tifffile.imwrite(data / f"{n}.tif", np.roll(camera, 3 * n, axis=1))
    jobs = plan_jobs(sorted(data.iterdir()), tmp_path / "out", FileJob(data, tmp_path, settings=settings), suffix=None,
                     mask=None)  # fmt: skip
    rows = []
    for row in restore_files(jobs, tmp_path / "out" / "r.csv", devices=(), client=client):
        if not rows:
            pids = client.run(os.getpid)
            os.kill(next(iter(pids.values())), signal.SIGKILL)
        rows.append(row)
    assert sorted(row.out for row in rows) == [str(job.out) for job in jobs]
    assert {row.status for row in rows} == {"done"}, rows
    for job in jobs:
        alone = napari_dip.restore(tifffile.imread(job.source), settings=settings)
        np.testing.assert_array_equal(tifffile.imread(job.out), alone.restored)
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".tif", ".csv"}
