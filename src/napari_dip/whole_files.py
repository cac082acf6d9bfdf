"""Write files and folders atomically (under a hidden name, then renamed); clear away what killed runs left."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

_UNFINISHED = re.compile(r"\.napari-dip-unfinished-(?P<host>.+)-(?P<process>\d+)-[0-9a-f]{12}(\.\w+)?")
_FULL = (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # numpy gives no number for an incomplete write
_DAY = 86_400.0
_LONGEST_NAME = 255  # bytes, on most file systems

# within the hidden folder: the new folder, the one it replaces, and a file with their final name
_NEW, _REPLACED, _NAME = "whole", "replaced", "name"


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` with a hidden path beside ``path``, then rename it, so the file is either complete or absent.

    Raises
    ------
    OSError
        If it cannot be written; an existing file is untouched. The message is a sentence.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden = hide_unfinished(path)
        # created here, so that the system applies the umask
        os.close(os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            write(hidden)
            hidden.replace(path)
        finally:
            hidden.unlink(missing_ok=True)
    except OSError as error:
        raise _in_a_sentence(path, error) from error


def write_folder_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` with the path of a folder to create, then rename it; an existing folder is replaced.

    Python cannot swap two folders in one call: the old one is renamed away, then the new one is renamed in. In between,
    neither is there. If the run is killed just then, ``remove_unfinished`` moves the new one, which is complete, into
    place.

    Raises
    ------
    OSError
        If it cannot be written; an existing folder is untouched. The message is a sentence.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden = hide_unfinished(path)
        hidden.mkdir()
        try:
            (hidden / _NAME).write_bytes(os.fsencode(path.name))
            write(hidden / _NEW)
            try:
                if os.path.lexists(path):
                    path.rename(hidden / _REPLACED)
                (hidden / _NEW).rename(path)
            except BaseException:  # Ctrl-C too
                if os.path.lexists(hidden / _REPLACED) and not os.path.lexists(path):
                    (hidden / _REPLACED).rename(path)
                raise
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
    except OSError as error:
        raise _in_a_sentence(path, error) from error


def remove_unfinished(folders: Iterable[Path]) -> None:
    """Remove what killed runs left in these folders; put a complete new folder in its place.

    Files that a process on this machine is still writing are left alone. Processes on other machines that share the
    folder cannot be seen, so their files are left alone for a day after the last change.
    """
    for folder in set(folders):
        with suppress(OSError), os.scandir(folder) as entries:  # errors are reported when it is written to
            leftovers = [Path(each.path) for each in entries if _is_leftover(each)]
            for each in leftovers:
                _remove(each)


def _remove(leftover: Path) -> None:
    if leftover.is_symlink() or not leftover.is_dir():
        leftover.unlink(missing_ok=True)
        return
    with suppress(OSError, ValueError):
        target = leftover.parent / os.path.basename(os.fsdecode((leftover / _NAME).read_bytes()))
        if os.path.lexists(leftover / _REPLACED) and (leftover / _NEW).exists() and not os.path.lexists(target):
            (leftover / _NEW).rename(target)
    shutil.rmtree(leftover, ignore_errors=True)


def _is_leftover(entry: os.DirEntry[str]) -> bool:
    """Return whether a name is one of ours and no process is writing it."""
    found = _UNFINISHED.fullmatch(entry.name)
    if found is None:
        return False
    try:
        changed = entry.stat(follow_symlinks=False).st_mtime
    except OSError:
        return False  # already removed
    if found["host"] != _host():
        return time.time() - changed > _DAY
    import psutil

    try:
        process = psutil.Process(int(found["process"]))
        # process numbers are reused: a process that is younger than the file did not write it
        return bool(process.status() == psutil.STATUS_ZOMBIE or process.create_time() > changed + 1)
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def hide(path: Path, kind: str) -> Path:
    """Return a hidden path beside a file, such as ".NAME.lock"; the digest replaces a name that is too long."""
    name = f".{path.name}.{kind}"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]}.{kind}"
    return path.with_name(name)


def hide_unfinished(path: Path) -> Path:
    """Return a new hidden path beside a file; ``remove_unfinished`` clears it away once this process has ended."""
    # short, so that every name that the file system allows can be written this way
    suffix = path.suffix if re.fullmatch(r"\.\w{1,9}", path.suffix, re.ASCII) else ""
    return path.with_name(f".napari-dip-unfinished-{_host()}-{os.getpid()}-{secrets.token_hex(6)}{suffix}")


def _host() -> str:
    import platform

    return re.sub(r"[^\w.-]", "_", platform.node(), flags=re.ASCII)[:40] or "host"


def _in_a_sentence(path: Path, error: OSError) -> OSError:
    why = (error.strerror or str(error)).rstrip(".").lower()
    if error.errno in _FULL:
        why = f"the disk is full, or a quota or limit is reached ({why})"
    return OSError(f"{path} could not be written: {why}.")
