import dataclasses

import pytest

from napari_dip import Settings
from napari_dip.settings import PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_exists(name: str) -> None:
    assert isinstance(Settings.preset(name), Settings)


def test_unknown_preset_is_named() -> None:
    with pytest.raises(ValueError, match="no preset 'bst'"):
        Settings.preset("bst")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lipschitz_bound", 0), ("lipschitz_bound", "hard"), ("width", 0), ("step_limit", 1.5), ("averaging", 1.0),
        ("held_out", 0.9), ("held_out", 0.0), ("stopping", "never"), ("upsampling", "cubic"), ("learning_rate", -1),
        ("input_channels", 3), ("gaussian_sigma", -0.1), ("network", "resnet"),
        ("levels", 0), ("levels", "many"), ("kernel_size", 2), ("gaussian_kernel_size", 4), ("skip_channels", -1),
        ("input_noise", -1.0), ("weight_noise", float("nan")), ("second_moment_decay", 1.0), ("held_out_side", 0),
        ("seed", 1.5), ("seed", -1), ("averaging", "foo"), ("detail_amount", "nan"), ("detail_amount", float("nan")),
        ("smoothed", "no"), ("input_channels", 32.0), ("kernel_size", "3"), ("learning_rate", None), ("width", True),
        ("snapshots", -1), ("chosen_step", 0), ("chosen_step", 1.5), ("chosen_step", 3001),
    ],
)  # fmt: skip
def test_impossible_values_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(Settings(), **{field: value})


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().seed = 1  # type: ignore[misc]


def test_combinations_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="not two"):
        dataclasses.replace(Settings.preset("gp_dip"), step_limit=3000)
    with pytest.raises(ValueError, match="smaller report_every"):
        Settings(stopping="ratio", report_every=200)
