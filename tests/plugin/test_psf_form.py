"""Deconvolution in the window: the PSF comes from a bead on other pixels, from typed optics, or from a record."""

import numpy as np
import pytest

from napari_dip.measurement.psf import full_widths, optical_psf
from napari_dip.plugin.sample_data import blurred_filaments_layers
from napari_dip.record import Record
from napari_dip.samples import FILAMENT_OPTICS, FILAMENT_PIXEL

pytestmark = [
    pytest.mark.full,
    pytest.mark.filterwarnings("error", "ignore::pydantic.warnings.PydanticDeprecatedSince20"),
]


@pytest.fixture
def filaments(hands):
    """The Restore form beside the sample's layers, of which the image is cut small."""
    for data, look, kind in blurred_filaments_layers():
        part = data if look["name"] == "bead" else data[40:120, 40:120]
        getattr(hands.viewer, f"add_{kind}")(part, **look)
    hands.viewer.reset_view()
    hands.form.image.value = hands.viewer.layers["filaments blurred"]
    hands.choose(hands.form.task, "Take out the blur")
    return hands


def restore(hands) -> np.ndarray:
    hands.make_network_small(steps=30)
    hands.press(hands.widget.controls.restore_button)
    hands.finish()
    assert hands.widget.controls.status.value.startswith("Finished")
    return hands.viewer.layers["filaments blurred restored"].data


def test_a_bead_on_smaller_pixels(filaments) -> None:
    psf = filaments.form.psf
    filaments.choose(psf.source, "Layer with a bead")
    assert psf.note.value == "Choose the layer with the bead, under Bead."
    filaments.choose(psf.layer, "bead")
    width = full_widths(optical_psf(*FILAMENT_OPTICS, FILAMENT_PIXEL))[0]
    assert full_widths(psf.value)[0] == pytest.approx(width, rel=0.05)
    assert "0.22" in psf.note.value
    assert "µm" in psf.note.value
    restored = restore(filaments)
    filaments.look("deconvolve_bead")
    blurred, truth = (filaments.viewer.layers[f"filaments {name}"].data.astype(float) for name in ("blurred", "truth"))
    assert np.corrcoef(restored.ravel(), truth.ravel())[0, 1] > np.corrcoef(blurred.ravel(), truth.ravel())[0, 1] + 0.05


def test_typed_optics_and_a_record_that_fills_the_form(filaments) -> None:
    form, psf = filaments.form, filaments.form.psf
    assert psf.pixel_size.value == FILAMENT_PIXEL  # the layer's own
    filaments.type_into(psf.numerical_aperture, "1.3")
    filaments.type_into(psf.wavelength, "525")
    np.testing.assert_allclose(psf.value, optical_psf(*FILAMENT_OPTICS, FILAMENT_PIXEL))
    assert "0.21" in psf.note.value
    filaments.type_into(psf.pinhole, "1")
    assert psf.excitation.native.isVisible()
    assert full_widths(psf.value)[0] < 3.1
    filaments.type_into(psf.pinhole, "0")
    assert not psf.excitation.native.isVisible()
    restored = restore(filaments)
    filaments.look("deconvolve_optics")
    assert restored.max() > filaments.viewer.layers["filaments blurred"].data.max()

    filaments.choose(psf.source, "Gaussian")
    assert psf.sigma.native.isVisible()
    assert not psf.wavelength.native.isVisible()
    filaments.choose(form.task, "Remove noise")
    assert not psf.native.isVisible()
    record = Record.from_dict(filaments.viewer.layers["filaments blurred restored"].metadata["napari-dip"])
    form.show_record(record, "it")
    assert psf.native.isVisible()
    assert psf.source.native.currentText() == "The record"
    assert not psf.sigma.native.isVisible()
    np.testing.assert_array_equal(psf.value, record.parameters["psf"])
