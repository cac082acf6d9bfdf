"""Lock outputs while a process works on them, so that no other process touches them."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ..whole_files import hide, remove_unfinished

_SECONDS_BETWEEN_TRIES = 0.05
_KNOWS_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


@contextmanager
def hold_outputs(paths: Iterable[Path], seconds: float = 0.0) -> Iterator[None]:
    """Hold a lock on each output; the operating system releases it when the process ends, however it ends.

    The lock is on a hidden file beside the output, which is removed afterwards. If the file system does not support
    locks (some network mounts), nothing is locked.

    Parameters
    ----------
    paths : iterable of Path
    seconds : float
        How long to wait for another process that holds a lock.

    Raises
    ------
    BlockingIOError
        If another process, or another run in this one, is working on one of them.
    """
    with ExitStack() as held:
        for path in sorted(set(paths)):  # always in the same order, so that two processes never wait for each other
            held.enter_context(_hold(path, seconds))
        yield


def find_lock_file(path: Path) -> Path:
    """Return the hidden lock file of an output."""
    return hide(path, "lock")


def remove_leftovers(outputs: Iterable[Path]) -> None:
    """Remove what killed runs left beside these outputs, except where an output is locked now.

    Each folder is listed only twice, however many outputs it has.
    """
    by_folder: dict[Path, set[str]] = {}
    for path in outputs:
        by_folder.setdefault(path.parent, set()).add(path.name)
    remove_unfinished(by_folder)
    for folder, names in by_folder.items():
        existing: set[str] = set()
        with suppress(OSError):  # errors are reported when the folder is written to
            existing.update(os.listdir(folder))
        for path in (folder / name for name in sorted(names)):
            if find_lock_file(path).name in existing:
                with suppress(BlockingIOError), hold_outputs([path]):
                    pass  # releasing the lock removes its file


@contextmanager
def _hold(path: Path, seconds: float) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + seconds
    lock = _lock(path)
    while lock is None and time.monotonic() < end:
        time.sleep(_SECONDS_BETWEEN_TRIES)
        lock = _lock(path)
    if lock is None:
        raise BlockingIOError(f"another process is working on {path}; wait until it is finished, or end it.")
    try:
        yield
    finally:
        if os.name != "nt":  # Windows cannot remove an open file; there filelock removes it
            find_lock_file(path).unlink(missing_ok=True)  # before the release; after it, the file may be another's
        lock.release()


def _lock(path: Path) -> FileLock | None:
    """Acquire the lock of an output and return it; None if another process has it."""
    name = find_lock_file(path)
    while True:
        opened = os.open(name, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            lock = FileLock(name, thread_local=False)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                return None
            except NotImplementedError:
                return lock
            except OSError as error:
                if error.errno in _KNOWS_NO_LOCKS:
                    return lock
                raise
            # the previous holder may have removed the file between the two opens; then this lock is worthless
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(opened), os.stat(name)):
                    return lock
            lock.release()
        finally:
            os.close(opened)
