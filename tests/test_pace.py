from napari_dip.pace import at_most_every


def test_it_is_due_at_first_and_then_by_the_clock(monkeypatch) -> None:
    times = iter([5.0, 5.1, 5.3, 5.35, 6.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    is_due = at_most_every(0.2)
    assert [is_due() for _ in range(5)] == [True, False, True, False, True]
