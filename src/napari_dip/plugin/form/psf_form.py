"""The part of the form that says what a point looks like: from a layer, the optics or a width; it shows the PSF."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from magicgui.widgets import ComboBox, Container, FloatSpinBox, Label
from napari.layers import Image
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap

from ...measurement.psf import full_widths, gaussian_psf, join_psfs, optical_psf, psf_of_bead
from ..layers.layer_axes import find_array, find_layer_axes
from ..layers.pixel_size import find_micrometres
from .layer_choice import LayerChoice
from .narrow_form import let_shrink, wrap

_OPTICS, _LAYER, _GAUSSIAN, _RECORD = "optics", "layer", "gaussian", "record"
_SOURCES = [("Optics", _OPTICS), ("Layer with a bead", _LAYER), ("Gaussian", _GAUSSIAN)]
_PICTURE = 96  # pixels, the side of the picture
_SHOWN = 31  # pixels of a PSF: its middle


class PsfForm(Container):
    """Where the PSF comes from, its numbers, and a picture of what will be used.

    Parameters
    ----------
    viewer : Viewer
    image : LayerChoice
        The choice of the image to restore, whose pixels the PSF is to have.
    count_channels : callable
        Returns how many channels or colours of that image are restored together.
    """

    def __init__(self, viewer: Viewer, image: LayerChoice, count_channels: Callable[[], int]) -> None:
        super().__init__(name="psf", labels=False)
        self._viewer, self._image, self._count_channels = viewer, image, count_channels
        self._recorded: NDArray[np.float64] | None = None
        self.source = ComboBox(
            name="psf_source", label="PSF from", choices=self._sources, value=_OPTICS,
            tooltip="What a point looks like in this image. Best is an image of a bead, much smaller than the blur, "
            "taken with the same objective.",
        )  # fmt: skip
        self.layer = LayerChoice(
            viewer, (Image,), follows_selection=False, name="psf_layer", label="Bead",
            tooltip="An image of one bead in focus with a dark border. It is centred, its background is removed, and "
            "it is scaled to the image's pixel size. For colours, or channels restored together, it may have a bead in "
            "each.",
        )  # fmt: skip
        self.numerical_aperture = FloatSpinBox(
            name="numerical_aperture", label="NA", value=1.4, min=0.01, max=2, step=0.05,
            tooltip="The objective's numerical aperture, written on it.",
        )  # fmt: skip
        self.wavelength = FloatSpinBox(
            name="wavelength", label="Wavelength (nm)", value=525, min=100, max=10_000, step=5,
            tooltip="Of the light that the camera sees, in nanometres: 525 for GFP.",
        )  # fmt: skip
        self.pixel_size = FloatSpinBox(
            name="pixel_size", label="Pixel (µm)", value=0.1, min=0.0001, max=100, step=0.005,
            tooltip="The size of a pixel in the sample. It is taken from the layer, if that knows it.",
        )  # fmt: skip
        self.pinhole = FloatSpinBox(
            name="pinhole", label="Pinhole (AU)", value=0, min=0, max=20, step=0.1,
            tooltip="Of a confocal microscope, in Airy units; 0 for wide-field.",
        )  # fmt: skip
        self.excitation = FloatSpinBox(
            name="excitation", label="Laser (nm)", value=488, min=100, max=10_000, step=5,
            tooltip="The confocal microscope's excitation wavelength, in nanometres.",
        )  # fmt: skip
        self.sigma = FloatSpinBox(
            name="sigma", label="σ (pixels)", value=1.5, min=0.1, max=31, step=0.1,
            tooltip="The deviation of a Gaussian; its full width is 2.35 times that.",
        )  # fmt: skip
        self._fields: dict[str, list[Any]] = {
            _OPTICS: [self.numerical_aperture, self.wavelength, self.pixel_size, self.pinhole, self.excitation],
            _LAYER: [self.layer],
            _GAUSSIAN: [self.sigma],
            _RECORD: [],
        }
        self.pixel_size.native.setDecimals(4)
        self.rows: Container = Container(name="psf_rows")
        self.rows.margins = self.margins = (0, 0, 0, 0)
        self.rows.extend([self.source, *(field for fields in self._fields.values() for field in fields)])
        let_shrink(self.rows)
        self.picture, self.note = Label(name="psf_picture", value=""), Label(name="psf_note", value="")
        self.picture.native.setAlignment(Qt.AlignmentFlag.AlignCenter)
        wrap(self.note.native)
        self.extend([self.rows, self.picture, self.note])
        self.layer.on_lost = self.show_psf
        for field in self.rows:
            field.changed.connect(self.show_psf)
        image.changed.connect(self._take_pixel_size)
        self._take_pixel_size()

    @property
    def value(self) -> NDArray[np.float64]:
        """The PSF in pixels of the image.

        Raises
        ------
        ValueError
            If there is none; the message says why.
        """
        match self.source.value:
            case "layer":
                return self._read_bead()
            case "gaussian":
                return gaussian_psf(self.sigma.value)
            case "record":
                assert self._recorded is not None
                return self._recorded
        confocal = self.pinhole.value > 0
        return optical_psf(
            self.numerical_aperture.value, self.wavelength.value, self.pixel_size.value,
            pinhole=self.pinhole.value if confocal else None, excitation=self.excitation.value if confocal else None,
        )  # fmt: skip

    @value.setter
    def value(self, psf: Any) -> None:
        """Take the PSF of a record."""
        self._recorded = np.asarray(psf, dtype=np.float64)
        self.source.reset_choices()
        self.source.value = _RECORD
        self.show_psf()

    @property
    def visible(self) -> bool:
        """Whether it is shown."""
        return bool(super().visible)

    @visible.setter
    def visible(self, shown: bool) -> None:
        Container.visible.fset(self, shown)  # type: ignore[attr-defined]
        if shown:
            self.show_psf()  # showing a container shows all that is in it

    def forget_viewer(self) -> None:
        """Disconnect from the viewer."""
        self.layer.forget_viewer()

    def _sources(self, widget: object = None) -> list[tuple[str, str]]:
        return [*_SOURCES, *([] if self._recorded is None else [("The record", _RECORD)])]

    def _take_pixel_size(self, *_: object) -> None:
        image = self._image.value
        size = None if image is None else find_micrometres(image)
        if size is not None:
            self.pixel_size.value = size[0]
        self.show_psf()

    def _read_bead(self) -> NDArray[np.float64]:
        bead, image = self.layer.value, self._image.value
        if bead is None:
            raise ValueError("choose the layer with the bead, under Bead.")
        zoom, beads = self._zoom(bead, image), _split_channels(bead, self._viewer.dims.axis_labels)
        if len(beads) == 1:
            return psf_of_bead(beads[0], zoom)
        if len(beads) != (count := self._count_channels()):
            what = "colours" if bead.rgb else "channels"
            if count == 1:
                raise ValueError(
                    f"the bead's layer has {len(beads)} {what}, and the image's channels are restored one by one: "
                    "choose a bead with one, or, if the image has as many, Together under Channels."
                )
            raise ValueError(
                f"the bead's layer has {len(beads)} {what}, and {count} of the image are restored together: choose a "
                "bead with as many, or with one."
            )
        return join_psfs([psf_of_bead(each, zoom) for each in beads])

    def _zoom(self, bead: Image, image: Image | None) -> tuple[float, float]:
        own, of_image = find_micrometres(bead), None if image is None else find_micrometres(image)
        if own is None or of_image is None:
            return 1.0, 1.0
        return own[0] / of_image[0], own[1] / of_image[1]

    def show_psf(self, *_: object) -> None:
        """Show the fields of the chosen source, and the PSF that they give."""
        source = self.source.value
        for name, fields in self._fields.items():
            for field in fields:
                field.visible = name == source
        self.excitation.visible = source == _OPTICS and self.pinhole.value > 0
        try:
            psf = self.value
        except ValueError as error:
            self.picture.native.clear()
            self.note.value = str(error)[:1].upper() + str(error)[1:]
            return
        channels = np.atleast_3d(psf)
        self.picture.native.setPixmap(_draw(channels.mean(axis=2)))
        self.note.value = self._describe([channels[..., number] for number in range(channels.shape[2])])

    def _describe(self, psfs: Sequence[NDArray[np.float64]]) -> str:
        sides = [full_widths(psf) for psf in psfs]
        width = min(each[1] for each in sides)
        widths = [
            f"{across:.1f}" if abs(down - across) <= 0.05 * across else f"{down:.1f} x {across:.1f}"
            for down, across in sides
        ]
        of_each, between = ("", ",") if len(psfs) == 1 else (" of each channel", ";")
        words = f"Full width at half maximum{of_each}: {', '.join(widths)} pixels"
        image = self._image.value
        size = None if image is None else find_micrometres(image)
        if self.source.value == _OPTICS:
            size = (self.pixel_size.value,) * 2
        words += "." if size is None else f"{between} {', '.join(f'{across * size[1]:.3g}' for _, across in sides)} µm."
        if self.source.value == _LAYER and (size is None or find_micrometres(self.layer.value) is None):
            words += " The pixel size of the image or the bead is unknown: they are taken to be the same."
        if width < 1.5:
            words += " That is hardly more than a pixel: there is little blur to take out."
        return words


def _split_channels(bead: Image, slider_labels: Sequence[str]) -> list[NDArray[Any]]:
    """Return the image of the bead in each channel or colour of a layer, ``(k, l)``."""
    array, axes = find_array(bead), find_layer_axes(bead, slider_labels).axes
    along = "S" if bead.rgb else "C"
    letters = axes.letters
    if any(axes.size(letter) > 1 for letter in letters if letter not in f"{along}YX"):
        raise ValueError(
            f"“{bead.name}” is a stack, and a PSF with depth cannot be used, because each plane is restored by itself: "
            "choose a layer with the plane in which the bead is in focus."
        )
    pixels = np.asarray(array[...])
    if along not in letters:
        return [np.squeeze(pixels)]
    channels = np.moveaxis(pixels, letters.index(along), 0)
    return [np.squeeze(each) for each in (channels[:3] if bead.rgb else channels)]


def _draw(psf: NDArray[np.float64]) -> QPixmap:
    """Draw the middle of a PSF, brightened so that faint rings show."""
    rows, columns = (slice(max(0, side // 2 - _SHOWN // 2), side // 2 + _SHOWN // 2 + 1) for side in psf.shape)
    middle = psf[rows, columns]
    grey = np.ascontiguousarray(255 * np.sqrt(middle / middle.max())).astype(np.uint8)
    height, width = grey.shape
    picture = QImage(grey.tobytes(), width, height, width, QImage.Format.Format_Grayscale8).copy()
    return QPixmap.fromImage(picture).scaled(
        _PICTURE, _PICTURE, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.FastTransformation
    )
