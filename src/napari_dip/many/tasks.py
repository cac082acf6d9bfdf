"""Planes and files as tasks: one after another, one for each device here, or on a cluster."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..device import Precision

_WAITING_PER_THREAD = 2  # tasks that a cluster is given ahead: no worker waits, and no more than these are in memory

Outcome = tuple[int, Any]


def run_tasks(
    function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]], *, client: Any = None, devices: tuple[str, ...]
) -> Iterator[Outcome]:
    """Call a function for each of some arguments; yield each outcome once, as it comes.

    Parameters
    ----------
    function : callable
        ``function(*arguments, device)``. On a cluster it may be called again for the same arguments, if a worker is
        lost: what it writes must then be written as if it had been called once.
    arguments : iterable of tuple
        Taken one by one, as they are needed.
    client : distributed.Client, optional
        Of a cluster; a task then has the device ``"auto"`` of its worker.
    devices : tuple of str
        Of this machine. A device has one task at a time. With several, dask's threaded scheduler gives them out; with
        one, they are done one after another by the caller's own thread.

    Yields
    ------
    (int, result or Exception)
        The number of the arguments, and what became of them.
    """
    if client is not None:
        return _run_on_cluster(function, arguments, client)
    if len(devices) == 1:
        return _run_in_turn(function, arguments, devices[0])
    return _run_in_threads(function, arguments, devices)


def find_devices(device: str, precision: Precision = "auto") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the devices that ``Settings.device`` stands for: of ``"auto"`` all CUDA GPUs, where there are several.

    Parameters
    ----------
    device, precision
        As ``Settings`` has them.

    Returns
    -------
    devices : tuple of str
        Those that compute what the CPU does; if none of several does, ``"auto"``, which is then the CPU.
    refusals : tuple of str
        Why others are left out, a sentence each.
    """
    import torch

    from ..device_check import choose_proven_device

    if device != "auto" or torch.cuda.device_count() < 2:
        return (device,), ()
    proven, refusals = [], []
    for name in (f"cuda:{number}" for number in range(torch.cuda.device_count())):
        try:
            proven.append(choose_proven_device(name, precision).device)
        except ValueError as error:
            refusals.append(str(error))
    return tuple(proven) or ("auto",), tuple(refusals)


def connect(address: str) -> Any:
    """Return a client of the dask scheduler at an address.

    Raises
    ------
    ValueError
        If distributed is not installed or nobody answers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError('a scheduler needs dask.distributed: pip install "napari-dip[cluster]".') from error
    try:
        return Client(address, timeout=20)
    except (OSError, ValueError, TimeoutError) as error:
        raise ValueError(f"no dask scheduler answers at {address}: {error}") from error


def _run_in_turn(function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]], device: str) -> Iterator[Outcome]:
    for number, each in enumerate(arguments):
        try:
            outcome = function(*each, device)
        except Exception as error:  # one bad file never stops the rest
            outcome = error
        yield number, outcome


def _run_in_threads(
    function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]], devices: tuple[str, ...]
) -> Iterator[Outcome]:
    import dask

    free: queue.SimpleQueue[str] = queue.SimpleQueue()
    for device in devices:
        free.put(device)
    done: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
    abandoned = threading.Event()

    def run(number: int, each: tuple[Any, ...]) -> None:
        if abandoned.is_set():
            return
        device = free.get()
        try:
            done.put((number, function(*each, device)))
        except Exception as error:
            done.put((number, error))
        finally:
            free.put(device)

    def run_all() -> None:
        tasks = [dask.delayed(run)(number, each) for number, each in enumerate(arguments)]
        try:
            dask.compute(*tasks, scheduler="threads", num_workers=len(devices))
        finally:
            done.put(None)

    thread = threading.Thread(target=run_all, name="napari-dip tasks", daemon=True)
    thread.start()
    try:
        while (outcome := done.get()) is not None:
            yield outcome
    finally:
        abandoned.set()


def _run_on_cluster(
    function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]], client: Any
) -> Iterator[Outcome]:
    from distributed import as_completed

    threads = sum(client.nthreads().values()) or 1
    waiting = iter(enumerate(arguments))
    numbers: dict[str, int] = {}
    futures = as_completed()
    in_flight = 0

    def submit() -> bool:
        for number, each in waiting:
            future = client.submit(function, *each, "auto", pure=False)
            numbers[future.key] = number
            futures.add(future)
            return True
        return False

    while in_flight < _WAITING_PER_THREAD * threads and submit():
        in_flight += 1
    while in_flight:
        future = next(futures)
        error = future.exception()
        outcome = future.result() if error is None else error
        yield numbers.pop(future.key), outcome
        future.release()
        in_flight += submit() - 1
