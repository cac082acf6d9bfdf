"""Outputs are held while a process works on them: no other writes, keeps or removes anything of theirs meanwhile."""

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
    """Hold outputs; the operating system ends the hold with the process, however that ends.

    What holds them is a lock on a hidden file beside each, which is gone afterwards. Where the file system knows no
    locks (some network mounts), nothing is held.

    Parameters
    ----------
    paths : iterable of Path
    seconds : float
        How long to wait for another process that holds one.

    Raises
    ------
    BlockingIOError
        If another process, or another run of this one, is at work on one of them.
    """
    with ExitStack() as held:
        for path in sorted(set(paths)):  # in one order, so that no two wait for each other
            held.enter_context(_hold(path, seconds))
        yield


def lock_of(path: Path) -> Path:
    """Return the hidden file that is locked while a process works on an output."""
    return hide(path, "lock")


def remove_leftovers(outputs: Iterable[Path]) -> None:
    """Remove what killed runs have left of outputs and beside them; of those that are held now, nothing.

    Each folder is listed twice, however many outputs it has.
    """
    by_folder: dict[Path, set[str]] = {}
    for path in outputs:
        by_folder.setdefault(path.parent, set()).add(path.name)
    remove_unfinished(by_folder)
    for folder, names in by_folder.items():
        there: set[str] = set()
        with suppress(OSError):  # what cannot be listed, others speak of
            there.update(os.listdir(folder))
        for path in (folder / name for name in sorted(names)):
            if lock_of(path).name in there:
                with suppress(BlockingIOError), hold_outputs([path]):
                    pass  # and with that it is gone


@contextmanager
def _hold(path: Path, seconds: float) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + seconds
    lock = _lock(path)
    while lock is None and time.monotonic() < end:
        time.sleep(_SECONDS_BETWEEN_TRIES)
        lock = _lock(path)
    if lock is None:
        raise BlockingIOError(f"another process is at work on {path}; wait until it is done, or end it.")
    try:
        yield
    finally:
        if os.name != "nt":  # where a file that is open cannot be removed, filelock does it
            lock_of(path).unlink(missing_ok=True)  # while it is held: else it may be another's by now
        lock.release()


def _lock(path: Path) -> FileLock | None:
    """Return the lock of an output, held; None if another has it."""
    name = lock_of(path)
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
            # whoever held it before may have removed the file between the two openings: then this locks nothing
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(opened), os.stat(name)):
                    return lock
            lock.release()
        finally:
            os.close(opened)
