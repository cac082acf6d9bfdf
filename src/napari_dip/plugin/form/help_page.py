"""What a first-time user needs to know, on one page, without leaving the window; and a report for us, if it fails."""

from __future__ import annotations

import contextlib
from importlib.metadata import PackageNotFoundError, metadata

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QDialog, QPushButton, QTextBrowser, QVBoxLayout, QWidget

from ...system_report import describe_system
from ..run.worker import Job

_PAGE = """
<h3>Restore an image</h3>
<ol>
<li>Open an image, and choose what is wrong with it under <b>Task</b>.</li>
<li>Press <b>Restore</b>. A network that knows nothing but this image draws it anew; nothing was trained before.</li>
<li>Watch the preview. The run ends by itself; if you like what you see, press <b>Stop and keep</b>.</li>
<li><b>Compare</b> shows the original and the result by turns. <b>Residual</b> shows what was removed: it should look
like noise. If you see your structures in it, too much was removed.</li>
</ol>
<h3>Good to know</h3>
<ul>
<li><b>Preview region</b> tries the settings on a small part first.</li>
<li>Pixels that are broken, or that you want replaced: paint over them in a Labels layer and choose it under
<b>Missing pixels</b>, or let <b>Find missing pixels</b> mark them. NaN always counts as missing.</li>
<li><b>Curves</b> shows how the run went. Its slider shows other moments; <b>Use this one</b> keeps one.</li>
<li>A stack that was stopped goes on where it was when you press <b>Restore</b> again.</li>
<li>No layer is ever overwritten. <b>Save …</b> writes a result with the record of how it was made, and
<b>Copy as Python</b> copies a script that repeats it.</li>
<li>The command palette has <i>Denoise selected layers</i>, and so has the menu Layers ▸ Filter.</li>
<li>A restoration cannot find what the image does not hold: look at the residual before you measure.</li>
</ul>
<h3>Keys</h3>
<p>Space presses the button in focus: <b>Restore</b>, then <b>Stop and keep</b>. Esc in the form: <b>Stop and keep</b>.
</p>
"""


def show_help(beside: QWidget) -> QDialog:
    """Open the page in a window of its own, which blocks nothing."""
    dialog = QDialog(beside)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.setWindowTitle("Deep Image Prior: help")
    page = QTextBrowser()
    page.setOpenExternalLinks(True)
    page.setHtml(_PAGE + _write_links())
    report = QPushButton("Copy report")
    report.setToolTip("Copy versions, device, its check and memory, to paste into a report of a fault.")
    report.clicked.connect(lambda: _copy_report(report))
    layout = QVBoxLayout(dialog)
    layout.addWidget(page)
    layout.addWidget(report)
    dialog.resize(520, 560)
    dialog.show()
    return dialog


def _copy_report(button: QPushButton) -> None:
    """Copy the report to the clipboard, once the worker has written it."""

    def say(words: str) -> None:
        with contextlib.suppress(RuntimeError):  # the page was closed
            button.setText(words)

    def copy(report: str) -> None:
        QApplication.clipboard().setText(report)
        say("Copied")

    say("Looking at the device …")
    Job(describe_system, on_result=copy, on_error=lambda error: say(f"Failed: {error}")).start()


def _write_links() -> str:
    """Return links to the addresses in the package's metadata; empty if there are none."""
    try:
        urls = metadata("napari-dip").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    links = (each.partition(", ")[::2] for each in urls)
    written = " · ".join(f'<a href="{address}">{name}</a>' for name, address in links)
    return f"<p>{written}</p>" if written else ""
