"""What a caller asks of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a caller may ask of a run while it goes on.

    Attributes
    ----------
    stop_requested : callable
        Asked after every step; when it returns True, the run ends with the best so far.
    report_wanted : callable
        Asked at every report; when it returns False, this one is not yielded, and its estimate, which takes a while,
        not made. The history is complete nevertheless.
    quick_estimates : bool
        Whether estimates, but for the last, are the images that were judged by held-out pixels: near to what stopping
        would return, and there already. For previews.
    """

    stop_requested: Callable[[], bool] = lambda: False
    report_wanted: Callable[[], bool] = lambda: True
    quick_estimates: bool = False
