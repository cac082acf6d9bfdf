"""All files that a run reads and writes, checked before any work: none gets into another's way, none is lost."""

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

PLOT = "frequency bands"  # what the text chunk of a plot says


@dataclass(frozen=True, slots=True, eq=False)
class FileToRead:
    """A file that a run reads.

    Attributes
    ----------
    path : Path
    role : str
        In words, such as "the mask".
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
        In words, such as "the residual of a.tif".
    is_ours : callable
        Whether a file of that name is what an earlier run wrote in this role. Only that is kept, continued or done
        again by a run that resumes.
    """

    path: Path
    role: str
    is_ours: Callable[[Path], bool] = lambda path: False


def check_files(
    read: Sequence[FileToRead], written: Sequence[FileToWrite], *, overwrite: bool = False, resume: bool = False
) -> None:
    """Check the files of a run before anything is computed or written.

    All of them are different files, nothing that is read is written, every folder that is written to is there or can be
    made, and what is written replaces only what it may.

    Parameters
    ----------
    read, written : sequence
    overwrite : bool
        Whether what is there may be replaced: files, and folders that are an OME-Zarr.
    resume : bool
        Whether what an earlier run wrote may be kept or written anew.

    Raises
    ------
    ValueError
        In a sentence that names the files.
    """
    check_apart(read, written)
    if overwrite:
        _check_parts(read, [each for each in written if os.path.lexists(each.path)])
    folders: dict[Path, Path] = {}
    for each in written:
        there = os.path.lexists(each.path)
        if there:
            _check_replaced(each, overwrite, resume)
        if overwrite or not there:
            _check_place(each.path, folders)


def check_apart(read: Sequence[FileToRead], written: Sequence[FileToWrite]) -> None:
    """Check that all files of a run are different ones, by name and by what the names lead to.

    Raises
    ------
    ValueError
        If not.
    """
    inputs: dict[object, FileToRead] = {}
    for each in read:
        for key in _keys(each.path):
            other = inputs.setdefault(key, each)
            if other.role != each.role:
                raise ValueError(f"{each.path} is given as {other.role} and as {each.role}; give two files.")
    outputs: dict[object, FileToWrite] = {}
    for one in written:
        for key in _keys(one.path):
            if key in inputs:
                source = inputs[key]
                raise ValueError(
                    f"{source.path} would be its own output: it is {source.role}, which is only read, and would become "
                    f"{one.role}; choose another name or folder."
                )
            same = outputs.setdefault(key, one)
            if same is not one:
                raise _of_one_name(same, one)
    _check_case(written)
    files: list[FileToRead | FileToWrite] = [*read, *written]
    around = {os.path.realpath(each.path): each for each in files}
    output_names = {os.path.realpath(each.path) for each in written}
    for name, inner in around.items():
        for folder in map(str, Path(name).parents):
            # a file holds nothing, which is said elsewhere; what is only read may lie anywhere
            if folder in around and not os.path.isfile(folder) and {name, folder} & output_names:
                outer = around[folder]
                raise ValueError(
                    f"{inner.path}, {inner.role}, would lie within {outer.path}, {outer.role}; choose another name."
                )


def _check_parts(read: Sequence[FileToRead], replaced: Sequence[FileToWrite]) -> None:
    """Check that no file is replaced that holds a part of an image in several files."""
    if not replaced:
        return
    parts = {os.path.realpath(part): each for each in read for part in find_parts(each.path)}
    for one in replaced:
        whole = parts.get(os.path.realpath(one.path))
        if whole is not None:
            raise ValueError(
                f"{one.path} holds a part of {whole.path}, {whole.role}, and is only read; choose another name for "
                f"{one.role}."
            )


def is_output(path: Path, name: str) -> bool:
    """Return whether a file is an output that was written here, by the record that it carries.

    Parameters
    ----------
    path : Path
    name : str
        The field of ``Restoration`` that it is to be.
    """
    record = read_stack_record(path)
    if record is None:
        return False
    output = record.get("output")
    told = output.get("name") if isinstance(output, dict) else "restored"
    # before records had the number of threads, all outputs of a stack carried that of the restored one
    is_old_stack = record.get("stack") is not None and record.get("threads") is None
    return told == name or (is_old_stack and told == "restored")


def is_plot(path: Path) -> bool:
    """Return whether a PNG is a plot that was drawn here."""
    return read_png_text(path) == PLOT


def spell(text: object) -> str:
    """Return a name or a sentence as one line of text that can be printed: what cannot is escaped."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in str(text))


def _keys(path: Path) -> Iterable[object]:
    """Yield what two names of one file have in common."""
    yield os.path.realpath(path)
    try:
        told = os.stat(path)
    except OSError:
        return
    if told.st_ino:  # some file systems have no numbers
        yield told.st_dev, told.st_ino


def _of_one_name(one: FileToWrite, other: FileToWrite) -> ValueError:
    return ValueError(
        f"{one.role} and {other.role} would both become {other.path}; choose another name, or two folders."
    )


def _check_case(written: Sequence[FileToWrite]) -> None:
    """Check that names which differ by upper and lower case only are different files where they are to be written."""
    seen: dict[str, FileToWrite] = {}
    for each in written:
        other = seen.setdefault(os.path.realpath(each.path).casefold(), each)
        if other is not each and _ignores_case(_existing_folder(each.path)):
            raise _of_one_name(other, each)


def _ignores_case(folder: Path) -> bool:
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".napari-dip-case-") as file:
            path = Path(file.name)
            return path.with_name(path.name.replace("case", "CASE")).exists()
    except OSError:
        return True


def _existing_folder(path: Path) -> Path:
    """Return the innermost folder around a file that is there, or what is there in its place."""
    return next((each for each in path.parents if os.path.lexists(each)), Path())


def _check_place(path: Path, folders: dict[Path, Path]) -> None:
    """Check that a file of that name can be made; ``folders`` remembers what was found."""
    if path.parent not in folders:
        there = _existing_folder(path)
        if not there.is_dir():
            raise ValueError(f"the folder {path.parent} cannot be made: {there} is no folder.")
        try:
            with tempfile.TemporaryFile(dir=there):  # tried, not asked: a disk can be read-only even to root
                pass
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise ValueError(f"the folder {there} cannot be written to ({why}); choose another.") from error
        folders[path.parent] = there
    there = folders[path.parent]
    for part in path.parts[len(there.parts) if there != Path() else 0 :]:  # each of them alone: is it too long?
        try:
            os.lstat(there / part)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise ValueError(f"{path} cannot be written: {why.lower()}; choose another name.") from error


def _check_replaced(file: FileToWrite, overwrite: bool, resume: bool) -> None:
    path = file.path
    if is_zarr(path):
        if not path.is_dir():
            raise ValueError(f"{path} is no folder, as an OME-Zarr is; choose another name.")
        if not is_ome_zarr(path):
            raise ValueError(f"{path} is a folder, but no OME-Zarr image, and is never replaced; choose another name.")
    elif path.is_dir():
        raise ValueError(f"{path} is a folder; choose another name for {file.role}.")
    elif path.exists() and not path.is_file():
        raise ValueError(f"{path} is no ordinary file; choose another name for {file.role}.")
    if overwrite:
        return
    ours = file.is_ours(path)
    if ours and not resume:
        raise ValueError(f"{path} exists, from an earlier run; add --resume to keep it, --overwrite to do it again.")
    if not ours and resume:
        raise ValueError(
            f"{path} exists, and is not {file.role} as napari-dip wrote it; choose another name or add --overwrite."
        )
    if not ours:
        raise ValueError(f"{path} exists; choose another name or add --overwrite.")
