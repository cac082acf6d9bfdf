"""Planes and files on a real cluster of two processes: the results are the same, even if a worker dies."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile
import torch

import napari_dip
from napari_dip.many.file_job import FileJob
from napari_dip.many.folder import plan_jobs, restore_files
from napari_dip.many.tasks import run_tasks
from napari_dip.request import Request

distributed = pytest.importorskip("distributed")
SETTINGS = napari_dip.Settings(device="cpu", width=8, levels=2, step_limit=60, partner=False, stopping="fixed")


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the workers, because the last bit depends on it
    yield
    torch.set_num_threads(before)


@pytest.fixture
def client(monkeypatch, one_thread, kept_environment):
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
def test_every_task_runs_once_and_errors_do_not_stop_others(devices) -> None:
    outcomes = dict(run_tasks(double_slowly, ((n,) for n in range(8)), devices=devices))
    assert sorted(outcomes) == list(range(8))
    assert isinstance(outcomes.pop(3), ValueError)
    assert all(value == 2 * n for n, value in outcomes.items())


@pytest.mark.full
def test_neighbouring_planes_help_on_a_cluster(client, camera, small_settings) -> None:
    film = camera + np.random.default_rng(0).normal(0, 40, (5, *camera.shape)).astype(np.float32)
    here, there = np.zeros(film.shape, np.float32), np.zeros(film.shape, np.float32)
    list(napari_dip.restore_stack(film, "TYX", settings=small_settings, out=here))
    done = list(napari_dip.restore_stack(film, "TYX", settings=small_settings, out=there, client=client))
    assert [each.result.record.neighbours for each in done] == [4] * 5
    np.testing.assert_array_equal(there, here)


@pytest.mark.full
def test_planes_are_the_same_on_a_cluster(client, camera, small_settings) -> None:
    film = np.stack([np.roll(camera, 3 * n, axis=1) for n in range(4)])
    here, there = np.zeros(film.shape, np.float32), np.zeros(film.shape, np.float32)
    list(napari_dip.restore_stack(film, "TYX", settings=small_settings, out=here))
    done = list(napari_dip.restore_stack(film, "TYX", settings=small_settings, out=there, client=client))
    assert sorted(each.plane.place["T"] for each in done) == [0, 1, 2, 3]
    np.testing.assert_array_equal(here, there)


def plan_files(camera, tmp_path, count: int, *, resume: bool) -> list[FileJob]:
    data = tmp_path / "data"
    data.mkdir()
    for n in range(count):
        tifffile.imwrite(data / f"{n}.tif", np.roll(camera, 3 * n, axis=1))
    model = FileJob(data, tmp_path, request=Request(settings=SETTINGS), resume=resume)
    return plan_jobs(sorted(data.iterdir()), tmp_path / "out", model, suffix=None, mask=None)


@pytest.mark.full
def test_a_killed_worker_loses_nothing(client, camera, tmp_path) -> None:
    jobs = plan_files(camera, tmp_path, 6, resume=False)
    rows = []
    for row in restore_files(jobs, tmp_path / "out" / "r.csv", devices=(), client=client):
        if not rows:
            pids = client.run(os.getpid)
            os.kill(next(iter(pids.values())), signal.SIGKILL)
        rows.append(row)
    assert sorted(row.out for row in rows) == [str(job.out) for job in jobs]
    assert {row.status for row in rows} == {"done"}, rows
    for job in jobs:
        alone = napari_dip.restore(tifffile.imread(job.source), settings=SETTINGS)
        np.testing.assert_array_equal(tifffile.imread(job.out), alone.restored)
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".tif", ".csv"}


def test_a_cluster_without_workers_ends_with_an_error_message() -> None:
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        begin = time.monotonic()
        tasks = run_tasks(double_slowly, ((n,) for n in range(8)), client=client, devices=(), seconds_without_workers=1)
        with pytest.raises(ConnectionError, match="no workers; start some, then continue"):
            list(tasks)
        assert time.monotonic() - begin < 20
        begin = time.monotonic()
        stop = lambda: time.monotonic() > begin + 0.2  # noqa: E731
        assert list(run_tasks(double_slowly, ((1,),), client=client, devices=(), stop_requested=stop)) == []
        assert time.monotonic() - begin < 20


@pytest.fixture
def processes(tmp_path, monkeypatch):
    """Start a scheduler and a worker with their own commands, which do not restart them."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    told = str(tmp_path / "scheduler.json")
    begin = (sys.executable, "-m", "dask")
    commands = (
        (*begin, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", told),
        (*begin, "worker", "--scheduler-file", told, "--no-nanny", "--nthreads", "1", "--no-dashboard"),
    )
    started = [
        subprocess.Popen(each, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path) for each in commands
    ]
    with distributed.Client(scheduler_file=told, timeout=60, set_as_default=False) as client:
        client.wait_for_workers(1, timeout=60)
        yield client, *started
        for process in started:
            process.kill()
            process.wait()


@pytest.mark.full
@pytest.mark.parametrize("loss", ["worker killed", "scheduler killed", "scheduler hangs"])
def test_a_lost_scheduler_ends_with_an_error_and_loses_nothing(processes, camera, tmp_path, loss, one_thread) -> None:
    client, scheduler, worker = processes
    jobs = plan_files(camera, tmp_path, 8, resume=True)
    rows, lost = [], []

    def lose_it_after_the_first() -> None:
        for row in restore_files(jobs, tmp_path / "r.csv", devices=(), client=client, seconds_without_workers=4):
            rows.append(row)
            if not lost:
                process = worker if loss == "worker killed" else scheduler
                os.kill(process.pid, signal.SIGSTOP if loss == "scheduler hangs" else signal.SIGKILL)
                lost.append(time.monotonic())

    with pytest.raises(ConnectionError, match="everything finished is kept"):
        lose_it_after_the_first()
    assert time.monotonic() - lost[0] < 25
    assert {row.status for row in rows} == {"done"}
    os.kill(scheduler.pid, signal.SIGCONT)
    worker.kill()
    worker.wait()
    rest = list(restore_files(jobs, tmp_path / "r.csv", devices=("cpu",)))
    assert [row.status for row in rest if row.out == rows[0].out] == ["kept"]
    assert {row.status for row in rest} == {"done", "kept"}
    alone = napari_dip.restore(tifffile.imread(jobs[-1].source), settings=SETTINGS)
    np.testing.assert_array_equal(tifffile.imread(jobs[-1].out), alone.restored)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [job.out.name for job in jobs]
