"""Any value of any setting is accepted unchanged or refused with a one-line message."""

import dataclasses
import json
import math
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_dip import Settings
from napari_dip.settings import PRESETS

NAMES = [field.name for field in dataclasses.fields(Settings)]
NUMBERS = st.one_of(
    st.integers(), st.integers(-5, 70), st.integers(min_value=2**53, max_value=2**70),
    st.just(5000).map(lambda digits: 10**digits),
    st.floats(), st.floats(0, 2), st.sampled_from([-0.0, math.inf, -math.inf, math.nan, 5e-324]), st.booleans(),
    st.fractions(), st.just(Fraction(10) ** 400), st.complex_numbers(), st.decimals(allow_nan=False),
)  # fmt: skip
OF_NUMPY = st.one_of(
    st.integers(-100, 100).map(np.int8), st.integers(0, 2**64 - 1).map(np.uint64), st.floats(width=32).map(np.float32),
    st.floats(width=16).map(np.float16), st.floats().map(np.longdouble), st.booleans().map(np.bool_),
    st.text(max_size=5).map(np.str_), st.just(np.array([1, 2])), st.just(np.array(3)), st.just(np.float64("nan")),
)  # fmt: skip
WORDS = st.one_of(
    st.sampled_from(["auto", "AUTO", "none", "fixed", "ratio", "muon", "adam", "batch", "cpu", "cuda:1", "cpu\n", ""]),
    st.text(), st.text(alphabet="\n\r\x0b\x0c\x1c\x85\u2028\u2029\u202e'\"\\\ud800"), st.just("x" * 100_000),
)  # fmt: skip
PLAIN = st.one_of(st.none(), NUMBERS, WORDS)
ANYTHING = st.one_of(
    PLAIN, OF_NUMPY, st.binary(max_size=3), st.recursive(PLAIN, lambda of: st.lists(of) | st.dictionaries(WORDS, of)),
    st.just(Settings()), st.just(int),
)  # fmt: skip


def check(make) -> None:
    try:
        made = make()
    except (ValueError, TypeError) as error:
        said = str(error)
        assert said.isprintable(), said
        assert said.endswith(".")
        assert len(said) < 400
    else:
        assert Settings.from_dict(json.loads(json.dumps(dataclasses.asdict(made), allow_nan=False))) == made
        assert {type(each) for each in dataclasses.astuple(made)} <= {bool, int, float, str, type(None)}


@settings(max_examples=5 * settings().max_examples)
@given(st.sampled_from(PRESETS), st.dictionaries(st.sampled_from(NAMES), ANYTHING, min_size=1, max_size=3))
def test_any_value_of_any_field(preset: str, values: dict) -> None:
    check(lambda: dataclasses.replace(Settings.preset(preset), **values))


@given(st.one_of(ANYTHING, st.dictionaries(st.sampled_from(NAMES) | WORDS, PLAIN, max_size=4)))
def test_a_strangers_settings(values: object) -> None:
    check(lambda: Settings.from_dict(values))
