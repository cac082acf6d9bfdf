"""The planes of an unfinished output that are done: kept in a hidden folder, believed only if they are the same."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..outcome import Restoration, WarmStart
from ..pixel_text import digest_image
from ..record import Record, read_versions
from ..whole_files import hide_unfinished, write_whole
from .axes import Axes, Plane
from .file_job import FileJob, folder_of_planes
from .image_stack import MaskedStack
from .tiling import Tiling

if TYPE_CHECKING:
    from .warm_start import Neighbours


class KeptPlanes:
    """A hidden folder beside the output that holds the planes that are done, until all are.

    A plane is kept with a digest of its pixels and of its mask, and lies in a folder of its own for all else that makes
    it what it is: task, settings, versions. Those of other settings stay where they are until the output is written.
    Where planes begin as those before them ended, the digest counts these in, and the last network is kept, too.

    Parameters
    ----------
    job : FileJob
        If it resumes, what is kept is used.
    stack : MaskedStack
        Read where planes are kept that may be these.
    tiling : Tiling, optional
        Of the planes that are still to do.
    is_free : bool
        Whether the tiling of the planes that are kept may take its place, if its tiles are no larger.

    Attributes
    ----------
    tiling : Tiling or None
        The one to go on with.
    notes : list of str
        Why planes that an interrupted run has left are not used, in sentences.
    """

    left_out: Sequence[str] = ()  # a plane that lacks an output is not kept

    def __init__(self, job: FileJob, stack: MaskedStack, tiling: Tiling | None, *, is_free: bool = False) -> None:
        self._stack, self._axes = stack, stack.axes
        self._names, self._along = tuple(job.outputs), job.warm_start
        self._out, self._all = job.out, folder_of_planes(job.out)
        self.notes: list[str] = []
        told = _describe(job, stack.axes)
        self.tiling = self._tiling_of_kept(told, tiling) if job.resume and is_free else tiling
        told["tiling"] = _plain(None if self.tiling is None else dataclasses.asdict(self.tiling))
        text = json.dumps(told, sort_keys=True)
        self.folder = self._all / _digest(text.encode())[:16]
        self._keys: dict[str, str] = {}  # of those that are done
        if job.resume:
            self._note_others(told)
        else:
            if count := sum(count for _, count in _read_jobs(self._all)):
                self.notes.append(
                    f"An interrupted run had left {_planes(count)}, not used: add --resume to go on with them."
                )
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / "job.json", lambda beside: beside.write_text(text, encoding="utf-8"))
        self._find()

    def has(self, plane: Plane) -> bool:
        """Return whether a plane is done."""
        return _name(plane) in self._keys

    def keep(self, plane: Plane, result: Restoration) -> None:
        """Keep a plane that is done."""
        paths = {name: self._path(name, plane) for name in self._names}
        for name, path in paths.items():
            write_whole(path, partial(_save, getattr(result, name)))
        if self._along is not None and result.warm_start is not None:
            paths["network"] = self._path("network", plane)
            write_whole(paths["network"], partial(_save_network, result.warm_start))
        key = self._key(plane, *self._digests_of(plane, result.record))
        kept = {
            "key": key,
            "files": {name: _digest(path.read_bytes()) for name, path in paths.items()},
            "record": result.record.as_dict(),
        }
        text = json.dumps({"digest": _digest(json.dumps(kept).encode()), "kept": kept})
        # last: what is not told of in a record is not believed
        write_whole(self._path("record", plane), lambda beside: beside.write_text(text, encoding="utf-8"))
        self._keys[_name(plane)] = key
        if (before := self._before(plane)) is not None:
            self._path("network", before).unlink(missing_ok=True)

    def image(self, name: str, plane: Plane) -> NDArray[np.float32]:
        """Return an output of a plane."""
        return np.load(self._path(name, plane))

    def record(self, plane: Plane) -> Record:
        """Return the record of a plane."""
        return Record.from_dict(json.loads(self._path("record", plane).read_text(encoding="utf-8"))["kept"]["record"])

    def recall(self, neighbours: Neighbours) -> None:
        """Tell the planes that are still to do where those before them ended."""
        for plane in self._axes.planes():
            before = self._before(plane)
            if self.has(plane) or before is None or not self.has(before):
                continue
            path, noise = self._path("network", before), self.record(before).noise
            if path.exists() and noise is not None:
                neighbours.recall(before, self._stack.read(before), noise, _load_network(path))

    def drop(self) -> None:
        """Remove them all; what a kill leaves of them is no longer taken for planes, but for what is half written."""
        going = hide_unfinished(self._out)
        self._all.rename(going)
        shutil.rmtree(going, ignore_errors=True)

    def _find(self) -> None:
        """Find the planes that are done, in order, and note what became of the others."""
        damaged = changed = following = 0
        for plane in self._axes.planes():
            if not self._path("record", plane).exists():
                continue
            before, kept = self._before(plane), self._read(plane)
            if kept is None:
                damaged += 1
            elif before is not None and not self.has(before):
                following += 1
            else:
                image = self._stack.read(plane)
                key = self._key(plane, digest_image(image), self._digest_mask(plane))
                if kept["key"] == key:
                    self._keys[_name(plane)] = key
                else:
                    changed += 1
        following += self._give_up_without_network()
        for count, why in (
            (damaged, "damaged"),
            (changed, "the pixels or the mask have changed"),
            (following, "each depends on the plane before it"),
        ):
            if count:
                self.notes.append(f"{_planes(count)} of the interrupted run done again: {why}.")

    def _give_up_without_network(self) -> int:
        """Give up rows of planes that cannot go on, since the last network is not there; return how many planes."""
        given_up = 0
        for plane in self._axes.planes():
            before = self._before(plane)
            if before is None or self.has(plane) or not self.has(before):
                continue
            kept = self._read(before)
            if kept is not None and "network" in kept["files"] and not self._is_whole(before, kept, "network"):
                row: Plane | None = before
                while row is not None:
                    del self._keys[_name(row)]
                    given_up += 1
                    row = self._before(row)
        return given_up

    def _read(self, plane: Plane) -> dict[str, Any] | None:
        """Return what is kept of a plane; None if it is damaged."""
        try:
            told = json.loads(self._path("record", plane).read_text(encoding="utf-8"))
            kept = told["kept"]
            whole = told["digest"] == _digest(json.dumps(kept).encode())
            Record.from_dict(kept["record"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return kept if whole and all(self._is_whole(plane, kept, name) for name in self._names) else None

    def _is_whole(self, plane: Plane, kept: dict[str, Any], name: str) -> bool:
        try:
            return kept["files"][name] == _digest(self._path(name, plane).read_bytes())
        except (OSError, KeyError):
            return False

    def _digests_of(self, plane: Plane, record: Record) -> tuple[str, str | None]:
        """Return the digests of what a plane was made of."""
        given = record.given
        if given is None:  # in tiles: nobody has seen it whole
            return digest_image(self._stack.read(plane)), self._digest_mask(plane)
        mask = given.read_mask()
        return given.digest, None if mask is None else digest_image(mask)

    def _digest_mask(self, plane: Plane) -> str | None:
        mask = self._stack.read_mask(plane)
        return None if mask is None else digest_image(mask)

    def _key(self, plane: Plane, image: str, mask: str | None) -> str:
        before = self._before(plane)
        return _digest(json.dumps([image, mask, None if before is None else self._keys.get(_name(before))]).encode())

    def _before(self, plane: Plane) -> Plane | None:
        """Return the plane before it along the axis along which planes help each other; None if they do not."""
        if self._along is None or plane.place.get(self._along, 0) == 0:
            return None
        return next(self._axes.planes({**plane.place, self._along: plane.place[self._along] - 1}))

    def _path(self, name: str, plane: Plane) -> Path:
        suffix = {"record": "json", "network": "pt"}.get(name, "npy")
        return self.folder / f"{name}_{_name(plane)}.{suffix}"

    def _tiling_of_kept(self, told: dict[str, Any], planned: Tiling | None) -> Tiling | None:
        """Return the tiling of the planes that are kept for the same job, if it fits; else the one that is planned."""
        fitting = []
        for other, count in _read_jobs(self._all):
            tiling = other.pop("tiling", None)
            if other == told and count:
                kept = None if tiling is None else Tiling(**{name: _tuple(each) for name, each in tiling.items()})
                if kept == planned:
                    return planned
                if kept is not None and (planned is None or math.prod(kept.tile) <= math.prod(planned.tile)):
                    fitting.append(kept)
        return fitting[0] if fitting else planned

    def _note_others(self, told: dict[str, Any]) -> None:
        for other, count in _read_jobs(self._all):
            differing = sorted(_differing(told, other))
            if count and differing:
                self.notes.append(
                    f"An interrupted run had left {_planes(count)}, not used: made with another {', '.join(differing)}."
                )


class HeldPlane:
    """The plane of an image alone, held in memory until it is written; the methods are those of ``KeptPlanes``.

    Attributes
    ----------
    tiling : Tiling or None
    left_out : tuple of str
        Outputs that were asked for and not made, since it was stopped before them.
    """

    notes: Sequence[str] = ()

    def __init__(self, job: FileJob, tiling: Tiling | None) -> None:
        self.tiling = tiling
        self.left_out = tuple(job.outputs)
        self._results: list[Restoration] = []

    def has(self, plane: Plane) -> bool:
        return bool(self._results)

    def keep(self, plane: Plane, result: Restoration) -> None:
        self._results.append(result)
        self.left_out = tuple(name for name in self.left_out if getattr(result, name) is None)

    def image(self, name: str, plane: Plane) -> NDArray[np.float32]:
        return getattr(self._results[0], name)

    def record(self, plane: Plane) -> Record:
        return self._results[0].record

    def drop(self) -> None:
        self._results.clear()


def has_kept_planes(job: FileJob, axes: Axes) -> bool:
    """Return whether an interrupted run of the same job has left planes, whatever their tiles and pixels."""
    told = _describe(job, axes)
    return any(not set(_differing(told, other)) - {"tiling"} for other, _ in _read_jobs(folder_of_planes(job.out)))


def _read_jobs(folder: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Return what each folder that is there is of, and how many planes it has."""
    for path in sorted(folder.glob("*/job.json")):
        with suppress(OSError, ValueError):
            told = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(told, dict):
                yield told, len(list(path.parent.glob("record_*.json")))


