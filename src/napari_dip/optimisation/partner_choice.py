"""Which partner helps the network with a measurement."""

from __future__ import annotations

import torch

from ..measurement.data_term import DataTerm
from ..measurement.forward_operator import Blur
from ..measurement.neighbouring_planes import NeighbouringPlanes
from .completing_partner import CompletingPartner
from .deconvolution_partner import DeconvolvingPartner
from .group_fill_partner import GroupFillPartner
from .neighbour_fill_partner import NeighbourFillPartner
from .neighbour_partner import NeighbourPartner
from .neighbours import choose_neighbours
from .partner import DenoisingPartner, Partner


def choose_partner(
    data_term: DataTerm,
    held_out: torch.Tensor,
    planes: NeighbouringPlanes | None = None,
    *,
    keeps_known: bool = False,
) -> Partner | None:
    """Return the partner that can help with a measurement; None if there is none, or nothing is held out to judge it.

    Parameters
    ----------
    data_term : DataTerm
    held_out : Tensor
        bool, ``(1, 1, h, w)`` if the data term is by pixel.
    planes : NeighbouringPlanes, optional
        The plane with its neighbours, which may help.
    keeps_known : bool
        Whether known pixels are put back into the result. If not, the network has to draw them, too.
    """
    fitted = data_term.judged & ~held_out if data_term.by_pixel else held_out
    if not data_term.by_pixel or not bool(held_out.any()) or not bool(fitted.any()):
        return None
    if isinstance(data_term.operator, Blur):
        return None if data_term.noise is None else DeconvolvingPartner(data_term, fitted, held_out)
    if data_term.noise is not None:
        helping = None
        if planes is not None and data_term.noise.correlation is None:
            helping = choose_neighbours(planes, fitted, data_term.noise)
        if helping is not None:
            return NeighbourPartner(data_term.values, fitted, held_out, data_term.noise, helping)
        return DenoisingPartner(data_term.values, fitted, held_out, data_term.noise)
    if fills_in(data_term):
        alone = (GroupFillPartner if keeps_known else CompletingPartner)(data_term.values, fitted, held_out)
        if planes is not None:
            return NeighbourFillPartner(data_term.values, fitted, held_out, planes, alone)
        return alone
    return None


def fills_in(data_term: DataTerm) -> bool:
    """Return whether pixels are to be filled in between known ones whose noise is unknown."""
    return data_term.noise is None and data_term.is_direct and not bool(data_term.known.all())
