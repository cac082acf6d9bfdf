"""Check all files that a run reads and writes before any work starts, so that no file is lost."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..image_files import read_png_text
from ..tiff_files import find_parts
from .ome_zarr import is_ome_zarr
from .stack_files import is_zarr, read_stack_record

PLOT = "frequency bands"  # the text chunk of a plot


@dataclass(frozen=True, slots=True, eq=False)
class FileToRead:
    """A file that a run reads.

    Attributes
    ----------
    path : Path
    role : str
        A phrase such as "the mask".
    """

    path: Path
    role: str


@dataclass(frozen=True, slots=True, eq=False)
class FileToWrite:
    """A file, or an OME-Zarr, that a run writes.

    Attributes
    ----------
    path : Path
    role : str
        A phrase such as "the residual of a.tif".
    is_ours : callable
        Tells whether an existing file of this name was written by napari-dip in this role. A run that resumes keeps,
        continues or replaces only such files.
    """

    path: Path
    role: str
    is_ours: Callable[[Path], bool] = lambda path: False


def check_files(
    read: Sequence[FileToRead], written: Sequence[FileToWrite], *, overwrite: bool = False, resume: bool = False
) -> None:
    """Check the files of a run before anything is computed or written.

    All of them must be different files, no input may be written, every output folder must exist or be creatable, and
    outputs may replace only what is allowed.

    Parameters
    ----------
    read, written : sequence
    overwrite : bool
        Whether existing files may be replaced, and existing folders that are an OME-Zarr.
    resume : bool
        Whether outputs of an earlier run may be kept or replaced.

    Raises
    ------
    ValueError
        If a check fails; the message names the files.
    """
    check_apart(read, written)
    if overwrite:
        _check_parts(read, [each for each in written if os.path.lexists(each.path)])
    folders: dict[Path, Path] = {}
    for each in written:
        exists = os.path.lexists(each.path)
        if exists:
            _check_replaced(each, overwrite, resume)
        if overwrite or not exists:
            _check_place(each.path, folders)


def check_apart(read: Sequence[FileToRead], written: Sequence[FileToWrite]) -> None:
    """Check that all files of a run are different, by name and by what the names link to.

    Raises
    ------
    ValueError
        If two of them are the same.
    """
    inputs: dict[object, FileToRead] = {}
    for each in read:
        for key in _keys(each.path):
            other = inputs.setdefault(key, each)
            if other.role != each.role:
                raise ValueError(f"{each.path} is both {other.role} and {each.role}; give two different files.")
    outputs: dict[object, FileToWrite] = {}
    for one in written:
        for key in _keys(one.path):
            if key in inputs:
                source = inputs[key]
                raise ValueError(
                    f"{source.path} is {source.role} and would be overwritten as {one.role}; choose another name or "
                    "folder."
                )
            same = outputs.setdefault(key, one)
            if same is not one:
                raise _same_name_error(same, one)
    _check_case(written)
    files: list[FileToRead | FileToWrite] = [*read, *written]
    around = {os.path.realpath(each.path): each for each in files}
    output_names = {os.path.realpath(each.path) for each in written}
    for name, inner in around.items():
        for folder in map(str, Path(name).parents):
            # a file cannot contain others (_check_place reports that); inputs may be anywhere
            if folder in around and not os.path.isfile(folder) and {name, folder} & output_names:
                outer = around[folder]
                raise ValueError(
                    f"{inner.path} ({inner.role}) would be inside {outer.path} ({outer.role}); choose another name."
                )


def _check_parts(read: Sequence[FileToRead], replaced: Sequence[FileToWrite]) -> None:
    """Check that no output replaces a file that holds a part of an input."""
    if not replaced:
        return
    parts = {os.path.realpath(part): each for each in read for part in find_parts(each.path)}
    for one in replaced:
        divided = parts.get(os.path.realpath(one.path))
        if divided is not None:
            raise ValueError(
                f"{one.path} holds a part of {divided.path} ({divided.role}) and would be overwritten; choose another "
                f"name for {one.role}."
            )


def is_output(path: Path, name: str) -> bool:
    """Return whether a file is a certain output of napari-dip, according to its record.

    Parameters
    ----------
    path : Path
    name : str
        The field of ``Restoration``.
    """
    record = read_stack_record(path)
    if record is None:
        return False
    output = record.get("output")
    recorded = output.get("name") if isinstance(output, dict) else "restored"
    # in records so old that they lack the number of threads, every output of a stack is called "restored"
    is_old_stack = record.get("stack") is not None and record.get("threads") is None
    return recorded == name or (is_old_stack and recorded == "restored")


def is_plot(path: Path) -> bool:
    """Return whether a PNG is a plot drawn by napari-dip."""
    return read_png_text(path) == PLOT


def spell(text: object) -> str:
    """Return a text on one line, with characters that cannot be printed escaped."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in str(text))


