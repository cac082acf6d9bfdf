"""What the form asks for: which planes of a layer are to be restored, and how."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..measurement.task import find_task
from ..request import Request
from .layers.source import Source


@dataclass(frozen=True, slots=True, eq=False)
class LayerRequest:
    """What to restore, and how.

    Attributes
    ----------
    source : Source
    how : Request
        How each plane is to be restored.
    original_type : bool
        Whether the result is wanted in the pixel type of the source.
    previews_per_second : float
        At most so many.
    warm_start : str or None
        Of several planes, the letter of the axis along which one begins with the network of the one before it.
    """

    source: Source
    how: Request
    original_type: bool = False
    previews_per_second: float = 5.0
    warm_start: str | None = None

    @property
    def of_plane(self) -> Request:
        """How each plane is restored, with what its layer brings along."""
        task, source = find_task(self.how.task), self.source
        brought = {name: value for name, value in source.parameters.items() if task.takes(name)}
        parameters = {**self.how.parameters, **brought}
        return replace(self.how, parameters=parameters, colours=not source.axes.takes_channels_together)
