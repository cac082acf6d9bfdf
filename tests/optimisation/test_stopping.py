from napari_dip.optimisation.stopping import FixedRule, HeldOutRule, RatioRule, StopReason


def test_held_out_rule_stops_after_its_patience() -> None:
    rule = HeldOutRule(patience=50)
    errors = [1.0, 0.8, 0.6, 0.7, 0.7, 0.7, 0.7, 0.7]
    reasons = [rule.update(10 * (n + 1), error, 1.0) for n, error in enumerate(errors)]
    assert reasons == [None] * 7 + [StopReason.HELD_OUT]


def test_ratio_rule_stops_when_the_mean_is_steady() -> None:
    rule = RatioRule(window=100, threshold=0.01)
    steps = range(10, 2000, 10)
    stopped = next(step for step in steps if rule.update(step, None, 3 + 5 * 0.99**step) is StopReason.RATIO)
    late, early = (sum(3 + 5 * 0.99**s for s in range(end - 90, end + 1, 10)) / 10 for end in (stopped, stopped - 100))
    assert abs(late - early) < 0.01


def test_fixed_rule_never_stops() -> None:
    rule = FixedRule()
    assert all(rule.update(step, 1.0, 1.0) is None for step in range(1000))
