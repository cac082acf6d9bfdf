"""How often a run shows itself: by the clock, so that no window or terminal is flooded."""

from __future__ import annotations

import time
from collections.abc import Callable


def at_most_every(seconds: float) -> Callable[[], bool]:
    """Return a function that is True when asked first, and then when so long has passed since it last was."""
    last = float("-inf")

    def is_due() -> bool:
        nonlocal last
        now = time.perf_counter()
        if now - last < seconds:
            return False
        last = now
        return True

    return is_due
