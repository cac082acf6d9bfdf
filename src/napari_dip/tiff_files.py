"""Open TIFF files, and refuse those that hold less than they promise."""

from __future__ import annotations

import html
import json
import math
import re
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF's
# The most bytes that one byte can expand to, by compression: none, LZW, Deflate (two codes) and PackBits
_GREATEST_RATIO = {1: 1, 5: 1400, 8: 1032, 32946: 1032, 32773: 64}
_MOST_PLANES = 10**7
_CHAINED_OTHERWISE = ("is_lsm", "is_ndpi")  # their offsets overflow beyond 4 GB


def is_tiff(path: Path) -> bool:
    """Return whether a file starts like a TIFF, whatever its name."""
    with path.open("rb") as file:
        return file.read(4) in _SIGNATURES


@contextmanager
def open_tiff(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a TIFF, check that it is complete, and yield the ``TiffFile`` and its first series.

    Raises
    ------
    ValueError
        If the file is truncated or damaged, or if a file that holds a part of it is missing. The message continues a
        sentence. The library raises other exceptions too.
    """
    import tifffile

    _check_first_page(path)
    try:
        opened: Any = tifffile.TiffFile(path)
    except (tifffile.TiffFileError, struct.error) as error:
        raise ValueError(f"it is truncated or damaged: {error}") from error
    with opened as file:
        try:
            file.pages.first  # noqa: B018
        except IndexError as error:
            raise ValueError("it is truncated or damaged: there is no image in it") from error
        if not any(getattr(file, name) for name in _CHAINED_OTHERWISE):
            _check_chain(file)
        if _is_shaped_by_mistake(file):
            file.is_shaped = False
        if file.ome_metadata:
            _check_ome(file, path)
        series = file.series[0]
        _check_compression(series.keyframe)
        _check_promise(file, series)
        _check_segments(series)
        yield file, series


def find_parts(path: Path) -> list[Path]:
    """Return the files that an OME-TIFF names as parts of its image, itself included; an empty list for other files."""
    import tifffile

    try:
        if not path.is_file() or not is_tiff(path):
            return []
        with tifffile.TiffFile(path) as file:
            text = file.ome_metadata or ""
    except Exception:  # the library raises many exceptions of its own; whoever reads the file reports them
        return []
    return [path.parent / name for name in _file_names(text, "FileName|MetadataFile")]


def _file_names(ome: str, attributes: str) -> list[str]:
    return sorted({html.unescape(name) for name in re.findall(rf'\b(?:{attributes})="([^"]*)"', ome)})


def _is_shaped_by_mistake(file: Any) -> bool:
    """Return whether tifffile mistakes a description for its own, such as a record with a "shape"."""
    description = file.pages.first.shaped_description
    if description is None or description.startswith("shape="):
        return False
    try:
        shape = json.loads(description).get("shape")
    except (ValueError, AttributeError):
        return True
    return not (isinstance(shape, list) and all(isinstance(length, int) and length >= 0 for length in shape))


def _check_chain(file: Any) -> None:
    """Check that every page points to the next one, and the last to none."""
    layout, handle = file.tiff, file.filehandle
    offset, seen = file.pages.first.offset, set[int]()
    while offset:
        if offset in seen:
            raise ValueError("it is damaged: its pages form a loop")
        seen.add(offset)
        try:
            offset = _check_tags(handle, layout, offset, handle.size)
        except (struct.error, OSError, OverflowError) as error:
            raise ValueError(f"it is truncated or damaged after {_count(len(seen) - 1)}") from error


def _check_first_page(path: Path) -> None:
    """Check the tags of the first page, before tifffile allocates what they promise."""
    import tifffile

    formats = tifffile.TIFF
    layouts = dict(
        zip(_SIGNATURES, (formats.CLASSIC_LE, formats.CLASSIC_BE, formats.BIG_LE, formats.BIG_BE), strict=True)
    )
    with path.open("rb") as file:
        layout = layouts.get(file.read(4))
        if layout is None:
            return  # tifffile reports it
        try:
            file.seek(layout.offsetsize)
            (offset,) = struct.unpack(layout.offsetformat, file.read(layout.offsetsize))
            _check_tags(file, layout, offset, path.stat().st_size)
        except (struct.error, OSError, OverflowError):
            return  # as above


def _check_tags(file: Any, layout: Any, offset: int, size: int) -> int:
    """Check that no tag of a page promises more than a file of that size holds; return the offset of the next page."""
    import tifffile

    file.seek(offset)
    (tags,) = struct.unpack(layout.tagnoformat, file.read(layout.tagnosize))
    entries = file.read(min(tags * layout.tagsize, size))
    for begin in range(0, len(entries) - layout.tagsize + 1, layout.tagsize):
        _, kind = struct.unpack(layout.tagformat1, entries[begin : begin + 4])
        count, _ = struct.unpack(layout.tagformat2, entries[begin + 4 : begin + layout.tagsize])
        width = struct.calcsize(tifffile.TIFF.DATA_FORMATS.get(kind, "B"))
        if count * width > size:
            raise ValueError("it is damaged: a tag promises more than the file holds")
    file.seek(offset + layout.tagnosize + tags * layout.tagsize)
    (following,) = struct.unpack(layout.offsetformat, file.read(layout.offsetsize))
    return int(following)


def _check_ome(file: Any, path: Path) -> None:
    """Check what OME-XML promises before tifffile allocates it, and that the files it names exist."""
    text = file.ome_metadata
    page = max(1, math.prod(file.pages.first.shape))
    for sizes in _ome_sizes(text):
        if math.prod(sizes) // page > _MOST_PLANES:
            raise ValueError(f"its OME-XML promises {math.prod(sizes):.3g} pixels; it is damaged")
    if any(int(number) > _MOST_PLANES for number in re.findall(r'\b(?:PlaneCount|NumPlanes|IFD)="(\d+)"', text)):
        raise ValueError("its OME-XML promises more planes than any file has; it is damaged")
    for name in _file_names(text, "FileName"):
        other = path.parent / name
        try:
            exists = stat.S_ISREG(other.stat().st_mode)
        except (OSError, ValueError):
            exists = False
        if not exists and name.lower() != path.name.lower():
            raise ValueError(f"the file {name}, which holds a part of it, is missing; put it in the same folder")


def _ome_sizes(text: str) -> list[tuple[int, ...]]:
    """Return the five sizes of each image in OME-XML."""
    found = []
    for tag in re.findall(r"<(?:\w+:)?Pixels\b[^>]*>", text):
        sizes = dict(re.findall(r'\bSize([XYZCT])="(\d+)"', tag))
        found.append(tuple(int(sizes.get(letter, 1)) for letter in "XYZCT"))
    return found


def _check_compression(page: Any) -> None:
    import tifffile

    try:
        if page.compression != 1:
            tifffile.TIFF.DECOMPRESSORS[page.compression]
        if page.predictor != 1:
            tifffile.TIFF.UNPREDICTORS[page.predictor]
    except KeyError as error:
        name = getattr(page.compression, "name", page.compression)
        raise ValueError(
            f"its compression ({name}) needs the package imagecodecs; install it, or save the image uncompressed"
        ) from error


def _check_promise(file: Any, series: Any) -> None:
    """Check that the file holds as many pixels as its metadata promise."""
    if 0 in series.shape or series.dtype is None:
        raise ValueError("it has no pixels of a known type")
    promised = 0
    if file.is_ome and series.kind != "ome" and "BinaryOnly" not in file.ome_metadata:
        promised = max((math.prod(sizes) for sizes in _ome_sizes(file.ome_metadata)), default=0)
    elif file.is_imagej and series.kind not in ("imagej", "ome"):
        metadata = file.imagej_metadata or {}
        planes = math.prod(max(1, int(metadata.get(name, 1))) for name in ("frames", "slices", "channels"))
        promised = planes * math.prod(series.keyframe.shape[:2])
    if promised > math.prod(series.shape):
        page = math.prod(series.keyframe.shape)
        found = math.prod(series.shape) // page
        raise ValueError(f"it is truncated: it promises {_count(promised // page)} and holds {found}")


def _check_segments(series: Any) -> None:
    """Check that a series' files hold all of its pixels."""
    keyframe = series.keyframe
    if math.prod(keyframe.shape) * max(1, len(series)) < math.prod(series.shape) and series.dataoffset is None:
        count = math.prod(series.shape) // math.prod(keyframe.shape)
        raise ValueError(f"it is truncated: it promises {_count(count)} and holds {len(series)}")
    if series.dataoffset is not None:
        missing = series.dataoffset + series.nbytes - keyframe.parent.filehandle.size
        if missing > 0:
            raise ValueError(f"it is truncated: {missing:,} bytes of its pixels are missing")
        return
    segments = math.prod(keyframe.chunked)
    least = _least_bytes(keyframe)
    number = 0
    try:
        for number, page in enumerate(series):
            if page is None:
                raise ValueError(f"plane {number} of {len(series)} is missing")
            offsets, counts = page.dataoffsets, page.databytecounts
            ends = [offset + count for offset, count in zip(offsets, counts, strict=False)]
            is_complete = len(offsets) == len(counts) == segments and 0 not in counts
            if not is_complete or max(ends) > page.parent.filehandle.size:
                raise ValueError(f"parts of plane {number} of {len(series)} are missing")
            if max(counts) < least:
                raise ValueError(f"plane {number} promises more pixels than its bytes can hold")
    except IndexError as error:
        raise ValueError(f"plane {number + 1} of {len(series)} is missing") from error
    except ValueError as error:
        raise ValueError(f"it is truncated or damaged: {error}") from error


def _least_bytes(page: Any) -> int:
    """Return the least number of bytes that the largest segment of a complete page can have."""
    bits = page.bitspersample if isinstance(page.bitspersample, int) else 1
    return int(math.prod(page.chunks)) * bits // 8 // _GREATEST_RATIO.get(int(page.compression), 1 << 62)


def _count(planes: int) -> str:
    return f"{planes:,} plane{'' if planes == 1 else 's'}"
