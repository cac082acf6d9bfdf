"""Run planes or files as tasks: one after another, one per device, or on a cluster."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..device import Precision

SECONDS_WITHOUT_WORKERS = 30.0  # the longest that a cluster may have no worker, or its scheduler not answer
_SECONDS_BETWEEN_POLLS = 0.05  # of a cluster's results
_QUEUED_PER_THREAD = 2  # tasks on a cluster: enough that no worker waits, few enough to fit into memory

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
    """Call a function for each of some arguments; yield each outcome once, as it arrives.

    Parameters
    ----------
    function : callable
        ``function(*arguments, device)``. If a cluster loses a worker, it may call the function again with the same
        arguments; files must then end up as after one call.
    arguments : iterable of tuple
        Taken one by one, as needed.
    client : distributed.Client, optional
        Of a cluster; a task then gets the device ``"auto"`` of its worker.
    devices : tuple of str
        Of this machine. Each runs one task at a time, in order. With several devices, each has a thread; with one, its
        tasks run in the caller's thread.
    stop_requested : callable
        Called while waiting for a cluster; iteration ends when it returns True.
    abandoned : Event, optional
        Set when iteration ends early while tasks are running on several devices. The caller waits for them, so they
        should watch it and end.
    seconds_without_workers : float
        The longest that a cluster may have no worker, or its scheduler not answer.

    Yields
    ------
    (int, result or Exception)
        The number of the arguments, and the function's result or exception.

    Raises
    ------
    ConnectionError
        If the cluster has no workers or the scheduler is lost.
    """
    if client is not None:
        return _run_on_cluster(function, arguments, client, stop_requested, seconds_without_workers)
    if len(devices) == 1:
        return _run_in_turn(function, arguments, devices[0])
    return _run_in_threads(function, arguments, devices, threading.Event() if abandoned is None else abandoned)


def find_devices(device: str, precision: Precision = "auto") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the devices that ``Settings.device`` stands for: all CUDA GPUs for ``"auto"``, if there are several.

    Parameters
    ----------
    device, precision
        As in ``Settings``.

    Returns
    -------
    devices : tuple of str
        Those that compute what the CPU computes. If several GPUs exist and none does, ``"auto"``, which then means the
        CPU.
    refusals : tuple of str
        A sentence for each device that is left out.
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
    """Connect to the dask scheduler at an address; return a client.

    Raises
    ------
    ValueError
        If distributed is not installed or no scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError('a cluster needs dask.distributed; pip install "napari-dip[cluster]".') from error
    try:
        return Client(address, timeout=20)
    except (OSError, ValueError, TimeoutError) as error:
        raise ValueError(f"no dask scheduler answers at {address} ({error}); check the address.") from error


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
    outcomes: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()

    def work(device: str) -> None:
        try:
            while not abandoned.is_set():
                with lock:
                    number, each = next(waiting, (None, ()))
                if number is None:
                    return
                try:
                    outcomes.put((number, function(*each, device)))
                except Exception as error:  # one bad file never stops the rest
                    outcomes.put((number, error))
        finally:
            outcomes.put(None)

    threads = [threading.Thread(target=work, args=(device,), name=f"napari-dip on {device}") for device in devices]
    for thread in threads:
        thread.start()
    try:
        running = len(threads)
        while running:
            outcome = outcomes.get()
            running -= outcome is None
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
    numbers: dict[Any, int] = {}  # of the tasks that are on the cluster
    finished = as_completed(loop=client.loop, with_results=True, raise_errors=False)
    workers = _Workers(client, seconds_without_workers)
    all_submitted = False
    try:
        while not stop_requested():
            workers.check()
            while not all_submitted and len(numbers) < _QUEUED_PER_THREAD * max(1, workers.threads):
                number, each = next(waiting, (-1, ()))
                if number < 0:
                    all_submitted = True
                    break
                future = _submit(client, function, each)
                numbers[future] = number
                finished.add(future)
            if not numbers:
                return
            batch = finished.next_batch(block=False)
            if not batch:
                time.sleep(_SECONDS_BETWEEN_POLLS)
            for future, outcome in batch:
                if future.status == "cancelled":
                    raise ConnectionError(_SCHEDULER_LOST)
                if future.status == "error":
                    _, outcome, _ = outcome  # type, exception and traceback
                    outcome = _explain(outcome)
                number = numbers.pop(future)
                future.release()
                yield number, outcome
    finally:
        for future in numbers:
            future.release()  # tasks that have not started are withdrawn


_SCHEDULER_LOST = "the dask scheduler was lost; start it again, then continue: everything finished is kept."


class _Workers:
    """Checks from time to time whether a cluster still has workers.

    Parameters
    ----------
    client : distributed.Client
    patience : float
        Seconds.

    Attributes
    ----------
    threads : int
        The number of threads that all workers have.
    """

    def __init__(self, client: Any, patience: float) -> None:
        self._client, self._patience = client, patience
        self._pause = patience / 10
        self._without = 0.0  # seconds without workers; a long pause between checks counts only in part
        self._last: float | None = None
        self.threads = 0

    def check(self) -> None:
        """Count the workers' threads, if it is time to.

        Raises
        ------
        ConnectionError
            If there has been no worker for too long.
        """
        if self._last is not None and time.monotonic() < self._last + self._pause:
            return
        since, answered = self._last, True
        try:
            threads = self._client.sync(self._client.scheduler.ncores, callback_timeout=self._pause)
            self.threads = sum(threads.values())
        except Exception:  # a lost connection raises many kinds of exception
            answered = False
        self._last = time.monotonic()
        if answered and self.threads:
            self._without = 0.0
            return
        if self._client.status in ("closing", "closed"):
            raise ConnectionError(_SCHEDULER_LOST)
        self._without += 0.0 if since is None else min(self._last - since, 2 * self._pause)
        if self._without + self._pause > self._patience:  # better a little early than late
            lack = "had no workers; start some" if answered else "not answered; start it again"
            raise ConnectionError(
                f"for {self._patience:.0f} s the dask scheduler has {lack}, then continue: everything finished is kept."
            )


def _submit(client: Any, function: Callable[..., Any], each: tuple[Any, ...]) -> Any:
    try:
        return client.submit(function, *each, "auto", pure=False)
    except Exception as error:
        if client.status == "running":
            raise
        raise ConnectionError(_SCHEDULER_LOST) from error


def _explain(error: Exception) -> Exception:
    """Return a worker's error; if it is the cluster's fault and not the task's, explain it in a sentence."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return ConnectionError(
            "every worker that tried it died; it may need more memory than a worker has. See the workers' logs."
        )
    if isinstance(error, ImportError):
        return ConnectionError(f"the workers lack a package ({error}); install the same napari-dip on all of them.")
    return error
