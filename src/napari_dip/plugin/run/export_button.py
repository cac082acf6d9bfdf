"""The menu that saves a run's curves as PNG, SVG or CSV."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton

from ...whole_files import remove_unfinished, write_atomically
from ..words import capitalise
from .worker import Job

if TYPE_CHECKING:
    from ...outcome import Report

_KINDS = {
    ".png": ("This view as PNG …", "PNG image (*.png)"),
    ".svg": ("This view as SVG …", "SVG drawing (*.svg)"),
    ".csv": ("All curves as CSV …", "CSV table (*.csv)"),
}
_DOTS_PER_INCH = 150


class ExportFailed(Exception):
    """Says what could not be written, and why."""


@dataclass(frozen=True, slots=True)
class RunDrawing:
    """What to write.

    Attributes
    ----------
    shows_bands : bool
        Whether to draw the frequency bands; otherwise loss and ratio.
    reports : tuple of Report
    chosen_step : int or None
    caption : str
    """

    shows_bands: bool
    reports: tuple[Report, ...]
    chosen_step: int | None
    caption: str

    def write(self, path: Path) -> Path:
        """Write a PNG, SVG or CSV, depending on the suffix; the file is complete or absent.

        Raises
        ------
        ExportFailed
        """
        from ...spectrum.band_figure import draw_bands, draw_loss_and_ratio
        from ...spectrum.run_table import write_table

        if path.suffix.lower() not in _KINDS:
            raise ExportFailed(f'"{path.name}" cannot be written: its name must end in {", ".join(_KINDS)}.')
        remove_unfinished([path.parent])
        try:
            if path.suffix.lower() == ".csv":
                write_atomically(path, lambda beside: write_table(beside, self.reports))
                return path
            if self.shows_bands:
                figure = draw_bands(
                    [report.step for report in self.reports],
                    [report.band_correspondence for report in self.reports],
                    chosen_step=self.chosen_step,
                    caption=self.caption,
                )
            else:
                figure = draw_loss_and_ratio(self.reports, chosen_step=self.chosen_step, caption=self.caption)
            write_atomically(path, lambda beside: figure.savefig(beside, dpi=_DOTS_PER_INCH))
        except OSError as error:
            raise ExportFailed(str(error)) from error
        except (RuntimeError, ValueError) as error:
            raise ExportFailed(f"{path} could not be written: {error}.") from error
        return path


class ExportButton(QPushButton):
    """Asks for a file name and writes the curves.

    Parameters
    ----------
    drawing : callable
        Returns what to write.
    """

    def __init__(self, drawing: Callable[[], RunDrawing]) -> None:
        super().__init__("Export")
        self._drawing = drawing
        self._folder = ""  # of the last export
        self.setToolTip("Save the curves to a file.")
        menu = QMenu(self)
        for suffix, (label, _) in _KINDS.items():
            menu.addAction(label).triggered.connect(lambda _=False, suffix=suffix: self.ask(suffix))
        self.setMenu(menu)

    def ask(self, suffix: str) -> None:
        """Ask where to write a file with this suffix."""
        drawing = self._drawing()
        name = "frequency_bands" if drawing.shows_bands else "loss_and_ratio"
        dialog = QFileDialog(self, "Export", self._folder, _KINDS[suffix][1])
        dialog.selectFile(f"{'run' if suffix == '.csv' else name}{suffix}")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setDefaultSuffix(suffix[1:])
        dialog.fileSelected.connect(lambda path: self._write(drawing, Path(path)))
        dialog.open()  # without blocking the window

    def _write(self, drawing: RunDrawing, path: Path) -> None:
        self._folder = str(path.parent)
        # in a worker, because matplotlib is slow
        Job(drawing.write, path, on_result=self._on_written, on_error=self._on_error).start()

    def _on_written(self, path: Path) -> None:
        show_info(f"Saved to {path}")

    def _on_error(self, error: Exception) -> None:
        show_error(capitalise(str(error)))
