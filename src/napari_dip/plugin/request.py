"""What the form asks for: which planes of a layer to restore, and how."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..measurement.task import find_task
from ..request import Request
from .layers.source import Source


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What would be restored, for an estimate of time and memory.

    Attributes
    ----------
    request : Request
        How to restore each plane.
    shape : tuple of int
        Of a plane.
    planes : int
    neighbours : bool
        Whether neighbouring planes may help.
    continues : bool
        Whether the planes are those that an earlier run, which was stopped, has left.
    """

    request: Request
    shape: tuple[int, ...]
    planes: int
    neighbours: bool
    continues: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class LayerRequest:
    """Which planes of a layer to restore, and how.

    Attributes
    ----------
    source : Source
    options : Request
        The form's choices for every plane, without the parameters that come with the layer.
    original_type : bool
        Whether to convert the result to the source's pixel type.
    previews_per_second : float
        At most this many.
    warm_start : str or None
        For several planes: the letter of the axis along which each starts from the network of the one before it.
    neighbours : str or None
        Along which axis planes help one another, as ``restore_stack`` takes it.
    """

    source: Source
    options: Request
    original_type: bool = False
    previews_per_second: float = 5.0
    warm_start: str | None = None
    neighbours: str | None = None

    @property
    def plane_request(self) -> Request:
        """How to restore each plane, including the parameters that come with the layer: its file may be read."""
        task, source = find_task(self.options.task), self.source
        found = source.parameters if task.parameters else {}
        brought = {name: value for name, value in found.items() if task.takes(name)}
        parameters = {**self.options.parameters, **brought}
        return replace(self.options, parameters=parameters, colours=not source.axes.takes_channels_together)
