"""How torch's threads wait for one another on a CPU: they soon sleep, so that other programs do not slow them down.

A step is hundreds of small operations. Each is split over one thread per core, and at its end the threads wait for the
slowest. OpenMP lets them spin while they wait; GNU's (torch's on Linux) spins for 300,000 turns, measured as 8 ms. If
another process has taken a thread's core, the threads that spin for it waste their own share of the processor.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

_POLITE = {
    "GOMP_SPINCOUNT": "1000",  # some 25 µs: fewer slow a run alone, more slow a run beside other programs
    "OMP_WAIT_POLICY": "PASSIVE",  # for other OpenMPs; GNU's obeys its own variable first
}
_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
_VALUES_PER_THREAD = 32_768  # with fewer, torch uses fewer threads (at::internal::GRAIN_SIZE)


def let_waiting_threads_sleep(environment: MutableMapping[str, str] | None = None) -> None:
    """Set how threads wait in this process and in those it starts, unless the user has set it.

    Call this before torch is imported, because OpenMP reads the environment once, when it is loaded; and only in a
    process of our own.

    Parameters
    ----------
    environment : mutable mapping, optional
        Default: ``os.environ``. GNU's OpenMP (Linux) obeys ``GOMP_SPINCOUNT``; LLVM's (macOS) and Intel's (Windows)
        obey the standard ``OMP_WAIT_POLICY``. If any of their variables about waiting is set, nothing is changed. The
        number of threads is left to ``OMP_NUM_THREADS`` and torch.

    Notes
    -----
    Sources: libgomp's manual, ``OMP_WAIT_POLICY`` and ``GOMP_SPINCOUNT``; LLVM's D18577, by which PASSIVE is
    ``KMP_BLOCKTIME=0``.
    """
    environment = os.environ if environment is None else environment
    if not any(name in environment for name in _VARIABLES):
        environment.update(_POLITE)


@contextmanager
def shorten_waits() -> Iterator[None]:
    """Make torch's threads spin only briefly for a while, in a process whose environment is not ours to set.

    GNU's OpenMP spins for 100 turns, not 300,000, if a process has more OpenMP threads than cores (its manual,
    ``GOMP_SPINCOUNT``). So this adds threads that do one operation and then sleep to the end. Variables, the number of
    threads that compute and results do not change. With another OpenMP (macOS, Windows), or if the user has set how
    threads wait, this does nothing.
    """
    if sys.platform != "linux" or any(name in os.environ for name in _VARIABLES):
        yield
        return
    import torch

    each = torch.get_num_threads()
    cores = len(os.sched_getaffinity(0))
    over = threading.Event()
    leaders: list[threading.Thread] = []
    count = each  # as libgomp counts: the process's first thread, and the run's team without its leader
    try:
        while each > 1 and count <= cores:
            formed = threading.Event()
            leaders.append(threading.Thread(target=_form_team, args=(each, formed, over), daemon=True))
            leaders[-1].start()
            formed.wait()
            count += each - 1
        yield
    finally:
        over.set()
        for leader in leaders:
            leader.join()


def _form_team(threads: int, formed: threading.Event, over: threading.Event) -> None:
    """Run one operation with this many threads, and keep them asleep until ``over`` is set."""
    import torch

    try:
        torch.zeros(threads * _VALUES_PER_THREAD).add_(1)
    finally:
        formed.set()
    over.wait()
