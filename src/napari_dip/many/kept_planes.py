"""Keep the finished planes of an unfinished output, and reuse them only if nothing has changed."""

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
from ..pixel_text import digest_image, digest_images
from ..record import Record, read_versions
from ..whole_files import hide_unfinished, write_atomically
from .axes import Axes, Plane
from .file_job import FileJob, find_planes_folder
from .image_stack import MaskedStack
from .tiling import Tiling

if TYPE_CHECKING:
    from .warm_start import LastNetworks


class KeptPlanes:
    """The finished planes of an output, in a hidden folder beside it until all are finished.

    Each plane has a digest of its pixels, its mask and the neighbours that could help. Each combination of task,
    settings and versions has a folder of its own; those of other combinations stay until the output is written. With a
    warm start, a plane's digest includes the plane before it, and the last network is kept too.

    Parameters
    ----------
    job : FileJob
        If it resumes, kept planes are used.
    stack : MaskedStack
        Its planes are read to check whether kept ones match.
    tiling : Tiling, optional
        Of the planes that are not finished yet.
    is_free : bool
        Whether the tiling of kept planes may replace this one, if its tiles are not larger.

    Attributes
    ----------
    tiling : Tiling or None
        To continue with.
    notes : list of str
        Sentences that say why planes of an interrupted run are not used.
    """

    left_out: Sequence[str] = ()  # a plane without all its outputs is not kept

    def __init__(self, job: FileJob, stack: MaskedStack, tiling: Tiling | None, *, is_free: bool = False) -> None:
        self._stack, self._axes = stack, stack.axes
        self._names, self._along = tuple(job.outputs), job.warm_start
        self._out, self._all = job.out, find_planes_folder(job.out)
        self.notes: list[str] = []
        description = _describe(job, stack.axes, stack.neighbours)
        self.tiling = self._choose_tiling(description, tiling) if job.resume and is_free else tiling
        description["tiling"] = _plain(None if self.tiling is None else dataclasses.asdict(self.tiling))
        text = json.dumps(description, sort_keys=True)
        self.folder = self._all / _digest(text.encode())[:16]
        self._keys: dict[str, str] = {}  # of finished planes
        if job.resume:
            self._note_others(description)
        else:
            if count := sum(count for _, count in _read_jobs(self._all)):
                self.notes.append(
                    f"{_planes(count)} from an interrupted run {_were(count)} not used; add --resume to use them."
                )
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / "job.json", lambda hidden: hidden.write_text(text, encoding="utf-8"))
        self._find()

    def has(self, plane: Plane) -> bool:
        """Return whether a plane is finished."""
        return _name(plane) in self._keys

    def keep(self, plane: Plane, result: Restoration) -> None:
        """Keep a finished plane."""
        paths = {name: self._path(name, plane) for name in self._names}
        for name, path in paths.items():
            write_atomically(path, partial(_save, getattr(result, name)))
        if self._along is not None and result.warm_start is not None:
            paths["network"] = self._path("network", plane)
            write_atomically(paths["network"], partial(_save_network, result.warm_start))
        key = self._key(plane, *self._digests_of(plane, result.record))
        kept = {
            "key": key,
            "files": {name: _digest(path.read_bytes()) for name, path in paths.items()},
            "record": result.record.as_dict(),
        }
        text = json.dumps({"digest": _digest(json.dumps(kept).encode()), "kept": kept})
        # written last: a plane without a record counts as unfinished
        write_atomically(self._path("record", plane), lambda hidden: hidden.write_text(text, encoding="utf-8"))
        self._keys[_name(plane)] = key
        if (before := self._before(plane)) is not None:
            self._path("network", before).unlink(missing_ok=True)

    def image(self, name: str, plane: Plane) -> NDArray[np.float32]:
        """Return an output of a plane."""
        image: NDArray[np.float32] = np.load(self._path(name, plane))
        return image

    def record(self, plane: Plane) -> Record:
        """Return the record of a plane."""
        return Record.from_dict(json.loads(self._path("record", plane).read_text(encoding="utf-8"))["kept"]["record"])

    def load_networks(self, networks: LastNetworks) -> None:
        """Pass on the kept networks that unfinished planes start from."""
        for plane in self._axes.planes():
            before = self._before(plane)
            if self.has(plane) or before is None or not self.has(before):
                continue
            path, noise = self._path("network", before), self.record(before).noise
            if path.exists() and noise is not None:
                networks.add(before, self._stack.read(before), noise, _load_network(path))

    def drop(self) -> None:
        """Remove all planes; if the run is killed meanwhile, the rest counts as unfinished files, not as planes."""
        hidden = hide_unfinished(self._out)
        self._all.rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)

    def _find(self) -> None:
        """Find the finished planes, in order, and note why others are not used."""
        damaged = changed = dependent = 0
        for plane in self._axes.planes():
            if not self._path("record", plane).exists():
                continue
            before, kept = self._before(plane), self._read(plane)
            if kept is None:
                damaged += 1
            elif before is not None and not self.has(before):
                dependent += 1
            else:
                image = self._stack.read(plane)
                key = self._key(plane, digest_image(image), self._digest_mask(plane))
                if kept["key"] == key:
                    self._keys[_name(plane)] = key
                else:
                    changed += 1
        dependent += self._discard_without_network()
        for count, why in (
            (damaged, "damaged"),
            (changed, "the pixels or the mask have changed"),
            (dependent, "each depends on the plane before it"),
        ):
            if count:
                self.notes.append(f"{_planes(count)} from the interrupted run {_were(count)} restored again: {why}.")

    def _discard_without_network(self) -> int:
        """Discard rows of planes that cannot be continued because their last network is lost; return how many."""
        discarded = 0
        for plane in self._axes.planes():
            before = self._before(plane)
            if before is None or self.has(plane) or not self.has(before):
                continue
            kept = self._read(before)
            if kept is not None and "network" in kept["files"] and not self._is_intact(before, kept, "network"):
                row: Plane | None = before
                while row is not None:
                    del self._keys[_name(row)]
                    discarded += 1
                    row = self._before(row)
        return discarded

    def _read(self, plane: Plane) -> dict[str, Any] | None:
        """Return the entry of a kept plane; None if it is damaged."""
        try:
            stored = json.loads(self._path("record", plane).read_text(encoding="utf-8"))
            kept: dict[str, Any] = stored["kept"]
            is_intact = stored["digest"] == _digest(json.dumps(kept).encode())
            Record.from_dict(kept["record"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return kept if is_intact and all(self._is_intact(plane, kept, name) for name in self._names) else None

    def _is_intact(self, plane: Plane, kept: dict[str, Any], name: str) -> bool:
        try:
            return bool(kept["files"][name] == _digest(self._path(name, plane).read_bytes()))
        except (OSError, KeyError):
            return False

    def _digests_of(self, plane: Plane, record: Record) -> tuple[str, str | None]:
        """Return the digests of a plane's pixels and mask."""
        given = record.given
        if given is None:  # it was restored in tiles, so its record has no digest
            return digest_image(self._stack.read(plane)), self._digest_mask(plane)
        mask = given.read_mask()
        return given.digest, None if mask is None else digest_image(mask)

    def _digest_mask(self, plane: Plane) -> str | None:
        mask = self._stack.read_mask(plane)
        return None if mask is None else digest_image(mask)

    def _key(self, plane: Plane, image: str, mask: str | None) -> str:
        before = self._before(plane)
        around = self._stack.read_neighbours(plane)
        parts = [image, mask, None if before is None else self._keys.get(_name(before))]
        if around is not None:
            parts.append(digest_images(around.planes))
        return _digest(json.dumps(parts).encode())

    def _before(self, plane: Plane) -> Plane | None:
        """Return the plane that this one may start from; None if there is none."""
        if self._along is None or plane.place.get(self._along, 0) == 0:
            return None
        return next(self._axes.planes({**plane.place, self._along: plane.place[self._along] - 1}))

    def _path(self, name: str, plane: Plane) -> Path:
        suffix = {"record": "json", "network": "pt"}.get(name, "npy")
        return self.folder / f"{name}_{_name(plane)}.{suffix}"

    def _choose_tiling(self, description: dict[str, Any], planned: Tiling | None) -> Tiling | None:
        """Return the tiling of the planes kept for the same job if it fits, otherwise the planned one."""
        fitting = []
        for other, count in _read_jobs(self._all):
            tiling = other.pop("tiling", None)
            if other == description and count:
                kept = None if tiling is None else Tiling(**{name: _tuple(each) for name, each in tiling.items()})
                if kept == planned:
                    return planned
                if kept is not None and (planned is None or math.prod(kept.tile) <= math.prod(planned.tile)):
                    fitting.append(kept)
        return fitting[0] if fitting else planned

    def _note_others(self, description: dict[str, Any]) -> None:
        for other, count in _read_jobs(self._all):
            differing = sorted(_differing(description, other))
            if count and differing:
                names = ", ".join(differing)
                self.notes.append(
                    f"{_planes(count)} from an interrupted run {_were(count)} not used: different {names}."
                )


class HeldPlane:
    """The plane of a single image, held in memory until it is written; it has the methods of ``KeptPlanes``.

    Attributes
    ----------
    tiling : Tiling or None
    left_out : tuple of str
        Outputs that were requested but not computed, because the run was stopped first.
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
        image: NDArray[np.float32] = getattr(self._results[0], name)
        return image

    def record(self, plane: Plane) -> Record:
        return self._results[0].record

    def drop(self) -> None:
        self._results.clear()


def has_kept_planes(job: FileJob, axes: Axes, neighbours: str | None) -> bool:
    """Return whether an interrupted run of the same job left planes, whatever their tiles and pixels."""
    description = _describe(job, axes, neighbours)
    return any(
        not set(_differing(description, other)) - {"tiling"} for other, _ in _read_jobs(find_planes_folder(job.out))
    )


def _read_jobs(folder: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the description of each kept job, and how many planes it has."""
    for path in sorted(folder.glob("*/job.json")):
        with suppress(OSError, ValueError):
            description = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(description, dict):
                yield description, len(list(path.parent.glob("record_*.json")))


def _describe(job: FileJob, axes: Axes, neighbours: str | None) -> dict[str, Any]:
    """Return everything that determines a plane's result, except its pixels and its mask."""
    settings = dataclasses.asdict(job.request.settings)
    settings["device"] = settings["device"].partition(":")[0]  # one GPU counts as another
    versions = read_versions()
    description: dict[str, Any] = {
        "axes": axes.letters,
        "channels": axes.channels,
        "task": job.request.task,
        "parameters": dict(job.request.parameters),
        "warm_start": job.warm_start,
        "neighbours": neighbours,
        "outputs": list(job.outputs),
        "settings": settings,
        "versions": {name: versions[name] for name in ("napari-dip", "torch")},
    }
    plain: dict[str, Any] = _plain(description)
    return plain


def _differing(description: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
    """Yield the names of what differs; settings and versions are named individually."""
    for name in description.keys() | other.keys():
        value, another = description.get(name), other.get(name)
        if value == another:
            continue
        if isinstance(value, dict) and isinstance(another, dict):
            yield from (
                f"version of {each}" if name == "versions" else each
                for each in value.keys() | another.keys()
                if value.get(each) != another.get(each)
            )
        else:
            yield "tile size" if name == "tiling" else name.replace("_", " ")


def _name(plane: Plane) -> str:
    return "_".join(f"{letter}{number:06d}" for letter, number in plane.place.items()) or "alone"


def _planes(count: int) -> str:
    return "1 plane" if count == 1 else f"{count} planes"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _plain(value: Any) -> Any:
    """Return a value as it would be after a round trip through JSON."""
    return json.loads(json.dumps(value, default=lambda each: each.tolist() if hasattr(each, "tolist") else repr(each)))


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) else value


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _save(image: np.ndarray, path: Path) -> None:
    with path.open("wb") as file:  # given a path, numpy would append its own suffix
        np.save(file, image)


def _save_network(start: WarmStart, path: Path) -> None:
    import torch

    network = {name: value.cpu() for name, value in start.network.items()}
    torch.save({"network": network, "lambda_step": start.lambda_step}, path)


def _load_network(path: Path) -> WarmStart:
    import torch

    kept = torch.load(path, weights_only=True)
    return WarmStart(kept["network"], kept["lambda_step"])
