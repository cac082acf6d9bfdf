"""Forms that fit a narrow dock: aligned labels, fields that shrink, and a wheel that scrolls and changes nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

from magicgui.widgets import ComboBox, Container
from qtpy.QtCore import QEvent, QObject, QPoint, QSize, Qt, QTimer
from qtpy.QtWidgets import QComboBox, QFrame, QLabel, QScrollArea, QSizePolicy, QWidget

_NARROWEST_FIELD = 80  # pixels
_MS_UNTIL_LAID_OUT = 50
_USUAL_WIDTH = 335  # pixels: nothing in the form is cut off; narrower works, too


def let_shrink(fields: Iterable[Any]) -> None:
    """Let fields be narrower than their longest entry, so that they neither widen the dock nor are cut off.

    The wheel does not change them either: a user who scrolls the form would choose another image in passing.
    """
    for field in fields:
        if isinstance(field, ComboBox):
            field.native.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            field.native.setMinimumContentsLength(8)
        field.native.setMinimumWidth(_NARROWEST_FIELD)
        field.native.installEventFilter(_WheelGuard(field.native))


class _WheelGuard(QObject):
    """Passes wheel events on to whatever contains the field."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() != QEvent.Type.Wheel:
            return False
        event.ignore()
        return True


def wrap(label: QLabel) -> None:
    """Let a text wrap instead of widening the dock; it is only as high as its lines."""
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)


class ScrollingForm(QScrollArea):
    """Scrolls a form vertically where the window is too low for it."""

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setWidget(content)

    def bring_to_top(self, field: QWidget) -> None:
        """Scroll to a field, once newly shown widgets are laid out."""
        QTimer.singleShot(_MS_UNTIL_LAID_OUT, lambda: self._scroll_to(field))

    def _scroll_to(self, field: QWidget) -> None:
        with contextlib.suppress(RuntimeError):  # closed in the meantime
            self.verticalScrollBar().setValue(field.mapTo(self.widget(), QPoint(0, 0)).y())

    def sizeHint(self) -> QSize:
        """Return the width at which nothing is cut off."""
        return QSize(_USUAL_WIDTH, super().sizeHint().height())


def pair(*widgets: Any) -> Container:
    """Return widgets side by side."""
    row: Container = Container(layout="horizontal", labels=False, widgets=widgets)
    row.margins = (0, 0, 0, 0)
    return row


class LabelAligner(QObject):
    """Gives the labels of several containers the same width, and keeps it right when the style changes.

    magicgui measures them before napari's style enlarges the letters.

    Parameters
    ----------
    watched : QWidget
        The labels are measured when it is shown or its style changes.
    groups : sequence of list of Container
        All labels of a group get the same width.
    """

    def __init__(self, watched: QWidget, groups: Sequence[list[Container]]) -> None:
        super().__init__(watched)
        self._groups = groups
        watched.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Measure the labels again."""
        if event.type() in (QEvent.Type.Show, QEvent.Type.StyleChange):
            for group in self._groups:
                rows = [row for container in group for row in map(_labeled_row, container) if row is not None]
                widest = max((row._label_widget.native.sizeHint().width() for row in rows), default=0)
                for row in rows:
                    row.label_width = widest
        return False


def _labeled_row(field: Any) -> Any:
    """Return magicgui's row with the field and its label; None if the field has no label."""
    return field._labeled_widget()  # magicgui has no public way to get it
