"""A zarr store that reads only regular files (opening a pipe can block forever), and only if they are complete."""

from __future__ import annotations

import stat
from typing import Any

from zarr.storage import LocalStore

_BLOSC_HEADER = 16  # bytes; the last four hold the chunk's size


class CheckedStore(LocalStore):
    """A zarr's folder; only regular files are read, and Blosc chunks only if they are complete.

    Attributes
    ----------
    holds_blosc : bool
        Whether the chunks are Blosc's, whose decoder reads beyond the end of a truncated chunk, into other memory.
    """

    holds_blosc = False

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """Read a file, or a part of it; return None if it does not exist."""
        self._check_file(key)
        return self._check_chunk(key, await super().get(key, prototype, byte_range), byte_range)

    def get_sync(self, key: str, **options: Any) -> Any:
        """Do the same synchronously; zarr uses it since 3.1."""
        self._check_file(key)
        return self._check_chunk(key, super().get_sync(key, **options), options.get("byte_range"))

    def _check_file(self, key: str) -> None:
        try:
            mode = (self.root / key).stat().st_mode
        except OSError:
            return
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise ValueError(f"{key} in it is a pipe, socket or device")

    def _check_chunk(self, key: str, data: Any, byte_range: Any) -> Any:
        is_chunk = not key.rpartition("/")[2].startswith((".z", "zarr.json"))
        if self.holds_blosc and is_chunk and byte_range is None and data is not None:
            size = int.from_bytes(data[_BLOSC_HEADER - 4 : _BLOSC_HEADER].to_bytes(), "little")
            if len(data) < _BLOSC_HEADER or size != len(data):
                raise ValueError(f"its chunk {key} is truncated or damaged")
        return data
