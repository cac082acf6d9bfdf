"""What was done: enough to repeat a restoration of the same image and mask, as JSON."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from .settings import Settings


@dataclass(frozen=True, slots=True)
class Record:
    """How a restoration came about.

    Attributes
    ----------
    task : str
    factor : int or None
        Of super-resolution.
    settings : Settings
        As asked for: these repeat the run.
    used : Settings
        The same with every "auto" resolved.
    compared : str
        What of the image was compared with what the network draws, and how: the data term.
    missing : int
        How many pixels were marked as missing, were not finite, or were hot.
    device : str
        The device in words, and why.
    step : int
        Step of the estimate that was returned.
    stop_step : int
        Step at which the run stopped.
    stop_reason : str
    residual_correlation : float
        Of neighbours in what was taken away, the larger of rows' and columns': near 0 for white noise.
    note : str
        What noise and residual say about the result.
    seconds : float
        From the call to the result.
    versions : dict
        Of napari-dip, torch, numpy and Python.
    """

    task: str
    factor: int | None
    settings: Settings
    used: Settings
    compared: str
    missing: int
    device: str
    step: int
    stop_step: int
    stop_reason: str
    residual_correlation: float
    note: str
    seconds: float
    versions: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Return plain types only, as a layer's metadata or a JSON file can hold them."""
        return asdict(self)

    def as_json(self) -> str:
        """Return the record as JSON text."""
        return json.dumps(self.as_dict(), indent=1)


def read_versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    return {"python": platform.python_version()} | {name: version(name) for name in ("napari-dip", "torch", "numpy")}
