"""Neighbours help: a plane begins where its neighbour ended, if they are alike."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from ..outcome import Restoration, WarmStart
from ..settings import Settings
from .axes import Axes, Plane

_MOST_CHANGE = 2.0  # mean squared difference of two planes, in that of their noise alone; 1 if nothing has moved
_SHARE_OF_PATIENCE = 0.25


class Neighbours:
    """Remembers where the last plane ended along an axis, for each place on the others.

    Parameters
    ----------
    axes : Axes
    along : str
        The letter of that axis.

    Raises
    ------
    ValueError
        If planes are not stepped through along it.
    """

    def __init__(self, axes: Axes, along: str) -> None:
        self._along = along.upper()
        if self._along not in axes.stepped or self._along == "C":
            usable = axes.stepped.replace("C", "")
            raise ValueError(
                f"planes cannot help each other along {along}; choose one of {', '.join(usable)}."
                if usable
                else f"planes cannot help each other along {along}: there is only one."
            )
        self._last: dict[tuple[tuple[str, int], ...], tuple[int, NDArray, float, WarmStart]] = {}

    def start(self, plane: Plane, image: NDArray) -> WarmStart | None:
        """Return where a plane can begin; None if there is no neighbour before it or they differ too much.

        That is, by more than twice what their noise alone makes them differ, in the mean square.

        Parameters
        ----------
        plane : Plane
        image : ndarray
            ``(h, w)`` or ``(h, w, c)``, as it was measured.
        """
        number, last = plane.place[self._along], self._last.get(self._others(plane))
        if last is None or last[0] != number - 1:
            return None
        _, before, noise, start = last
        difference = _measured(image) - before
        difference = difference[np.isfinite(difference)]
        if difference.size == 0 or noise == 0:
            return None
        change = float(np.mean(difference**2)) / (2 * noise**2)
        return start if change < _MOST_CHANGE else None

    def remember(self, plane: Plane, image: NDArray, result: Restoration) -> None:
        """Remember where a plane ended."""
        noise = result.record.noise
        self._last.pop(self._others(plane), None)
        if result.warm_start is not None and noise is not None:
            self.recall(plane, image, noise, result.warm_start)

    def recall(self, plane: Plane, image: NDArray, noise: float, start: WarmStart) -> None:
        """Be told where a plane ended that was restored before, and the noise that it had."""
        self._last[self._others(plane)] = plane.place[self._along], _measured(image), noise, start

    def _others(self, plane: Plane) -> tuple[tuple[str, int], ...]:
        return tuple((letter, number) for letter, number in plane.place.items() if letter != self._along)


def _measured(image: NDArray) -> NDArray[np.float64]:
    """Return intensities as float64, what is masked in a masked array not a number."""
    return np.asarray(np.ma.filled(image.astype(np.float64), np.nan))


def shorten(settings: Settings) -> Settings:
    """Return the settings of a plane that begins where its neighbour ended: with less to learn, less patience."""
    patience = max(settings.report_every, round(_SHARE_OF_PATIENCE * settings.patience))
    return dataclasses.replace(settings, patience=patience, wait_for_prior=False)
