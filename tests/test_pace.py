import re

import pytest

from napari_dip.pace import Pace, StepTimer, say_duration, say_range, say_time_left


def at_times(monkeypatch, *times: float) -> None:
    remaining = iter(times)
    monkeypatch.setattr("time.perf_counter", lambda: next(remaining))


def test_it_is_due_at_first_and_then_by_the_clock(monkeypatch) -> None:
    at_times(monkeypatch, 5.0, 5.1, 5.3, 5.35, 6.0)
    pace = Pace(0.2)
    assert [pace.is_due() for _ in range(5)] == [True, False, True, False, True]


def test_what_takes_long_to_make_is_shown_rarely(monkeypatch) -> None:
    at_times(monkeypatch, 5.0, 5.1, 5.9, 6.1)
    pace = Pace(0.2)
    assert pace.is_due()
    pace.mark_shown()  # it took 0.1 s: nine times as long goes into steps
    assert not pace.is_due()
    assert pace.is_due()


def test_a_result_that_was_not_asked_for_delays_nothing(monkeypatch) -> None:
    at_times(monkeypatch, 5.0, 5.0, 9.0)
    pace = Pace(0.2)
    assert pace.is_due()
    pace.mark_shown()
    pace.mark_shown()  # a plane ends after 4 s: the next is watched at once
    assert pace.is_due()


def test_steps_are_timed_from_the_first_report(monkeypatch) -> None:
    at_times(monkeypatch, 100.0, 102.0, 102.0, 162.0, 164.0)
    timer = StepTimer()
    assert timer.seconds_per_step(10) is None
    assert timer.seconds_per_step(20) == 0.2
    with timer.stopped():
        pass  # for a minute
    assert timer.seconds_per_step(30) == 0.2


def test_steps_are_timed_without_their_reports(monkeypatch) -> None:
    at_times(monkeypatch, 0.0, 5.0, 5.0, 6.0, 8.0, 9.0)
    timer = StepTimer()
    with timer.stepping():
        pass  # cold
    assert timer.seconds_per_bare_step(1) is None
    assert timer.seconds_per_step(1) is None
    with timer.stepping():
        pass  # from 6 to 8
    assert timer.seconds_per_bare_step(2) == 2
    assert timer.seconds_per_step(2) == 4  # with the report


def test_times_are_said_in_words() -> None:
    assert [say_duration(seconds) for seconds in (0.4, 8.2, 59.7, 80, 250, 7800)] == [
        "0 s", "8 s", "1 min", "1 min 20 s", "4 min", "2 h 10 min",
    ]  # fmt: skip
    assert say_time_left((8.2, 21)) == "6 to 25 s left"
    assert say_time_left((8.2, 250)) == "at most 5 min left"
    assert say_time_left((47, 130)) == "35 s to 3 min left"
    assert say_time_left((80, 95)) == "1 min 30 s left"
    assert say_time_left((0.2, 2.4)) == "0 to 3 s left"
    assert say_time_left((30, 30)) == "30 s left"
    assert say_time_left((0.0, 0.2)) == "about to end"
    assert say_time_left(None) == ""


@pytest.mark.parametrize(("least", "most"), [(0.3, 1.9), (4.4, 9.1), (12, 34), (61, 180), (130, 500), (3700, 9000)])
def test_a_range_in_words_holds_the_range(least, most) -> None:
    units = {"s": 1, "min": 60, "h": 3600}
    first, last = (
        sum(float(number) * units[unit] for number, unit in re.findall(r"(\d+) (s|min|h)", words))
        for words in _in_full(say_range((least, most)))
    )
    assert first <= least <= most <= last
    assert last - first <= 1.6 * (most - least) + 1


def _in_full(words: str) -> list[str]:
    """Return both ends of a range, each with its unit."""
    first, last = words.split(" to ")
    return [first if " " in first else f"{first} {last.rpartition(' ')[2]}", last]
