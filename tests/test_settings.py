import dataclasses
import json
import math
from fractions import Fraction

import numpy as np
import pytest

from napari_dip import Settings
from napari_dip.settings import PRESETS, find_bounds


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
    with pytest.raises(ValueError, match="fewer than two"):
        dataclasses.replace(Settings.preset("gp_dip"), step_limit=3000)
    with pytest.raises(ValueError, match="smaller report_every"):
        Settings(stopping="ratio", report_every=200)


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_survives_json(name: str) -> None:
    preset = Settings.preset(name)
    assert Settings.from_dict(json.loads(json.dumps(dataclasses.asdict(preset)))) == preset


def test_numpys_scalars_become_pythons() -> None:
    settings = Settings(
        seed=np.int64(3), width=np.uint8(8), lipschitz_bound=np.float32(1.5), averaging=np.longdouble(0.5),
        held_out=Fraction(1, 4), partner=np.bool_(False), device=np.str_("cpu"), stopping=np.str_("ratio"),
        learning_rate=1,
    )  # fmt: skip
    assert settings == Settings(
        seed=3, width=8, lipschitz_bound=1.5, averaging=0.5, held_out=0.25, partner=False, device="cpu",
        stopping="ratio", learning_rate=1.0,
    )  # fmt: skip
    plain = {bool, int, float, str, type(None)}
    assert {type(value) for value in dataclasses.asdict(settings).values()} <= plain
    assert type(settings.learning_rate) is float


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("width", 10**9, '1 to 1024 or "auto"'), ("kernel_size", 99, "an odd whole number from 1 to 15"),
        ("kernel_size", 4, "odd"), ("input_channels", 10**6, "an even number from 2 to 1024"),
        ("lipschitz_bound", math.inf, '0.01 to 100, "auto" or None'), ("learning_rate", math.inf, "10"),
        ("detail_amount", np.float64("inf"), "0 to 100"), ("weight_noise", -math.inf, "0 to 100"),
        ("runs", 10**4, "1 to 64"), ("step_limit", 10**30, "1 to 1,000,000"), ("bands", 10**400, "1 to 50"),
        ("seed", 2**64, "0 to 18,446,744,073,709,551,615"), ("chosen_step", 10**7, "1 to 1,000,000 or None"),
        ("device", "cpu\nimport os", '"auto" or the name of a torch device'), ("device", None, "torch device"),
        ("partner", 1, "True or False"), ("network", ["decoder"], "decoder, encoder_decoder, conv_net"),
        ("levels", np.array([3, 4]), "1 to 10"), ("snapshots", 10**6, "0 to 1000"),
    ],
)  # fmt: skip
def test_absurd_values_are_refused_in_a_line_that_says_what_is_allowed(field, value, allowed) -> None:
    with pytest.raises(ValueError, match=f"^{field} is ") as refused:
        Settings(**{field: value})
    said = str(refused.value)
    assert allowed in said
    assert said.isprintable()
    assert len(said) < 250


def test_a_number_of_more_digits_than_python_writes_is_refused() -> None:
    with pytest.raises(ValueError, match="give a whole number from 1 to 50"):
        Settings(bands=10**5000)


@pytest.mark.parametrize("seed", [0, 2**63, 2**64 - 1])
def test_every_seed_is_one_of_torchs(seed: int) -> None:
    import torch

    assert torch.Generator().manual_seed(Settings(seed=seed).seed).initial_seed() == seed


def test_the_bounds_of_a_field_are_what_it_takes() -> None:
    numbers = 0
    for field in dataclasses.fields(Settings):
        try:
            bounds = find_bounds(field.name)
        except KeyError:
            continue
        numbers += 1
        others = {"stopping": "fixed"} | ({"step_limit": 10**6} if field.name == "chosen_step" else {})
        for value in (bounds.least, bounds.most):
            assert getattr(Settings(**others | {field.name: value}), field.name) == value
        for value in (bounds.least - 1, bounds.most + 1, math.nan):
            with pytest.raises(ValueError, match=field.name):
                Settings(**others | {field.name: value})
    assert numbers > 25
    with pytest.raises(KeyError):
        find_bounds("network")


@pytest.mark.parametrize("values", [None, [], 3, "width", {"w\nidth": 1}, {"x" * 9999: 1}, {1: 2}, {"width": [[]]}])
def test_what_are_no_settings_is_said_in_a_line(values) -> None:
    with pytest.raises(ValueError, match=r"\.$") as refused:
        Settings.from_dict(values)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 250
