"""napari-dip: restore one scientific image with a controlled deep image prior, without training data."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from .settings import Settings

if TYPE_CHECKING:
    from .many.stack import PlaneProgress, restore_stack
    from .optimisation.stopping import StopReason
    from .outcome import Moment, Progress, Report, Restoration
    from .pixel_type import as_dtype
    from .record import Record
    from .restoration import restore, restore_steps

# Puts torch's large tensors on large memory pages on Linux, unless the user has set it; torch reads it when it first
# allocates. A step at 1024 x 1024 spent a third of its time on page faults with small pages.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__version__ = version("napari-dip")
__all__ = [
    "Moment", "PlaneProgress", "Progress", "Record", "Report", "Restoration", "Settings", "StopReason", "as_dtype",
    "restore", "restore_stack", "restore_steps",
]  # fmt: skip
_HOMES = (
    {"Record": ".record", "StopReason": ".optimisation.stopping", "as_dtype": ".pixel_type"}
    | dict.fromkeys(("Moment", "Progress", "Report", "Restoration"), ".outcome")
    | dict.fromkeys(("PlaneProgress", "restore_stack"), ".many.stack")
)


def __getattr__(name: str) -> Any:
    # lazy, because importing torch takes seconds and the plugin's menu must open at once
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, ".restoration"), __name__), name)
