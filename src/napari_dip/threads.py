"""How torch's threads wait for one another on a CPU: soon asleep, so that other work on the machine holds nobody up.

A step is hundreds of small operations, each shared by one thread a core, and at the end of each the threads wait for
the slowest. OpenMP lets them wait spinning, the GNU one (torch's on Linux) for 300,000 turns: 8 ms were measured. If a
thread's core is taken by another process, those that spin for it use up their own share of the processor with nothing.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

_POLITE = {
    "GOMP_SPINCOUNT": "1000",  # some 25 µs: with none a run alone takes longer, with more one beside others
    "OMP_WAIT_POLICY": "PASSIVE",  # for other OpenMPs than GNU's, which obeys its own variable first
}
_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
_VALUES_PER_THREAD = 32_768  # with fewer, torch lets fewer threads work (at::internal::GRAIN_SIZE)


def let_waiting_threads_sleep(environment: MutableMapping[str, str] | None = None) -> None:
    """Set how the threads of this process and of those it starts will wait, unless the user has.

    To be called before torch is imported, and only in a process of our own: OpenMP reads the environment once, when it
    is loaded.

    Parameters
    ----------
    environment : mutable mapping, optional
        Default: ``os.environ``. The OpenMP of GNU (Linux) obeys ``GOMP_SPINCOUNT``, those of LLVM (macOS) and of Intel
        (Windows) the standard's ``OMP_WAIT_POLICY``; with any variable of theirs about waiting set, nothing is changed.
        How many threads there are is left to ``OMP_NUM_THREADS`` and torch.

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
    """Let torch's threads spin but shortly while this lasts, in a process whose environment is not ours to set.

    The OpenMP of GNU spins for 100 turns, not 300,000, where a process has more OpenMP threads than cores (its manual,
    ``GOMP_SPINCOUNT``). So there are to be more: threads that do one operation, and sleep till the end. No variable,
    number of threads or result changes. Where OpenMP is another's (macOS, Windows), or the user has set how threads
    wait, nothing is done.
    """
    if sys.platform != "linux" or any(name in os.environ for name in _VARIABLES):
        yield
        return
    import torch

    each = torch.get_num_threads()
    cores = len(os.sched_getaffinity(0))
    over = threading.Event()
    leaders: list[threading.Thread] = []
    count = each  # as libgomp counts: the process's first thread, and of the run's team all but the one that leads it
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
    """Do one operation with so many threads, which stay, asleep, until it is over."""
    import torch

    try:
        torch.zeros(threads * _VALUES_PER_THREAD).add_(1)
    finally:
        formed.set()
    over.wait()
