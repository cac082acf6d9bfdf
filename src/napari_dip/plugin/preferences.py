"""The user's choices under File > Preferences > Plugins (napari 0.9 and newer); defaults in older versions."""

from __future__ import annotations

from dataclasses import dataclass

_PLUGIN = "napari-dip"
_QUALITY_NAMES = {"Fast": "fast", "Balanced": "default", "Best": "best"}  # as the manifest lists them


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a new form starts with, and how often a run updates its preview.

    Attributes
    ----------
    device : str
        As in ``Settings``.
    quality : str
        The name of a preset.
    previews_per_second : float
        At most this many.
    snapshots : int
        How many moments of a run to keep for the slider.
    """

    device: str = "auto"
    quality: str = "default"
    previews_per_second: float = 5.0
    snapshots: int = 20


def read_preferences() -> Preferences:
    """Return the user's preferences, or the defaults where napari or the manifest has none."""
    defaults = Preferences()
    try:
        from napari.settings import get_plugin_settings

        chosen = get_plugin_settings(_PLUGIN).restoring
    except (ImportError, KeyError, AttributeError):  # napari before 0.9, or the plugin is not installed
        return defaults
    return Preferences(
        device=chosen.device.strip() or defaults.device,
        quality=_QUALITY_NAMES[chosen.quality],
        previews_per_second=chosen.previews_per_second,
        snapshots=chosen.snapshots,
    )
