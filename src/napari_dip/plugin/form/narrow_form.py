"""Forms that fit a narrow dock: labels as wide as the longest, fields that give way and that the wheel leaves alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

from magicgui.widgets import ComboBox, Container
from qtpy.QtCore import QEvent, QObject, QPoint, QSize, Qt, QTimer
from qtpy.QtWidgets import QComboBox, QFrame, QLabel, QScrollArea, QSizePolicy, QWidget

_NARROWEST_FIELD = 80  # pixels
_MS_UNTIL_LAID_OUT = 50
_USUAL_WIDTH = 335  # pixels: no entry of the form is cut off, though it works in less


def let_shrink(fields: Iterable[Any]) -> None:
    """Let fields be narrower than their longest entry: it must not widen the dock, nor be cut off by a scroll bar.

    Nor does the wheel change them: whoever scrolls the form would choose another image in passing.
    """
    for field in fields:
        if isinstance(field, ComboBox):
            field.native.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            field.native.setMinimumContentsLength(8)
        field.native.setMinimumWidth(_NARROWEST_FIELD)
        field.native.installEventFilter(_WheelGuard(field.native))


class _WheelGuard(QObject):
    """Leaves the wheel to what lies around a field."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() != QEvent.Type.Wheel:
            return False
        event.ignore()
        return True


def wrap(label: QLabel) -> None:
    """Let a text take more lines instead of a wider, or a higher, dock: as many as its width asks for, and no more."""
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)


class ScrollingForm(QScrollArea):
    """Scrolls a form up and down where the window is too low for it."""

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setWidget(content)

    def bring_to_top(self, field: QWidget) -> None:
        """Scroll to a field, once what has just been shown is laid out."""
        QTimer.singleShot(_MS_UNTIL_LAID_OUT, lambda: self._scroll_to(field))

    def _scroll_to(self, field: QWidget) -> None:
        with contextlib.suppress(RuntimeError):  # closed meanwhile
            self.verticalScrollBar().setValue(field.mapTo(self.widget(), QPoint(0, 0)).y())

    def sizeHint(self) -> QSize:
        """Be as wide as the form is read best."""
        return QSize(_USUAL_WIDTH, super().sizeHint().height())


def pair(*widgets: Any) -> Container:
    """Return widgets side by side."""
    row: Container = Container(layout="horizontal", labels=False, widgets=widgets)
    row.margins = (0, 0, 0, 0)
    return row


class LabelAligner(QObject):
    """Gives the labels of several containers one width, whenever a style may have changed it.

    magicgui measures them before napari's style makes the letters larger.

    Parameters
    ----------
    watched : QWidget
        When it is shown or gets another style, the labels are measured.
    groups : sequence of list of Container
        Within a group all labels have the same width.
    """

    def __init__(self, watched: QWidget, groups: Sequence[list[Container]]) -> None:
        super().__init__(watched)
        self._groups = groups
        watched.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Measure anew."""
        if event.type() in (QEvent.Type.Show, QEvent.Type.StyleChange):
            for group in self._groups:
                rows = [row for container in group for row in map(_labeled_row, container) if row is not None]
                widest = max((row._label_widget.native.sizeHint().width() for row in rows), default=0)
                for row in rows:
                    row.label_width = widest
        return False


def _labeled_row(field: Any) -> Any:
    """Return the row of magicgui's that has the field and its label; None if it has none."""
    return field._labeled_widget()  # magicgui has no public way
