"""What the window says about a run: short sentences, one for many planes, and nothing that it does not know."""

import dataclasses
import types

import pytest

from napari_dip.plugin.run.improvement import Improvement
from napari_dip.plugin.run.record_tools import suggest_file_name
from napari_dip.plugin.run.run_controls import RunControls
from napari_dip.plugin.run.run_words import _describe_steps, _split_notes, _summarise
from napari_dip.plugin.words import set_lines

NOISE = "The noise grows with brightness, as shot noise does: {} ({}% of the range) on average."
STRUCTURE = (
    "Some structure was removed with the noise: look at the residual, where neighbouring pixels correlate by 0.{}."
)
FILTERS = "The filters did most of the work: they reduced the network's error on held-out pixels by {}%."


def test_notes_of_many_planes_become_one() -> None:
    notes = [
        f"{NOISE.format(29.1, 4.6)} {FILTERS.format(64)} {STRUCTURE.format(31)}",
        f"{NOISE.format(31, 4.6)} {FILTERS.format(58)}",
        f"{NOISE.format(8.5, 1.2)} {FILTERS.format(58)}",
    ]
    to_read, about_method = _split_notes(notes)
    assert to_read == [
        NOISE.format("8.5 to 31", "1.2 to 4.6"),
        "In 1 of 3 planes: some structure was removed with the noise: look at the residual.",
    ]
    assert about_method == [FILTERS.format("58 to 64")]


def test_a_single_note_keeps_its_figures_for_the_details() -> None:
    to_read, about_method = _split_notes([f"{NOISE.format(29.1, 4.6)} {FILTERS.format(64)}"])
    assert to_read == [NOISE.format(29.1, 4.6)]
    assert about_method == [FILTERS.format(64), "The slider will show little difference."]
    assert _split_notes([""]) == ([], [])
    assert _summarise([]) == []
    assert _summarise([["It is -0.2."], ["It is 0.1."], ["It is -0.05."]]) == ["It is -0.2 to 0.1."]


def test_the_steps_of_many_planes_are_told_as_ranges() -> None:
    def record(step: int) -> types.SimpleNamespace:
        return types.SimpleNamespace(step=step, stop_step=90, stop_reason="it ended", residual_correlation=0.0)

    assert _describe_steps([record(30)])[0] == "Chosen: step 30 of 90; it ended."
    assert _describe_steps([record(30), record(50)])[0] == "Chosen: steps 30 to 50 of 90; it ended."


@dataclasses.dataclass
class Report:
    """What an improvement is judged by."""

    held_out_error: float | None
    step: int = 100
    prior_error: float | None = None
    tile: object = None
    stage: str = "restoring"


@pytest.mark.parametrize(
    ("errors", "slow"),
    [
        ([1.0, 0.5, 0.4, 0.3], False),
        ([1.0, 0.5, 0.5, 0.499], True),
        ([1.0, 0.5, 0.9, 0.9], True),  # it only gets worse
        ([None] * 4, False),
    ],
)
def test_what_hardly_improves_is_slow(errors, slow) -> None:
    improvement = Improvement()
    seconds = (16, 26, 31, 35)  # the filters were prepared before
    told = [improvement.is_slow(Report(error), at) for error, at in zip(errors, seconds, strict=True)]
    assert told[:1] == [False]  # too early to say
    assert told[-1] is slow
    assert not improvement.is_slow(Report(0.1, tile=types.SimpleNamespace()), 30)


def test_reports_seconds_apart_and_a_network_that_only_begins_are_not_slow() -> None:
    errors, seconds = (1.0, 0.9, 0.6), (16, 23, 30)
    improvement = Improvement()
    assert not any(improvement.is_slow(Report(error), at) for error, at in zip(errors, seconds, strict=True))
    for prior_error, slow in ((None, False), (0.9, True)):  # filters help from the first step on
        improvement = Improvement()
        told = [improvement.is_slow(Report(0.5, 30, prior_error), at) for at in (2, 8, 14)]
        assert told == [False, False, slow]


def test_a_phase_of_a_stack_is_short_in_the_bar_and_whole_below_it(qtbot) -> None:
    names = ("start", "start_on_region", "start_on_files", "pause_or_resume", "stop", "cancel", "help_wanted")
    controls = RunControls(**dict.fromkeys(names, lambda: None))
    qtbot.addWidget(controls.native)
    controls.show_phase("Preparing the filters, z 2; 2 of 9 planes are finished")
    assert controls.progress.native.format() == "Preparing the filters"
    assert controls.status.value == "Preparing the filters, z 2; 2 of 9 planes are finished …"


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("Finished (1 min 10 s).", "Finished (1_min_10_s)."),
        ("About 2 h 5 min for 9 planes, 0.3 GB of memory.", "About 2_h_5_min for 9 planes, 0.3_GB of memory."),
        ("Done with z 3; step 4 stays", "Done with z 3; step 4 stays"),
        ("Restoring cells-of-the-first-experiment.tif", "Restoring cells-|of-|the-|first-|experiment.|tif"),
        (f"Restoring {'a' * 30}; 1 is done", f"Restoring {'a' * 20}{'|a' * 10}; 1 is done"),
    ],
)
def test_a_line_ends_within_a_long_word_but_not_before_a_unit(sentence, shown) -> None:
    assert set_lines(sentence).replace("\N{NO-BREAK SPACE}", "_").replace("\N{ZERO WIDTH SPACE}", "|") == shown
    assert set_lines(set_lines(sentence)) == set_lines(sentence)


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        ("own.ome restored", "own restored.ome.tif"),
        ("cells.tif restored, step 3", "cells restored, step 3.ome.tif"),
        ("own.ome.tif (t 3) restored", "own (t 3) restored.ome.tif"),
        ("v1.5 restored", "v1.5 restored.ome.tif"),
    ],
)
def test_a_suggested_name_has_one_suffix(layer, name) -> None:
    assert suggest_file_name(layer) == name
