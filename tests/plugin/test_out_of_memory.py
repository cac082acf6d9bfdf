"""Out of memory: what the run held is given back, the layers are as they were, and a smaller way is offered."""

import weakref

import numpy as np
import pytest
import torch
from gestures import finish, open_widget

from napari_dip.optimisation.fit import Fit

FAILS_AT = 40

SMALL = {"width": 32, "levels": 2, "step_limit": 60, "runs": 2, "partner": False}


@pytest.fixture
def failed_fits(monkeypatch) -> list[weakref.ref]:
    """Fits of two networks get an exception of torch's in mid-run; they are listed without being kept."""
    step, fits = Fit.step, []

    def step_until_memory_ends(self):
        if self.runs > 1 and self.step_count == FAILS_AT:
            fits.append(weakref.ref(self))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        step(self)

    monkeypatch.setattr(Fit, "step", step_until_memory_ends)
    return fits


def test_the_memory_is_given_back_and_the_smaller_way_works(viewer, qtbot, camera, failed_fits, errors) -> None:
    image = viewer.add_image(camera, name="cells")
    other = viewer.add_image(camera, name="other", visible=False)
    viewer.layers.selection.active = image
    widget = open_widget(viewer)
    widget.form.image.value = image
    widget.controls.restore_button.native.click()
    finish(widget, qtbot)

    assert [each() for each in failed_fits] == [None]
    assert list(viewer.layers) == [image, other]
    assert viewer.layers.selection.active.name == "cells"
    assert len(errors) == 1
    assert errors[0].startswith("The device ran out of memory. No layer was changed.")
    assert widget.smaller_way_button.text == "Try one network instead of 2"
    assert not widget.smaller_way_button.native.isHidden()

    widget.smaller_way_button.native.click()
    assert widget.running
    finish(widget, qtbot)
    assert widget.smaller_way_button.native.isHidden()
    restored = viewer.layers["cells restored"]
    assert restored.metadata["napari-dip"]["settings"]["runs"] == 1
    np.testing.assert_array_equal(image.data, camera)


def test_what_is_refused_for_its_size_is_offered_smaller(viewer, qtbot, camera, errors, monkeypatch) -> None:
    monkeypatch.setattr("napari_dip.device.free_memory", lambda device: 1e6)  # of the machine, not of ours
    viewer.add_image(camera, name="cells")
    widget = open_widget(viewer)
    for way in ("one network instead of 2", "a narrower network", "the CPU"):
        (widget.smaller_way_button if errors else widget.controls.restore_button).native.click()
        finish(widget, qtbot)
        assert "GB free" in errors[-1]
        assert widget.smaller_way_button.text == f"Try {way}"
    widget.smaller_way_button.native.click()
    finish(widget, qtbot)
    assert "No smaller run is possible" in errors[-1]
    assert widget.smaller_way_button.native.isHidden()