def _describe(job: FileJob, axes: Axes) -> dict[str, Any]:
    """Return all but its pixels and its mask that makes a plane what it is."""
    settings = dataclasses.asdict(job.request.settings)
    settings["device"] = settings["device"].partition(":")[0]  # the second of two GPUs does what the first does
    versions = read_versions()
    told = {
        "axes": axes.letters,
        "channels": axes.channels,
        "task": job.request.task,
        "parameters": dict(job.request.parameters),
        "warm_start": job.warm_start,
        "outputs": list(job.outputs),
        "settings": settings,
        "versions": {name: versions[name] for name in ("napari-dip", "torch")},
    }
    return _plain(told)


def _differing(told: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
    """Return the names of what differs, of settings and versions each its own."""
    for name in told.keys() | other.keys():
        value, another = told.get(name), other.get(name)
        if value == another:
            continue
        if isinstance(value, dict) and isinstance(another, dict):
            yield from (
                f"version of {each}" if name == "versions" else each
                for each in value.keys() | another.keys()
                if value.get(each) != another.get(each)
            )
        else:
            yield "size of the tiles" if name == "tiling" else name.replace("_", " ")


def _name(plane: Plane) -> str:
    return "_".join(f"{letter}{number:06d}" for letter, number in plane.place.items()) or "alone"


def _planes(count: int) -> str:
    return "1 plane" if count == 1 else f"{count} planes"


def _plain(value: Any) -> Any:
    """Return what JSON makes of a value."""
    return json.loads(json.dumps(value, default=lambda each: each.tolist() if hasattr(each, "tolist") else repr(each)))


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) else value


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _save(image: NDArray, path: Path) -> None:
    with path.open("wb") as file:  # by name, numpy would add a suffix of its own
        np.save(file, image)


def _save_network(start: WarmStart, path: Path) -> None:
    import torch

    network = {name: value.cpu() for name, value in start.network.items()}
    torch.save({"network": network, "lambda_step": start.lambda_step}, path)


def _load_network(path: Path) -> WarmStart:
    import torch

    kept = torch.load(path, weights_only=True)
    return WarmStart(kept["network"], kept["lambda_step"])
