"""What is asked for: how an image is to be restored, and what a caller wants of the run while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import ArrayLike

from .settings import Settings


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """How an image, or each plane of a stack, is to be restored.

    Attributes
    ----------
    task, factor, settings, quantisation_table, colours
        As ``restore`` takes them.
    """

    task: str = "denoise"
    factor: int | None = None
    settings: Settings = field(default_factory=Settings)
    quantisation_table: ArrayLike | None = None
    colours: bool = True

    @property
    def arguments(self) -> Mapping[str, Any]:
        """What ``restore`` and its like are called with."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a caller may ask of a run while it goes on.

    Attributes
    ----------
    stop_requested, report_wanted, quick_estimates
        As ``restore_steps`` takes them.
    """

    stop_requested: Callable[[], bool] = lambda: False
    report_wanted: Callable[[], bool] = lambda: True
    quick_estimates: bool = False

    @property
    def arguments(self) -> Mapping[str, Any]:
        """What ``restore_steps`` and its like are called with."""
        return {name: getattr(self, name) for name in self.__slots__}


NO_REPORTS = Hooks(report_wanted=lambda: False)
