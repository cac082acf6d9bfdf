"""A stop ends slow work soon: between two operations of torch, or by not waiting for a thread."""

import dataclasses
import threading
import time

import numpy as np
import pytest
import torch

import napari_dip
from napari_dip.interruption import Interrupted, wait_for
from napari_dip.torch_modes import interruptible


def test_waiting_returns_what_the_work_returns_or_raises() -> None:
    def fail() -> None:
        raise OSError("the disk is gone")

    for stop in (None, lambda: False):
        assert wait_for(lambda: 7, stop) == 7
        with pytest.raises(OSError, match="the disk is gone"):
            wait_for(fail, stop)


def test_waiting_ends_at_once_although_the_work_goes_on() -> None:
    stop, may_end = threading.Event(), threading.Event()
    threading.Timer(0.1, stop.set).start()
    start = time.perf_counter()
    with pytest.raises(Interrupted):
        wait_for(lambda: may_end.wait(20), stop.is_set)
    assert time.perf_counter() - start < 5
    may_end.set()


def test_a_stop_comes_between_two_operations() -> None:
    """Methods, operators and functions alike; afterwards torch is as before."""
    asked = []
    image = torch.ones(4, 4, requires_grad=True)
    with interruptible(lambda: bool(asked)):
        total = (image * 2).square().sum()
        total.backward()
        asked.append(True)
        for operation in (lambda: image + 1, image.sum, lambda: torch.fft.rfft2(image), lambda: image[0]):
            with pytest.raises(Interrupted):
                operation()
    assert float(image.grad.sum()) == 128
    with interruptible(None):
        assert float(image.detach().sum()) == 16


@pytest.fixture
def noisy() -> np.ndarray:
    image = np.linspace(0, 200, 40)[:, None] + np.zeros((40, 36))
    return (image + np.random.default_rng(0).normal(0, 10, image.shape)).astype(np.float32)


def test_a_run_that_may_end_at_once_is_the_same_to_the_bit(noisy, small_settings) -> None:
    *_, last = napari_dip.restore_steps(noisy, settings=small_settings, ends_at_once=True)
    np.testing.assert_array_equal(last.result.restored, napari_dip.restore(noisy, settings=small_settings).restored)
    assert not last.result.record.cut_short


def test_a_stop_before_the_first_report_ends_without_a_result(noisy, small_settings) -> None:
    """While the image is measured, or the filters prepared."""
    phases: list[str] = []
    for last_words in ("Measuring the noise", "Preparing the filters"):
        phases.clear()
        with pytest.raises(Interrupted):
            list(
                napari_dip.restore_steps(
                    noisy, settings=small_settings, ends_at_once=True, phase_begun=phases.append,
                    stop_requested=lambda words=last_words: words in phases,
                )
            )  # fmt: skip
        assert phases[-1] == last_words


def test_a_stop_in_the_middle_keeps_what_was_judged(noisy, small_settings) -> None:
    """What the last preview showed, or a better one before it, without another step or filter."""
    reports, phases = [], []
    for progress in napari_dip.restore_steps(
        noisy, settings=small_settings, ends_at_once=True, quick_estimates=True, phase_begun=phases.append,
        stop_requested=lambda: len(reports) == 2,
    ):  # fmt: skip
        reports.append(progress)
    result = reports[-1].result
    assert phases == ["Measuring the noise", "Preparing the filters", "Taking the first steps"]
    assert len(reports) == 3
    assert result.was_stopped
    assert result.stop_reason is napari_dip.StopReason.USER
    assert result.step in (reports[0].step, reports[1].step)
    np.testing.assert_array_equal(result.restored, reports[1 if result.step == reports[1].step else 0].estimate)
    with pytest.raises(ValueError, match="stopped before its last filters"):
        result.record.as_python()


def test_gaps_are_filled_smoothly_before_blocks_are_compared_and_a_stop_keeps_that(noisy, small_settings) -> None:
    missing = np.zeros(noisy.shape, bool)
    missing[::3, ::2] = True
    settings = dataclasses.replace(small_settings, patience=1000)
    steps, phases = [], []
    for progress in napari_dip.restore_steps(
        noisy, missing, task="inpaint", settings=settings, ends_at_once=True, quick_estimates=True,
        phase_begun=phases.append, stop_requested=lambda: phases[-1:] == ["Comparing similar blocks"],
    ):  # fmt: skip
        steps.append((progress.step, phases[-1]))
    result = progress.result
    assert steps == [(1, "Taking the first steps"), (1, "Comparing similar blocks")]
    assert result.note.startswith("Classical filling did all the work")  # no blocks yet, and no network
    assert result.was_stopped
    assert result.record.cut_short
    np.testing.assert_array_equal(result.restored[~missing], noisy[~missing])
    assert np.isfinite(result.restored).all()


@pytest.mark.parametrize("quick", [True, False])
def test_a_stop_right_after_blocks_were_compared_keeps_what_they_show(quick, noisy, small_settings) -> None:
    """Though the network has taken one step: it is judged anew with them."""
    rows = np.arange(48)
    truth = (100 + 60 * np.sin(rows[:, None] * 2.1) * np.sin(rows * 2.1)).astype(np.float32)
    missing = np.random.default_rng(0).random(truth.shape) < 0.5
    errors = {}
    for last_words in ("Comparing similar blocks", "Taking the first steps"):
        phases, reports = [], []
        for progress in napari_dip.restore_steps(
            np.where(missing, 0, truth), missing, task="inpaint", settings=small_settings, ends_at_once=True,
            quick_estimates=quick, phase_begun=phases.append,
            stop_requested=lambda last=last_words, told=phases: "Comparing similar blocks" in told and told[-1] == last,
        ):  # fmt: skip
            reports.append(progress)
        assert reports[-1].result.was_stopped
        errors[last_words] = np.square(reports[-1].result.restored - truth)[missing].mean()
        if last_words == "Taking the first steps":
            assert reports[-1].result.step == 1
    assert errors["Taking the first steps"] < 0.3 * errors["Comparing similar blocks"]


def test_a_stop_during_the_last_filters_keeps_what_was_judged(noisy, small_settings) -> None:
    phases: list[str] = []
    *_, last = napari_dip.restore_steps(
        noisy, settings=small_settings, ends_at_once=True, phase_begun=phases.append,
        stop_requested=lambda: phases[-1:] == ["Applying the last filters"],
    )  # fmt: skip
    assert last.result.record.cut_short
    assert last.result.was_stopped
    assert np.isfinite(last.result.restored).all()
    assert not last.result.moments or not last.result.moments[0].restoration().record.cut_short
