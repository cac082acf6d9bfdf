"""Buttons for the record of a result: copy it as Python, load its settings, save it with the image."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from magicgui.widgets import Container, PushButton
from napari.layers import Image
from napari.viewer import Viewer
from qtpy.QtWidgets import QApplication, QFileDialog

from ...image_files import read_image
from ...many.axes import find_axes
from ...many.stack_files import open_stack
from ...pixel_text import digest_image
from ...record import Record, StackRecord
from ..layers.layer_writer import find_layer_record, has_pixel_size, may_have_record_in_file, save_layer
from ..layers.own_layers import RECORD_KEY

_SUFFIXES = re.compile(r"(\.ome)?(\.(tiff?|png|jpe?g|zarr))?(?=$|[ (])", re.IGNORECASE)
_FILTERS = "OME-TIFF (*.ome.tif);;TIFF (*.tif)"


class RecordTools(Container):
    """Three buttons for the selected layer, or else the topmost layer that has a record.

    Parameters
    ----------
    viewer : Viewer
    on_load : callable
        Called with a record and the name of its layer; returns a message.
    say : callable
        Called with a message for the user.
    """

    def __init__(self, viewer: Viewer, *, on_load: Callable[[Record, str], str], say: Callable[[str], None]) -> None:
        super().__init__(name="record_tools", layout="horizontal", labels=False)
        self._viewer, self._on_load, self._say = viewer, on_load, say
        self.copy_button = PushButton(
            name="copy_button", text="Copy as Python", tooltip="Copy a script that repeats the result."
        )
        self.load_button = PushButton(
            name="load_button", text="Load settings",
            tooltip="Fill the form from the selected layer: a result, or an image saved with its record.",
        )  # fmt: skip
        self.save_button = PushButton(
            name="save_button", text="Save …", tooltip="Save the result, with its record, as TIFF or OME-TIFF."
        )
        self.copy_button.changed.connect(self.copy_as_python)
        self.load_button.changed.connect(self.load_settings)
        self.save_button.changed.connect(self.ask_and_save)
        self.margins = (0, 0, 0, 0)
        self.extend([self.copy_button, self.load_button, self.save_button])
        self._watched = (
            viewer.layers.selection.events.active, viewer.layers.events.inserted, viewer.layers.events.removed
        )  # fmt: skip
        for event in self._watched:
            event.connect(self.refresh)
        self.refresh()

    def forget_viewer(self) -> None:
        """Disconnect from the viewer."""
        for event in self._watched:
            with contextlib.suppress(ValueError, RuntimeError):
                event.disconnect(self.refresh)

    def refresh(self, event: object = None) -> None:
        """Enable the buttons if any layer may have a record."""
        some = next(self._candidates(), None) is not None
        with contextlib.suppress(RuntimeError):  # Qt may have deleted the buttons with their window
            for button in (self.copy_button, self.load_button, self.save_button):
                button.enabled = some

    def copy_as_python(self) -> None:
        """Copy a script that repeats the result to the clipboard."""
        found = self._find("cannot be turned into a script")
        if found is None:
            return
        layer, record = found
        record = with_checked_path(record)
        try:
            script = record.as_python()
        except ValueError as error:
            self._say(f"“{layer.name}” cannot be turned into a script: {error}")
            return
        QApplication.clipboard().setText(script)
        where = ""
        path = None if record.given is None else record.given.path
        if path is None:
            where = " Its first lines say where to add your image, which was not read from a file or has changed."
        elif _names_server(path):
            where = f" It reads {path!a} from another machine, where that file was not checked."
        self._say(f"Copied a script that repeats “{layer.name}”.{where}")

    def load_settings(self) -> None:
        """Fill the form from the record."""
        found = self._find("has settings that cannot be loaded")
        if found is None:
            return
        layer, record = found
        try:
            self._say(self._on_load(record, layer.name))
        except ValueError as error:
            self._say(f"The settings of “{layer.name}” cannot be loaded: {error}")

    def ask_and_save(self) -> None:
        """Ask for a file name and save the result."""
        found = self._find("cannot be saved")
        if found is None:
            return
        name, _ = QFileDialog.getSaveFileName(
            self.native, "Save with its record", suggest_file_name(found[0].name), _FILTERS
        )  # fmt: skip
        if name:
            self.save(Path(name))

    def save(self, path: Path) -> None:
        """Save the result with its record."""
        found = self._find("cannot be saved")
        if found is None:
            return
        layer, record = found
        try:
            size = "" if has_pixel_size(layer) else " Its pixel size is unknown: set the layer's scale and units."
            self._say(f"Saved as {save_layer(path, layer, record).name}, with its record.{size}")
        except (ValueError, OSError) as error:
            self._say(f"“{layer.name}” was not saved: {error}")

    def _candidates(self) -> Iterator[Image]:
        """Yield layers that have, or may have, a record: first the selected one, then from the top."""
        layers = self._viewer.layers
        active = layers.selection.active
        if isinstance(active, Image) and (RECORD_KEY in active.metadata or may_have_record_in_file(active)):
            yield active
        yield from (each for each in reversed(layers) if isinstance(each, Image) and RECORD_KEY in each.metadata)

    def _find(self, problem: str) -> tuple[Image, Record] | None:
        """Return the first layer that has a record, and the record; if there is none, say so."""
        for layer in self._candidates():
            try:
                record = find_layer_record(layer)
            except ValueError as error:
                self._say(f"“{layer.name}” {problem}: {error}")
                return None
            if record is not None:
                return layer, record
        self._say("No record found: select a result, or an image that was saved with its record.")
        return None


def suggest_file_name(layer: str) -> str:
    """Return a file name for a layer; the suffix of the file that it came from goes, wherever it stands in the name."""
    return f"{_SUFFIXES.sub('', layer)}.ome.tif"


def with_checked_path(record: Record) -> Record:
    """Return the record without its path unless that file still holds the restored image.

    A path on another machine stays unchecked: opening it would make Windows send that machine the user's name and
    password hash, and the record may come from a stranger. The script checks the image anyway.
    """
    given = record.given
    if given is None or given.path is None or _names_server(given.path):
        return record
    try:
        if record.stack is not None:
            same = _holds_planes(Path(given.path), record.stack)
        else:
            image = read_image(Path(given.path))
            if given.region is not None:
                image = image[tuple(slice(*each) for each in given.region)]
            same = digest_image(image) == given.digest
    except (ValueError, OSError):
        same = False
    return record if same else dataclasses.replace(record, given=dataclasses.replace(given, path=None))


def _names_server(path: str) -> bool:
    r"""Return whether a Windows path may lead to another machine, such as ``\\server\share``."""
    return path.replace("/", "\\").startswith("\\\\")


def _holds_planes(path: Path, stack: StackRecord) -> bool:
    """Return whether a file holds a stack of that shape with the first and the last of the restored planes.

    The script checks all of them.
    """
    array = open_stack(path).array
    if tuple(array.shape) != stack.shape:
        return False
    axes = find_axes(stack.shape, stack.axes, stack.channels)
    for plane_record in (stack.planes[0], stack.planes[-1]):
        (plane,) = axes.planes(plane_record.place)
        if plane_record.digest is not None and digest_image(axes.read(array, plane)) != plane_record.digest:
            return False
    return True
