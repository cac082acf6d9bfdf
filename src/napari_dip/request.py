"""What is asked for: how an image is to be restored, and what a caller wants of the run while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .settings import Settings


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """How an image, or each plane of a stack, is to be restored.

    Attributes
    ----------
    task, settings, colours
        As ``restore`` takes them.
    parameters : mapping
        What else the task takes, as ``restore`` does: its factor, for one.
    """

    task: str = "denoise"
    settings: Settings = field(default_factory=Settings)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    colours: bool = True

    @property
    def factor(self) -> int | None:
        """Of super-resolution."""
        return self.parameters.get("factor")

    @property
    def enlargement(self) -> int:
        """How many times more rows and columns the result has."""
        return self.factor or 1

    @property
    def arguments(self) -> Mapping[str, Any]:
        """What ``restore`` and its like are called with."""
        return {"task": self.task, "settings": self.settings, "colours": self.colours, **self.parameters}


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
