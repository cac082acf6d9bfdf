"""napari-dip: restore one scientific image with a controlled deep image prior, without training data."""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from .settings import Settings

if TYPE_CHECKING:
    from .many.stack import PlaneProgress, restore_stack
    from .optimisation.stopping import StopReason
    from .pixel_type import as_dtype
    from .record import Record
    from .restoration import Moment, Progress, Report, Restoration, restore, restore_steps

# Before torch takes its first memory, and unless the user said otherwise: on Linux its large tensors then lie on large
# pages. A step at 1024 x 1024 spent a third of its time on the faults of small ones.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__version__ = version("napari-dip")
__all__ = [
    "Moment", "PlaneProgress", "Progress", "Record", "Report", "Restoration", "Settings", "StopReason", "as_dtype",
    "restore", "restore_stack", "restore_steps",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    # lazy: torch takes seconds to import, and a plugin's menu must open at once
    if name == "StopReason":
        from .optimisation.stopping import StopReason

        return StopReason
    if name == "as_dtype":
        from .pixel_type import as_dtype

        return as_dtype
    if name == "Record":
        from .record import Record

        return Record
    if name in ("PlaneProgress", "restore_stack"):
        from .many import stack

        return getattr(stack, name)
    if name in __all__:
        from . import restoration

        return getattr(restoration, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