def _keys(path: Path) -> Iterable[object]:
    """Yield keys that are the same for all names of a file."""
    yield os.path.realpath(path)
    try:
        status = os.stat(path)
    except OSError:
        return
    if status.st_ino:  # some file systems have no inode numbers
        yield status.st_dev, status.st_ino


def _same_name_error(one: FileToWrite, other: FileToWrite) -> ValueError:
    return ValueError(
        f"{one.role} and {other.role} would both be written to {other.path}; choose another name or two folders."
    )


def _check_case(written: Sequence[FileToWrite]) -> None:
    """Check that names which differ only in case are different files in their folders."""
    seen: dict[str, FileToWrite] = {}
    for each in written:
        other = seen.setdefault(os.path.realpath(each.path).casefold(), each)
        if other is not each and _ignores_case(_existing_folder(each.path)):
            raise _same_name_error(other, each)


def _ignores_case(folder: Path) -> bool:
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".napari-dip-case-") as file:
            path = Path(file.name)
            return path.with_name(path.name.replace("case", "CASE")).exists()
    except OSError:
        return True


def _existing_folder(path: Path) -> Path:
    """Return the innermost existing folder above a path, or whatever exists in its place."""
    return next((each for each in path.parents if os.path.lexists(each)), Path())


def _check_place(path: Path, folders: dict[Path, Path]) -> None:
    """Check that a file of this name can be created; ``folders`` caches the existing folder above each parent."""
    if path.parent not in folders:
        existing = _existing_folder(path)
        if not existing.is_dir():
            raise ValueError(
                f"the folder {path.parent} cannot be created, because {existing} is not a folder; choose another name."
            )
        try:
            with tempfile.TemporaryFile(dir=existing):  # tried, because permissions do not show a read-only disk
                pass
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise ValueError(f"the folder {existing} cannot be written to ({why}); choose another.") from error
        folders[path.parent] = existing
    existing = folders[path.parent]
    for part in path.parts[len(existing.parts) if existing != Path() else 0 :]:  # each part alone may be too long
        try:
            os.lstat(existing / part)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise ValueError(f"{path} cannot be written: {why.lower()}; choose another name.") from error


def _check_replaced(file: FileToWrite, overwrite: bool, resume: bool) -> None:
    path = file.path
    if is_zarr(path):
        if not path.is_dir():
            raise ValueError(f"{path} is not a folder, and an OME-Zarr must be one; choose another name.")
        if not is_ome_zarr(path):
            raise ValueError(f"{path} is a folder, but not an OME-Zarr, and is never replaced; choose another name.")
    elif path.is_dir():
        raise ValueError(f"{path} is a folder; choose another name for {file.role}.")
    elif path.exists() and not path.is_file():
        raise ValueError(f"{path} is a pipe, socket or device; choose another name for {file.role}.")
    if overwrite:
        return
    ours = file.is_ours(path)
    if ours and not resume:
        raise ValueError(f"{path} exists, from an earlier run; add --resume to keep it or --overwrite to replace it.")
    if not ours and resume:
        raise ValueError(
            f"{path} exists and is not {file.role} written by napari-dip; choose another name or add --overwrite."
        )
    if not ours:
        raise ValueError(f"{path} exists; choose another name or add --overwrite.")
