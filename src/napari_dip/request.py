"""How an image should be restored, and what the caller wants during the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .measurement.task import find_task
from .settings import Settings


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """How to restore an image, or each plane of a stack.

    Attributes
    ----------
    task, settings, colours
        As ``restore`` takes them.
    parameters : mapping
        The task's own arguments, as ``restore`` takes them: ``factor``, for example.
    """

    task: str = "denoise"
    settings: Settings = field(default_factory=Settings)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    colours: bool = True

    @property
    def enlargement(self) -> int:
        """How many times more rows and columns the result has."""
        return find_task(self.task).enlargement(self.parameters)

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The keyword arguments for ``restore`` and its relatives."""
        return {"task": self.task, "settings": self.settings, "colours": self.colours, **self.parameters}


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """The planes around the one to restore, which may help.

    Attributes
    ----------
    planes : tuple of (ndarray, ndarray or None)
        In the stack's order, without the plane itself: the image, ``(h, w)`` or ``(h, w, c)``, and its mask,
        ``(h, w)``, True = missing.
    place : int
        How many of them come before the plane itself.
    along : str
        The letter of the axis that they are on.
    """

    planes: tuple[tuple[np.ndarray, NDArray[np.bool_] | None], ...]
    place: int
    along: str


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a caller wants during a run.

    Attributes
    ----------
    stop_requested, report_wanted, quick_estimates, ends_at_once, phase_begun
        As ``restore_steps`` takes them.
    """

    stop_requested: Callable[[], bool] = lambda: False
    report_wanted: Callable[[], bool] = lambda: True
    quick_estimates: bool = False
    ends_at_once: bool = False
    phase_begun: Callable[[str], None] = lambda words: None

    @property
    def stop_at_once(self) -> Callable[[], bool] | None:
        """What slow work looks at while it goes on; None if a stop waits for it."""
        return self.stop_requested if self.ends_at_once else None

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The keyword arguments for ``restore_steps`` and its relatives."""
        return {name: getattr(self, name) for name in self.__slots__}


NO_REPORTS = Hooks(report_wanted=lambda: False)
