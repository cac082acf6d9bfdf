"""Planes and files as tasks: one after another, one for each device here, or on a cluster."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..device import Precision

SECONDS_WITHOUT_WORKERS = 30.0  # that a cluster is given to find one, or the scheduler to answer
_SECONDS_BETWEEN_LOOKS = 0.05  # at what a cluster has done
_WAITING_PER_THREAD = 2  # tasks that a cluster is given ahead: no worker waits, and no more than these are in memory

Outcome = tuple[int, Any]


def run_tasks(
    function: Callable[..., Any],
    arguments: Iterable[tuple[Any, ...]],
    *,
    client: Any = None,
    devices: tuple[str, ...],
    stop_requested: Callable[[], bool] = lambda: False,
    abandoned: threading.Event | None = None,
    seconds_without_workers: float = SECONDS_WITHOUT_WORKERS,
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
        Of this machine. Each has one task at a time, given out in order: with several in a thread for each, with one in
        the caller's own.
    stop_requested : callable
        Asked while a cluster is waited for: when it returns True, iteration ends.
    abandoned : Event, optional
        Set when iteration ends before all is done, if tasks of several devices are still at work: they are waited for,
        so they should look at it and end.
    seconds_without_workers : float
        So long a cluster may have no worker, or its scheduler may not answer.

    Yields
    ------
    (int, result or Exception)
        The number of the arguments, and what became of them.

    Raises
    ------
    ConnectionError
        If a cluster has no worker or the scheduler is gone.
    """
    if client is not None:
        return _run_on_cluster(function, arguments, client, stop_requested, seconds_without_workers)
    if len(devices) == 1:
        return _run_in_turn(function, arguments, devices[0])
    return _run_in_threads(function, arguments, devices, threading.Event() if abandoned is None else abandoned)


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
    function: Callable[..., Any],
    arguments: Iterable[tuple[Any, ...]],
    devices: tuple[str, ...],
    abandoned: threading.Event,
) -> Iterator[Outcome]:
    waiting, lock = iter(enumerate(arguments)), threading.Lock()
    done: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()

    def work(device: str) -> None:
        try:
            while not abandoned.is_set():
                with lock:
                    number, each = next(waiting, (None, ()))
                if number is None:
                    return
                try:
                    done.put((number, function(*each, device)))
                except Exception as error:  # one bad file never stops the rest
                    done.put((number, error))
        finally:
            done.put(None)

    threads = [threading.Thread(target=work, args=(device,), name=f"napari-dip on {device}") for device in devices]
    for thread in threads:
        thread.start()
    try:
        left = len(threads)
        while left:
            outcome = done.get()
            left -= outcome is None
            if outcome is not None:
                yield outcome
    finally:
        abandoned.set()
        for thread in threads:
            thread.join()


def _run_on_cluster(
    function: Callable[..., Any],
    arguments: Iterable[tuple[Any, ...]],
    client: Any,
    stop_requested: Callable[[], bool],
    seconds_without_workers: float,
) -> Iterator[Outcome]:
    from distributed import as_completed

    waiting = iter(enumerate(arguments))
    numbers: dict[Any, int] = {}  # of those that the cluster has
    finished = as_completed(loop=client.loop, with_results=True, raise_errors=False)
    workers = _Workers(client, seconds_without_workers)
    all_given = False
    try:
        while not stop_requested():
            workers.look()
            while not all_given and len(numbers) < _WAITING_PER_THREAD * max(1, workers.threads):
                number, each = next(waiting, (-1, ()))
                if number < 0:
                    all_given = True
                    break
                future = _submit(client, function, each)
                numbers[future] = number
                finished.add(future)
            if not numbers:
                return
            batch = finished.next_batch(block=False)
            if not batch:
                time.sleep(_SECONDS_BETWEEN_LOOKS)
            for future, outcome in batch:
                if future.status == "cancelled":
                    raise ConnectionError(_SCHEDULER_LOST)
                if future.status == "error":
                    _, outcome, _ = outcome  # its type, itself and where
                    outcome = _explain(outcome)
                number = numbers.pop(future)
                future.release()
                yield number, outcome
    finally:
        for future in numbers:
            future.release()  # what is not begun is taken back


_SCHEDULER_LOST = "the dask scheduler was lost; start it again, then go on: what is done is kept."


class _Workers:
    """Looks, now and then, whether a cluster still has workers.

    Parameters
    ----------
    client : distributed.Client
    patience : float
        Seconds.

    Attributes
    ----------
    threads : int
        That the workers have.
    """

    def __init__(self, client: Any, patience: float) -> None:
        self._client, self._patience = client, patience
        self._pause = patience / 10
        self._without = 0.0  # seconds, of those between looks: whoever takes the outcomes may pause
        self._last: float | None = None
        self.threads = 0

    def look(self) -> None:
        """Count the workers, if it is time to.

        Raises
        ------
        ConnectionError
            If there has been none for too long.
        """
        if self._last is not None and time.monotonic() < self._last + self._pause:
            return
        since, answered = self._last, True
        try:
            told = self._client.sync(self._client.scheduler.ncores, callback_timeout=self._pause)
            self.threads = sum(told.values())
        except Exception:  # a connection that is lost shows itself in many ways
            answered = False
        self._last = time.monotonic()
        if answered and self.threads:
            self._without = 0.0
            return
        if self._client.status in ("closing", "closed"):
            raise ConnectionError(_SCHEDULER_LOST)
        self._without += 0.0 if since is None else min(self._last - since, 2 * self._pause)
        if self._without + self._pause > self._patience:  # rather a little early than late
            lack = "had no worker; start some" if answered else "not answered; start it again"
            raise ConnectionError(
                f"for {self._patience:.0f} s the dask scheduler has {lack}, then go on: what is done is kept."
            )


def _submit(client: Any, function: Callable[..., Any], each: tuple[Any, ...]) -> Any:
    try:
        return client.submit(function, *each, "auto", pure=False)
    except Exception as error:
        if client.status == "running":
            raise
        raise ConnectionError(_SCHEDULER_LOST) from error


def _explain(error: Exception) -> Exception:
    """Return an error of a worker; where it is the cluster's rather than the task's, in a sentence."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return ConnectionError(
            "every worker that was given it died; it may need more memory than a worker has, see the workers' logs."
        )
    if isinstance(error, ImportError):
        return ConnectionError(f"the workers lack a package ({error}): install the same napari-dip on all of them.")
    return error
