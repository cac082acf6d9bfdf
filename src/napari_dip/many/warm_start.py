"""Warm start: a plane starts from its neighbour's network if the two are alike."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from ..outcome import Restoration, WarmStart
from ..settings import Settings
from .axes import Axes, Plane

_MOST_CHANGE = 2.0  # mean squared difference of two planes, relative to that of their noise (1 if nothing has moved)
_SHARE_OF_PATIENCE = 0.25


class LastNetworks:
    """Remembers the network of the last plane along an axis, for each place on the other axes.

    Parameters
    ----------
    axes : Axes
    along : str
        The letter of the axis.

    Raises
    ------
    ValueError
        If planes are not stepped through along this axis.
    """

    def __init__(self, axes: Axes, along: str) -> None:
        self._along = along.upper()
        if self._along not in axes.stepped or self._along == "C":
            usable = axes.stepped.replace("C", "")
            raise ValueError(
                f"a warm start along {along} is not possible; choose {' or '.join(usable)}."
                if usable
                else f"a warm start along {along} is not possible: there is only one plane; leave it out."
            )
        self._last: dict[tuple[tuple[str, int], ...], tuple[int, np.ndarray, float, WarmStart]] = {}

    def start(self, plane: Plane, image: np.ndarray) -> WarmStart | None:
        """Return what a plane can start from; None if there is no plane before it or the two differ too much.

        They do if their mean squared difference is more than twice what their noise alone explains.

        Parameters
        ----------
        plane : Plane
        image : ndarray
            ``(h, w)`` or ``(h, w, c)``, as measured.
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

    def remember(self, plane: Plane, image: np.ndarray, result: Restoration) -> None:
        """Remember the network of a restored plane."""
        noise = result.record.noise
        self._last.pop(self._others(plane), None)
        if result.warm_start is not None and noise is not None:
            self.add(plane, image, noise, result.warm_start)

    def add(self, plane: Plane, image: np.ndarray, noise: float, start: WarmStart) -> None:
        """Remember the network of a plane, with the plane's pixels and noise."""
        self._last[self._others(plane)] = plane.place[self._along], _measured(image), noise, start

    def _others(self, plane: Plane) -> tuple[tuple[str, int], ...]:
        return tuple((letter, number) for letter, number in plane.place.items() if letter != self._along)


def _measured(image: np.ndarray) -> NDArray[np.float64]:
    """Return intensities as float64; pixels that are masked in a masked array become NaN."""
    return np.asarray(np.ma.filled(image.astype(np.float64), np.nan))


def shorten(settings: Settings) -> Settings:
    """Return the settings for a warm start: with less to learn, a plane needs less patience."""
    patience = max(settings.report_every, round(_SHARE_OF_PATIENCE * settings.patience))
    return dataclasses.replace(settings, patience=patience, wait_for_prior=False)
