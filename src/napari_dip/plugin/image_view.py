"""What the user sees of one image's run: the preview, the curves, words; and in the end the layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.viewer import Viewer

from .layers import Source
from .outputs import say_pixel_size, say_pixel_type
from .preview_layer import PreviewLayer, add_result
from .run import Request, Run, restore_in_worker
from .words import RunState, say_state, say_step

if TYPE_CHECKING:
    from ..outcome import Progress, Restoration, Tile
    from .band_plot import BandPlot


_PARTS = 1000  # of a bar that is not counted in steps


class ImageView:
    """Shows one run at a time.

    Parameters
    ----------
    viewer : Viewer
    preview : PreviewLayer
    """

    work = staticmethod(restore_in_worker)
    failures = ()

    def __init__(self, viewer: Viewer, preview: PreviewLayer) -> None:
        self._viewer, self._preview = viewer, preview
        self._draws = False  # whether the plot is this run's already: till then it shows the one before
        self._tile: Tile | None = None  # whose curves are drawn
        self.kept: list[str] = []  # the layer that the run has become, if any

    def begin(self, request: Request) -> tuple:
        """Be ready for a run; return what its worker needs to know beside the request."""
        self._draws = False
        return ()

    def show(self, progress: Progress, run: Run) -> bool:
        """Show the image as far as it has come; return whether the curves must follow at once."""
        source = run.request.source
        assert isinstance(source, Source)
        tile, rows = progress.tile, source.image.shape[0]
        factor = progress.estimate.shape[0] // (rows if tile is None else tile.rows.stop - tile.rows.start)
        self._preview.show(
            source.name, source.appearance, source.spread(progress.estimate), factor, corner=progress.corner
        )
        return False

    def show_curves(self, progress: Progress, run: Run, plot: BandPlot) -> None:
        """Draw the curves as far as they have come."""
        if not self._draws or progress.tile != self._tile:
            self._begin_curves(run, plot)
            self._tile = progress.tile
        if progress.stage == run.main_stage:
            plot.add(progress.report)

    def describe(self, progress: Progress, run: Run) -> RunState:
        """Say how far it is."""
        done, of, words = progress.step, progress.step_limit, f"step {progress.step} of {progress.step_limit}"
        if progress.tile is not None:
            done, of = round(_PARTS * progress.fraction), _PARTS
            words = f"{100 * progress.fraction:.0f}%"
        return say_state(run, done, of, f"{progress.doing} …", words, say_step(progress), progress.seconds_left)

    def conclude(self, result: Restoration, run: Run, plot: BandPlot | None) -> str:
        """Make the result layers, and draw the curves if there is still a plot; return in words what there is."""
        source = run.request.source
        assert isinstance(source, Source)
        images = add_result(self._viewer, self._preview, source, result, run.request.original_type)
        self.kept = [self._viewer.layers[-1].name] if images else []
        if plot is not None:
            if not self._draws:
                self._begin_curves(run, plot)
            plot.show_result(result, run.request)
        rows, columns = source.image.shape[:2]
        part = "" if source.region is None else f" (a region of {rows} x {columns} pixels)"
        parts = (
            f"Done{part}: step {result.step} was chosen; {result.stop_reason.value} ({result.record.seconds:.0f} s).",
            result.note, say_pixel_type(images), say_pixel_size(source) if images else "",
            "" if images else "It was stopped before anything could be kept.", self._say_other_pixels(source),
        )  # fmt: skip
        return " ".join(filter(None, parts))

    def _say_other_pixels(self, source: Source) -> str:
        layer = None if source.origin is None else source.origin.find(self._viewer)
        if layer is None or source.origin is None or not source.origin.has_other_pixels(self._viewer):
            return ""
        return f"“{layer.name}” was given other pixels meanwhile; this is made from those that it had at the start."

    def _begin_curves(self, run: Run, plot: BandPlot) -> None:
        self._draws = True
        plot.start(run.request.settings.bands)

    def fail(self) -> str:
        """End a run that has failed; return in words what is left."""
        self._preview.remove()
        return ""
