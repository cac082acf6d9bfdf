"""How a stop ends slow work at once, where nothing in that work looks at it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

_Found = TypeVar("_Found")
_LOOK_EVERY = 0.05  # seconds


class Interrupted(Exception):
    """A stop was requested before there was anything to keep."""


def wait_for(work: Callable[[], _Found], stop_requested: Callable[[], bool] | None) -> _Found:
    """Do some work in a thread of its own and return its result; wait no longer once a stop is requested.

    The thread then ends by itself, unheeded, so the work must change nothing that others see. Reading and measuring
    are like that, and numpy and dask lend themselves to no other way.

    Parameters
    ----------
    work : callable
    stop_requested : callable or None
        None: the work is done here, to its end.

    Raises
    ------
    Interrupted
    """
    if stop_requested is None:
        return work()
    results: list[_Found] = []
    errors: list[BaseException] = []

    def do() -> None:
        try:
            results.append(work())
        except BaseException as error:  # raised below, by the caller's thread
            errors.append(error)

    thread = threading.Thread(target=do, name=wait_for.__qualname__, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_LOOK_EVERY)
        if thread.is_alive() and stop_requested():
            raise Interrupted
    if errors:
        raise errors.pop()
    return results.pop()


def is_still_working() -> bool:
    """Return whether any thread still works for ``wait_for``, heeded or not."""
    return any(each.name == wait_for.__qualname__ for each in threading.enumerate())
