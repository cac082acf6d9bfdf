"""The files of a zarr, read only if they are files, since to open a pipe can last for ever, and whole."""

from __future__ import annotations

import stat
from typing import Any

from zarr.storage import LocalStore

_BLOSC_HEADER = 16  # bytes; the last four say how many there are in all


class WholeFiles(LocalStore):
    """A folder of a zarr, of which only regular files are read, and Blosc's chunks only if they are whole.

    Attributes
    ----------
    holds_blosc : bool
        Whether the chunks are Blosc's. Its decoder does not look where they end: of one that is cut off it reads on in
        whatever lies behind it in memory.
    """

    holds_blosc = False

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """Read a file, or a part of it; None if there is none."""
        self._check_file(key)
        return self._checked(key, await super().get(key, prototype, byte_range), byte_range)

    def get_sync(self, key: str, **options: Any) -> Any:
        """Do the same, without waiting; zarr asks for it since 3.1."""
        self._check_file(key)
        return self._checked(key, super().get_sync(key, **options), options.get("byte_range"))

    def _check_file(self, key: str) -> None:
        try:
            mode = (self.root / key).stat().st_mode
        except OSError:
            return
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise ValueError(f"{key} in it is a pipe, socket or device")

    def _checked(self, key: str, data: Any, byte_range: Any) -> Any:
        is_chunk = not key.rpartition("/")[2].startswith((".z", "zarr.json"))
        if self.holds_blosc and is_chunk and byte_range is None and data is not None:
            told = int.from_bytes(data[_BLOSC_HEADER - 4 : _BLOSC_HEADER].to_bytes(), "little")
            if len(data) < _BLOSC_HEADER or told != len(data):
                raise ValueError(f"its part {key} is cut off or damaged")
        return data
