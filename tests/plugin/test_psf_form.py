"""Deconvolution in the window: the PSF comes from a bead on other pixels, from typed optics, or from a record."""

import numpy as np
import pytest

from napari_dip.measurement.psf import full_widths, gaussian_psf, optical_psf
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


def test_colours_and_channels_may_have_a_bead_each_and_a_stack_is_refused(filaments) -> None:
    psf, viewer, choose = filaments.form.psf, filaments.viewer, filaments.choose
    bead = viewer.layers["bead"].data
    wide = np.pad(gaussian_psf(3.0) * 30_000, 8)
    rng = np.random.default_rng(0)
    seen = np.stack([rng.poisson(100 + each) for each in (np.pad(gaussian_psf(2.0) * 30_000, 12), wide, wide)])
    flat = {"scale": (FILAMENT_PIXEL,) * 2, "units": ("um",) * 2}
    deep = {"scale": (1, *flat["scale"]), "units": ("um",) * 3}  # napari warns of layers in different units
    viewer.add_image(seen.astype(np.uint16), name="beads", axis_labels=("channel", "y", "x"), **deep)
    viewer.add_image(np.moveaxis(seen // 20, 0, 2).astype(np.uint8), name="colours", rgb=True, **flat)
    viewer.add_image(np.stack([bead] * 4), name="through the bead", axis_labels=("z", "y", "x"), **deep)
    choose(psf.source, "Layer with a bead")
    choose(psf.layer, "through the bead")
    assert "a PSF with depth cannot be used" in psf.note.value
    assert "in focus" in psf.note.value
    for name in ("beads", "colours"):
        choose(psf.layer, name)
        assert "restored one by one: choose a bead with one" in psf.note.value
    viewer.add_image(rng.integers(50, 200, (60, 60, 3)).astype(np.uint8), name="photograph", rgb=True, **flat)
    choose(filaments.form.image, "photograph")
    widths = [full_widths(psf.value[..., channel])[0] for channel in range(3)]
    assert widths == pytest.approx([4.7, 7.1, 7.1], rel=0.15)
    assert "of each channel: 4." in psf.note.value
    viewer.add_image(rng.poisson(100, (3, 60, 60)), name="film", axis_labels=("channel", "y", "x"), **deep)
    choose(filaments.form.image, "film")
    assert "one by one" in psf.note.value
    choose(filaments.form.stack.together, "Together: channel (3)")
    choose(psf.layer, "beads")
    assert psf.value.shape[2] == 3
    filaments.look("deconvolve_beads_of_channels")
    choose(psf.layer, "bead")
    assert psf.value.ndim == 2  # one for all
