"""Files and folders that are written whole: beside their place, then renamed; and what a killed run has left."""

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

_LEFT = re.compile(r"\.napari-dip-unfinished-(?P<host>.+)-(?P<process>\d+)-[0-9a-f]{12}(\.\w+)?")
_FULL = (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # numpy gives no number where not all could be written
_DAY = 86_400.0
_LONGEST_NAME = 255  # bytes, on most file systems

# in the hidden folder beside a folder that is written: the new one, the one that it replaces, and their name
_WHOLE, _REPLACED, _NAME = "whole", "replaced", "name"


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` with a hidden path beside ``path``, then rename: the file is whole or not there.

    Raises
    ------
    OSError
        In a sentence, if it cannot be written; what was there is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = hide_unfinished(path)
        # made here, so that the system applies the umask
        os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            write(beside)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise _in_a_sentence(path, error) from error


def write_folder_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` with the path of a folder to be made, then rename it; a folder that is there is replaced.

    No system call of Python's swaps two folders: the old one is renamed away, then the new one is renamed in. Whoever
    looks in between finds neither; if the run is killed there, ``remove_unfinished`` puts the new one, which is whole,
    into place.

    Raises
    ------
    OSError
        In a sentence, if it cannot be written; what was there is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = hide_unfinished(path)
        beside.mkdir()
        try:
            (beside / _NAME).write_bytes(os.fsencode(path.name))
            write(beside / _WHOLE)
            try:
                if os.path.lexists(path):
                    path.rename(beside / _REPLACED)
                (beside / _WHOLE).rename(path)
            except BaseException:  # a Ctrl-C, too
                if os.path.lexists(beside / _REPLACED) and not os.path.lexists(path):
                    (beside / _REPLACED).rename(path)
                raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise _in_a_sentence(path, error) from error


def remove_unfinished(folders: Iterable[Path]) -> None:
    """Remove from folders what killed runs have left there, and put in what they had all but put in.

    What a process on this machine is still writing is left alone. Of other machines that share the folder nothing can
    be told: what they wrote is left alone for a day after it was last touched.
    """
    for folder in set(folders):
        with suppress(OSError), os.scandir(folder) as entries:  # what cannot be listed is told when it is written to
            left = [Path(each.path) for each in entries if _is_left(each)]
            for each in left:
                _remove(each)


def _remove(left: Path) -> None:
    if left.is_symlink() or not left.is_dir():
        left.unlink(missing_ok=True)
        return
    with suppress(OSError, ValueError):
        target = left.parent / os.path.basename(os.fsdecode((left / _NAME).read_bytes()))
        if os.path.lexists(left / _REPLACED) and (left / _WHOLE).exists() and not os.path.lexists(target):
            (left / _WHOLE).rename(target)
    shutil.rmtree(left, ignore_errors=True)


def _is_left(entry: os.DirEntry[str]) -> bool:
    """Return whether a name is one of ours, and nobody is at work on it."""
    found = _LEFT.fullmatch(entry.name)
    if found is None:
        return False
    try:
        touched = entry.stat(follow_symlinks=False).st_mtime
    except OSError:
        return False  # it is gone
    if found["host"] != _host():
        return time.time() - touched > _DAY
    import psutil

    try:
        process = psutil.Process(int(found["process"]))
        # a number is given again: then the process is younger than what it is said to write
        return bool(process.status() == psutil.STATUS_ZOMBIE or process.create_time() > touched + 1)
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def hide(path: Path, kind: str) -> Path:
    """Return the hidden path beside a file for what belongs to it, such as ".NAME.lock"; of a long name, its digest."""
    name = f".{path.name}.{kind}"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]}.{kind}"
    return path.with_name(name)


def hide_unfinished(path: Path) -> Path:
    """Return a new hidden path beside a file; what lies there is removed once this process has ended."""
    # short, however long the name is: with a longer one there would be names that can be written, but not this way
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
