import dataclasses
import json
from pathlib import Path

import pytest

from napari_dip.optimisation.estimate import Measures
from napari_dip.optimisation.stopping import DiscrepancyRule, FixedRule, HeldOutRule, RatioRule, StopReason, choose_rule
from napari_dip.settings import Settings


def measured(
    held_out_error: float | None = None,
    ratio: float = 1.0,
    discrepancy: float | None = None,
    prior_error: float | None = None,
) -> Measures:
    prior_error = held_out_error if prior_error is None else prior_error
    return Measures(
        loss=0.1,
        spread=1.0,
        held_out_error=held_out_error,
        prior_error=prior_error,
        discrepancy=discrepancy,
        blurriness=ratio,
        sharpness=1.0,
        ratio=ratio,
        band_correspondence=(1.0,),
    )


def test_held_out_rule_stops_after_its_patience() -> None:
    rule = HeldOutRule(patience=50)
    errors = [1.0, 0.8, 0.6, 0.7, 0.7, 0.7, 0.7, 0.7]
    reasons = [rule.update(10 * (n + 1), measured(error)) for n, error in enumerate(errors)]
    assert reasons == [None] * 7 + [StopReason.HELD_OUT]


def test_held_out_rule_waits_for_the_prior() -> None:
    rule = HeldOutRule(patience=30)
    prior = [3.0, 2.5, 2.0, 1.5, 1.2, 1.2, 1.2, 1.2]
    reasons = [rule.update(10 * (n + 1), measured(1.0, prior_error=error)) for n, error in enumerate(prior)]
    assert reasons == [None] * 7 + [StopReason.HELD_OUT]
    impatient = HeldOutRule(patience=30, wait_for_prior=False)
    reasons = [impatient.update(10 * (n + 1), measured(1.0, prior_error=error)) for n, error in enumerate(prior[:4])]
    assert reasons == [None] * 3 + [StopReason.HELD_OUT]


def test_where_all_pixels_judge_a_shorter_patience_follows_significant_gains() -> None:
    def steps_until(better: list[int], patience: int = 100, fills_in: bool = False) -> int:
        rule = HeldOutRule(patience, steps_to_start=60, fills_in=fills_in)
        for step in range(10, 1000, 10):
            if rule.update(step, dataclasses.replace(measured(1.0), is_better=step in better)) is not None:
                return step
            earliest, latest = rule.foresee_stop(1000)
            assert step < earliest <= latest
        raise AssertionError("it never stopped")

    assert steps_until([]) == 60  # a network that could help has begun to by then
    assert steps_until([10, 20, 50]) == 90
    assert steps_until([50, 80, 110]) == 150
    assert steps_until([50, 70], patience=50) == 90
    assert steps_until([50, 110], fills_in=True) == 210  # filters cannot replace what only the network draws


def test_nobody_foresees_how_long_a_network_learns_slowly() -> None:
    rules = [HeldOutRule(100, steps_to_start=60, learns_slowly=slow) for slow in (False, True)]
    better = dataclasses.replace(measured(1.0), is_better=True)
    assert [rule.update(100, better) for rule in rules] == [None, None]
    assert [rule.foresee_stop(1000) for rule in rules] == [(140, 220), (140, 1000)]
    assert rules[1].update(140, dataclasses.replace(better, is_better=False)) is StopReason.HELD_OUT


def test_ratio_rule_stops_when_the_mean_is_steady() -> None:
    rule = RatioRule(window=100, threshold=0.01)
    steps = range(10, 2000, 10)
    stopped = next(step for step in steps if rule.update(step, measured(ratio=3 + 5 * 0.99**step)) is StopReason.RATIO)
    late, early = (sum(3 + 5 * 0.99**s for s in range(end - 90, end + 1, 10)) / 10 for end in (stopped, stopped - 100))
    assert abs(late - early) < 0.01


def test_fixed_rule_never_stops() -> None:
    rule = FixedRule()
    assert all(rule.update(step, measured(1.0)) is None for step in range(1000))


def test_discrepancy_rule_stops_when_the_truth_would_be_no_nearer() -> None:
    rule = DiscrepancyRule(0.7)
    assert rule.update(10, measured(discrepancy=2.0)) is None
    assert rule.update(20, measured(discrepancy=0.6)) is StopReason.DISCREPANCY


def test_a_rule_that_misses_its_figure_says_so() -> None:
    for rule, what in ((HeldOutRule(10), "held-out"), (DiscrepancyRule(0.7), "errors")):
        with pytest.raises(ValueError, match=what):
            rule.update(10, measured())
    with pytest.raises(ValueError, match="choose auto"):
        choose_rule(
            "never",
            patience=1,
            wait_for_prior=True,
            steps_to_start=1,
            ratio_window=1,
            ratio_threshold=1.0,
            knows_discrepancy=False,
        )


def test_what_is_foreseen_of_recorded_runs_comes_true() -> None:
    """17 runs on images of 64 to 256 pixels, with the automatic stop."""
    kept, widths = [], []
    for run in json.loads((Path(__file__).parent / "recorded_runs.json").read_text()).values():
        settings, end = Settings.preset(run["quality"]), run["reports"][-1][0]
        rule = choose_rule(
            "auto", patience=settings.patience, wait_for_prior=settings.wait_for_prior, steps_to_start=60,
            ratio_window=100, ratio_threshold=0.01, knows_discrepancy=run["task"] == "deblock",
        )  # fmt: skip
        for step, held_out_error, prior_error, is_better, discrepancy in run["reports"][:-1]:
            measures = measured(held_out_error, 1.0, discrepancy, prior_error)
            assert rule.update(step, dataclasses.replace(measures, is_better=is_better)) is None
            least, most = rule.foresee_stop(settings.step_limit)
            kept.append(least <= end <= most)
            if run["task"] == "denoise":
                widths.append((most - step) / max(least - step, 10))
    assert sum(kept) > 0.95 * len(kept)
    assert sorted(widths)[len(widths) // 2] < 4  # else it would be true of anything


def test_a_fixed_number_of_steps_is_foreseen_exactly() -> None:
    assert FixedRule().foresee_stop(300) == (300, 300)
    assert RatioRule(window=100, threshold=0.01).foresee_stop(1000) == (200, 1000)
