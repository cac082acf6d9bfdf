"""The files of a zarr: read only where they are files, since to open a pipe can last for ever."""

from __future__ import annotations

import stat
from typing import Any

from zarr.storage import LocalStore


class RegularFiles(LocalStore):
    """A folder of a zarr, of which only regular files are read."""

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """Read a file, or a part of it; None if there is none."""
        self._check(key)
        return await super().get(key, prototype, byte_range)

    def get_sync(self, key: str, **options: Any) -> Any:
        """Do the same, without waiting; zarr asks for it since 3.1."""
        self._check(key)
        return super().get_sync(key, **options)

    def _check(self, key: str) -> None:
        path = self.root / key
        try:
            mode = path.stat().st_mode
        except OSError:
            return
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise ValueError(f"{key} in it is a pipe, socket or device")
