"""napari-dip: restore one scientific image with a controlled deep image prior, without training data."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from .settings import Settings

if TYPE_CHECKING:
    from .optimisation.stopping import StopReason
    from .restoration import Progress, Report, Restoration, restore, restore_steps

__version__ = version("napari-dip")
__all__ = ["Progress", "Report", "Restoration", "Settings", "StopReason", "restore", "restore_steps"]


def __getattr__(name: str) -> Any:
    # lazy: torch takes seconds to import, and a plugin's menu must open at once
    if name == "StopReason":
        from .optimisation.stopping import StopReason

        return StopReason
    if name in __all__:
        from . import restoration

        return getattr(restoration, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
