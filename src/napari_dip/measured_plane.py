"""One plane, ready for a run: its pixels, its data term, and the way back to the user's units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .device import DeviceChoice
from .image_tensor import ImageTensor
from .measurement.data_term import DataTerm, data_term_of
from .measurement.neighbouring_planes import NeighbouringPlanes
from .measurement.stripes import measure_stripes
from .measurement.task import Task
from .measurement.whole_image import WholeImage
from .record import Given


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredPlane:
    """What a restoration starts from; a run does not change it.

    Attributes
    ----------
    tensor : ImageTensor
    task : Task
    parameters : mapping
        The task's own.
    device : DeviceChoice
    given : Given
        For the record.
    data_term : DataTerm
        On the device.
    keeps_known : bool
        Whether the result must agree with the known pixels.
    planes : NeighbouringPlanes or None
        The plane with its neighbours, on the device.
    """

    tensor: ImageTensor
    task: Task
    parameters: Mapping[str, Any]
    device: DeviceChoice
    given: Given
    data_term: DataTerm
    keeps_known: bool
    planes: NeighbouringPlanes | None = None

    @property
    def values(self) -> torch.Tensor:
        """The degraded image scaled to [0, 1], ``(1, c, h, w)`` on the device."""
        return self.data_term.values

    @property
    def known(self) -> torch.Tensor:
        """Which pixels were measured, ``(1, 1, h, w)`` bool on the device."""
        return self.data_term.known

    @property
    def scale(self) -> float | None:
        """Intensities per unit of value; None if the channels are not colours, because each then has its own."""
        return float(self.tensor.scale[0]) if self.given.colours else None

    @property
    def noise(self) -> float | None:
        """Estimated standard deviation of the noise, in the units of ``Record.noise``; None if it is unknown."""
        noise = self.data_term.noise
        return None if noise is None else noise.mean_variance**0.5 * (1.0 if self.scale is None else self.scale)

    def impose_known(self, estimate: torch.Tensor) -> torch.Tensor:
        """Return an estimate, ``(1, c, H, W)``, made to agree with the known pixels if it must."""
        return self.data_term.impose(estimate) if self.keeps_known or not self.data_term.by_pixel else estimate

    def to_image(self, restored: torch.Tensor) -> NDArray[np.float32]:
        """Return a restored plane, ``(1, c, H, W)``, in the user's units; known pixels are kept if they must be."""
        image = self.to_units(restored)
        # known pixels are copied from the input: those of the tensor are rounded
        return self.tensor.keep_known(image) if self.keeps_known and self.data_term.is_direct else image

    def to_units(self, image: torch.Tensor) -> NDArray[np.float32]:
        """Return any image in the place of x, ``(1, c, H, W)``, without its surroundings and in the user's units."""
        return self.tensor.to_image(self.data_term.cut_to_view(image))

    def to_deviation(self, deviation: torch.Tensor) -> NDArray[np.float32]:
        """Return a standard deviation, ``(1, c, H, W)``, without its surroundings and in the user's units."""
        return self.tensor.to_deviation(self.data_term.cut_to_view(deviation))


def measure_plane(
    tensor: ImageTensor,
    task: Task,
    parameters: Mapping[str, Any],
    device: DeviceChoice,
    given: Given,
    *,
    whole: WholeImage | None,
    keeps_known: bool,
    remove_stripes: bool,
    planes: NeighbouringPlanes | None = None,
) -> MeasuredPlane:
    """Build the data term of a plane for its task.

    Parameters
    ----------
    tensor, task, parameters, device, given
        As in ``MeasuredPlane``.
    whole : WholeImage or None
        If the plane is a tile: what is known about the whole image.
    keeps_known : bool
        Whether the result must agree with the known pixels.
    remove_stripes : bool
        Whether stripes are taken out first.
    planes : NeighbouringPlanes, optional
        The plane with its neighbours, on the CPU.
    """
    data_term = data_term_of(
        task, tensor.values.to(device.device), tensor.known.to(device.device), scale=float(tensor.scale[0]),
        offset=float(tensor.offset[0]), colours=given.colours, whole=whole, remove_stripes=remove_stripes, **parameters,
    )  # fmt: skip
    if planes is not None:
        planes = planes.to(device.device)
        if data_term.stripes is not None:
            planes = planes.without(measure_stripes(planes.values, planes.known, data_term.stripes.along))
    return MeasuredPlane(tensor, task, parameters, device, given, data_term, keeps_known, planes)
