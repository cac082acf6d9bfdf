"""Any call of ``restore`` gives a restoration or an error message, and leaves the caller's state unchanged."""

import contextlib
import random
import warnings

import dask.array
import numpy as np
import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st

import napari_dip
from napari_dip import Settings, restore, restore_steps
from napari_dip.device import load_late_parts
from napari_dip.measurement.task import TASKS

TINY = {
    "width": 8, "levels": 2, "convolutions_per_level": 1, "stem_convolutions": 1, "step_limit": 4, "report_every": 2,
    "smoothed_steps": 2, "device": "cpu",
}  # fmt: skip
REAL = ["bool", "u1", "i1", "u2", ">u2", "i2", "u4", "i4", "u8", ">i8", "f2", "f4", ">f4", "f8", ">f8", "longdouble"]
OTHER = ["c8", "c16", "O", "U3", "S3", "M8[s]", "m8[s]", "V4"]
POINT = np.outer([1, 2, 1], [1, 2, 1])  # spread by the optics


load_late_parts()  # what torch imports at the first step adds a filter of warnings


def state_of_the_host() -> dict[str, object]:
    """The state that a run must leave unchanged."""
    return {
        "numbers of torch": torch.get_rng_state().tolist()[:64],
        "numbers of numpy": str(np.random.get_state()),  # noqa: NPY002 - what others use
        "numbers of Python": hash(random.getstate()),
        "errors of numpy": str(np.geterr()),
        "type": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "warnings": list(warnings.filters),
    }


@pytest.fixture
def picture() -> np.ndarray:
    rows, columns = np.indices((20, 18))
    return 100 + 60 * np.sin(rows / 3) * np.cos(columns / 4) + np.random.default_rng(0).normal(0, 8, rows.shape)


RARELY = st.sampled_from([False] * 8 + [True])


@st.composite
def images(draw) -> np.ndarray:
    dtype = np.dtype(draw(st.sampled_from(OTHER if draw(RARELY) else REAL)))
    sides = st.integers(0, 22) if draw(RARELY) else st.integers(16, 22)
    shape = (draw(sides), draw(sides), *draw(st.sampled_from([(), (), (), (1,), (3,), (4,)])))
    if draw(RARELY):
        shape = draw(st.sampled_from([shape[:1], (2, *shape), (*shape[:2], 0), (*shape[:2], 2)]))
    numbers = np.random.default_rng(draw(st.integers(0, 99)))
    gain, offset = draw(st.sampled_from([(200.0, 0.0), (1.0, 0.0), (100.0, -50.0), (3e4, 1e4), (1e30, 0.0)]))
    if draw(RARELY):
        gain = draw(st.sampled_from([0.0, 1e-3, 1e-40, 1e-300, 1e9, 1e38, 1e300]))
        offset = draw(st.sampled_from([0.0, 2.0**24, 1e9, 2.0**60, -1e37]))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = numbers.random(shape) * gain + offset
        if dtype.kind in "ui":
            image = np.clip(image, float(np.iinfo(dtype).min), float(np.iinfo(dtype).max) * 0.999)
        image = image.astype("f4").astype(dtype) if dtype.kind == "V" else image.astype(dtype)
        for _ in range(draw(st.integers(1, 3)) if draw(RARELY) and image.size and dtype.kind in "uif" else 0):
            place = tuple(draw(st.integers(0, length - 1)) for length in image.shape)
            limits = np.iinfo(dtype) if dtype.kind in "ui" else np.finfo(dtype)
            special = [limits.min, limits.max, dtype.type(1)]
            if dtype.kind == "f":
                special += [np.nan, np.inf, -np.inf, limits.smallest_subnormal, -0.0]
            image[place] = draw(st.sampled_from(special))
    match draw(st.sampled_from(["as it is", "Fortran", "reversed", "every second", "read-only", "masked", "list"])):
        case "Fortran":
            image = np.asfortranarray(image)
        case "reversed":
            image = image[::-1]
        case "every second":
            image = np.repeat(image, 2, axis=0)[::2]
        case "read-only":
            image.flags.writeable = False
        case "masked":
            image = np.ma.MaskedArray(image, numbers.random(image.shape) < 0.1)
        case "list" if dtype.kind != "V":
            image = image.tolist()
    return image


@st.composite
def masks(draw, shape: tuple[int, ...]):
    kind = draw(st.sampled_from(["none", "some", "some", "number"]))
    if draw(RARELY):
        kind = draw(st.sampled_from(["all", "nothing", "words", "another shape"]))
    if kind == "none":
        return None
    if kind == "another shape":
        return np.zeros((16, 17), bool)
    if kind == "words":
        return np.full(shape[:2], "x")
    share = {"some": 0.2, "all": 2.0, "nothing": -1.0, "number": 0.3}[kind]
    mask = np.random.default_rng(1).random(shape[:2]) < share
    return mask * draw(st.sampled_from([1, 3.5, np.nan])) if kind == "number" else mask


SETTINGS = st.fixed_dictionaries(
    {
        "width": st.sampled_from([4, 8]),
        "levels": st.integers(1, 2),
        "step_limit": st.integers(1, 4),
        "report_every": st.integers(1, 4),
        "smoothed_steps": st.integers(1, 2),
        "device": st.just("cpu"),
        "network": st.sampled_from(["decoder", "decoder", "encoder_decoder", "conv_net"]),
        "optimiser": st.sampled_from(["muon", "adam"]),
        "normalisation": st.sampled_from(["lipschitz", "batch"]),
        "partner": st.booleans(),
        "residual": st.booleans(),
        "uncertainty": st.booleans(),
        "smoothed": st.booleans(),
        "detail_enhanced": st.booleans(),
        "keep_known": st.booleans(),
        "snapshots": st.integers(0, 2),
        "detail_amount": st.sampled_from([1.0, 20.0]),
    }
)


@given(st.data())
def test_a_restoration_or_an_error_message(data) -> None:
    image = data.draw(images())
    mask = data.draw(masks(np.shape(image)))
    task = data.draw(st.sampled_from(["no task", "Denoise"] if data.draw(RARELY) else list(TASKS)))
    factor = data.draw(st.sampled_from([2, 3])) if task == "super_resolve" else None
    if data.draw(RARELY):
        factor = data.draw(st.sampled_from([None, 2, 0, -1, 2.0, "2", True]))
    settings = Settings(**data.draw(SETTINGS))
    tables = [np.full((8, 8), 9), np.zeros((8, 8)), np.full((8, 8), np.nan), "table"]
    table = data.draw(st.sampled_from(tables)) if data.draw(RARELY) else None
    colours = data.draw(st.booleans())
    before = state_of_the_host(), repr(image), repr(mask), np.asarray(image).copy()
    result, refusal = None, ""
    try:
        result = restore(image, mask, task, factor, settings, quantisation_table=table, colours=colours)
    except (ValueError, TypeError, FloatingPointError) as error:
        refusal = str(error)
    assert (state_of_the_host(), repr(image), repr(mask)) == before[:3]
    event("refused" if result is None else "restored")
    if result is None:
        assert refusal.endswith("."), refusal
        assert "\n" not in refusal, refusal
        return
    np.testing.assert_array_equal(np.asarray(image), before[3])
    shape = np.shape(image)
    larger = (shape[0] * (factor or 1), shape[1] * (factor or 1), *shape[2:])
    sees = slice(None, 3) if colours and len(shape) == 3 else slice(None)  # alpha is passed through, whatever it is
    for name in ("restored", "smoothed", "detail_enhanced", "uncertainty", "residual"):
        output = getattr(result, name)
        if output is not None:
            assert output.dtype == np.float32, name
            assert output.shape == (shape if name == "residual" else larger), name
            numbers = output if output.ndim == 2 else output[:, :, sees]
            assert np.isfinite(numbers).all() or name == "residual", name
            assert not np.isinf(numbers).any(), name
    assert result.record.as_json()


@pytest.mark.parametrize("task", TASKS)
def test_masked_pixels_of_a_masked_array_are_missing(task: str, picture) -> None:
    hidden = np.zeros(picture.shape, bool)
    hidden[4:7, 5:9] = True
    spoilt, further = np.where(hidden, 5e3, picture), np.zeros(picture.shape, bool)
    further[12, 3:8] = True
    settings, factor = Settings(**TINY), 2 if task == "super_resolve" else None
    psf = POINT if task == "deconvolve" else None
    expected = restore(picture, hidden | further, task, factor, settings, psf=psf)
    given_apart = restore(np.ma.MaskedArray(spoilt, hidden), further, task, factor, settings, psf=psf)
    np.testing.assert_array_equal(given_apart.restored, expected.restored)
    assert given_apart.record.missing == expected.record.missing
    assert given_apart.record.given.mask == expected.record.given.mask


def test_a_colour_masked_in_one_channel_and_masked_marks_are_missing(picture) -> None:
    colour = np.stack([picture, picture + 5, picture + 9, picture * 0], axis=2)
    mask = np.zeros(colour.shape, bool)
    mask[3, 3, 1] = mask[9, 9, 3] = True  # the second is alpha, which does not count
    assert restore(np.ma.MaskedArray(colour, mask), settings=Settings(**TINY)).record.missing == 1
    marks = np.ma.MaskedArray(np.zeros(picture.shape, bool), mask[:, :, 1])
    assert restore(picture, marks, "inpaint", settings=Settings(**TINY)).record.missing == 1


@pytest.mark.parametrize("kind", ["numpy", "dask", "tiles", "warm"])
def test_masked_stacks_keep_their_masks(kind: str, picture) -> None:
    side = 96 if kind == "tiles" else 20
    plane = np.resize(picture, (side, side)) if kind == "tiles" else np.tile(picture, (1, 2))[:20, :20]
    hidden = np.zeros((2, side, side), bool)
    hidden[0, 4:8, 4:8] = hidden[1, 10:13, 2:5] = True
    stack = np.ma.MaskedArray(np.where(hidden, -1e4, np.stack([plane, plane])), hidden)
    settings = Settings(**TINY | {"partner": False, "stopping": "fixed"})
    arguments = {"memory": 6.32e8} if kind == "tiles" else {"warm_start": "T"} if kind == "warm" else {}
    given_stack = dask.array.from_array(stack, chunks=(1, -1, -1)) if kind == "dask" else stack
    ours = [
        each.result
        for each in napari_dip.restore_stack(given_stack, "TYX", settings=settings, **arguments)
        if each.result
    ]
    apart = napari_dip.restore_stack(stack.data, "TYX", hidden, settings=settings, **arguments)
    for one, other in zip(ours, [each.result for each in apart if each.result], strict=True):
        assert one.record.missing > 0
        assert ("tiles" in one.record.compared) == (kind == "tiles")
        np.testing.assert_array_equal(one.restored, other.restored)


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("task", ["inpaint", "enhance"])
def test_no_input_is_changed(dtype: str, task: str, picture) -> None:
    image = picture.astype(dtype) if dtype != "bool" else picture > 100
    mask = np.zeros(picture.shape, bool)
    mask[4:7, 5:9] = True
    image_before, mask_before = image.copy(), mask.copy()
    for each in (image, np.asfortranarray(image), image[::-1, ::-1]):
        result = restore(
            each, mask, task, settings=Settings(**TINY | {"residual": True, "uncertainty": True, "runs": 2})
        )
        assert result.restored.dtype == np.float32
    np.testing.assert_array_equal(image, image_before)
    np.testing.assert_array_equal(mask, mask_before)


def test_views_memory_maps_and_other_arrays_give_the_same_result(picture, tmp_path) -> None:
    settings = Settings(**TINY)
    expected = restore(picture, settings=settings).restored
    on_disk = np.memmap(tmp_path / "picture.raw", float, "w+", shape=picture.shape)
    on_disk[:] = picture
    on_disk.flush()
    fixed = picture.copy()
    fixed.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)  # numpy's, about its matrix
        matrix = np.matrix(picture)
    others = [
        np.memmap(tmp_path / "picture.raw", float, "r", shape=picture.shape), fixed, matrix,
        np.repeat(picture, 2, axis=1)[:, ::2], picture[::-1].copy()[::-1], picture.astype(">f8"),
        picture.tolist(), dask.array.from_array(picture), torch.from_numpy(picture),
    ]  # fmt: skip
    for other in others:
        np.testing.assert_array_equal(restore(other, settings=settings).restored, expected)
    unread = torch.from_numpy(picture).requires_grad_()
    with pytest.raises(TypeError, match=r"image is not an array: .*requires grad"):
        restore(unread, settings=settings)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f2", "f4"])
def test_known_pixels_that_float32_holds_stay_to_the_last_bit(dtype: str, picture) -> None:
    kind = np.dtype(dtype)
    top = np.iinfo(kind).max if kind.kind in "ui" else np.finfo(kind).max if dtype == "f2" else 1e30
    image = (picture / picture.max() * float(top) * 0.99).astype(kind)
    mask = np.zeros(picture.shape, bool)
    mask[4:7, 5:9] = True
    result = restore(image, mask, "inpaint", settings=Settings(**TINY))
    np.testing.assert_array_equal(result.restored[~mask], image[~mask])
    assert "rounded" not in result.note


@pytest.mark.parametrize("dtype", ["u4", "i8", "u8"])
def test_known_pixels_beyond_float32_are_rounded_with_a_note(dtype: str, picture) -> None:
    image = (picture * 2.0**18).astype(dtype) | 1
    mask = np.zeros(picture.shape, bool)
    mask[4:7, 5:9] = True
    result = restore(image, mask, "inpaint", settings=Settings(**TINY))
    np.testing.assert_array_equal(result.restored[~mask], image.astype(np.float32)[~mask])
    assert "Known pixels above 16,777,216 are rounded" in result.note
    even = restore(image & ~np.array(255, dtype), mask, "inpaint", settings=Settings(**TINY))
    assert "rounded" not in even.note
    assert "rounded" not in restore(image, settings=Settings(**TINY)).note


@pytest.mark.parametrize(
    ("gain", "offset", "dtype", "sentence"),
    [
        (1e300, 0, "f8", "too large for float32.*divide the image"),
        (1, 1e9, "f8", r"can hardly tell them apart: subtract 10000000\d\d"),
        (1, 2**60, "i8", r"subtract 11529215046068\d+ from the image first"),
        (
            0.01,
            2**60,
            "i8",
            r"subtract 1152921504606846976 from the image first",
        ),  # float64 has one number for all of them
        (1e-300, 0, "f8", "multiply the image first"),
    ],
)
def test_a_range_beyond_float32_is_refused(gain: float, offset: float, dtype: str, sentence: str, picture) -> None:
    image = (picture * gain).astype(dtype) + np.array(offset, dtype)
    with pytest.raises(ValueError, match=sentence):
        restore_steps(image, settings=Settings(**TINY))
    with pytest.raises(ValueError, match=sentence):  # as a tile of a larger image too
        list(napari_dip.restore_stack(np.resize(image, (128, 128)), "YX", settings=Settings(**TINY), memory=6.45e8))


def test_sixteen_bits_are_never_refused() -> None:
    """Not even two neighbouring values at the top of the range."""
    image = np.random.default_rng(0).integers(65534, 65536, (20, 20), dtype=np.uint16)
    assert set(np.round(restore(image, settings=Settings(**TINY)).restored.ravel())) <= {65534.0, 65535.0}


@pytest.mark.parametrize("task", ["denoise", "inpaint"])
def test_doubling_is_exact_and_an_offset_is_to_the_rounding_of_float32(task: str, picture) -> None:
    image, mask = np.round(picture), np.zeros(picture.shape, bool)
    mask[4:7, 5:9] = task == "inpaint"
    settings = Settings(**TINY | {"uncertainty": True, "residual": True})
    plain, doubled, shifted = (
        restore(each, mask, task, settings=settings) for each in (image, image * 2, image + 1000)
    )
    for name in ("restored", "uncertainty", "residual"):
        np.testing.assert_array_equal(getattr(doubled, name), 2 * getattr(plain, name), err_msg=name)
    np.testing.assert_array_equal(shifted.residual, plain.residual)
    off = shifted.restored - (plain.restored.astype(float) + 1000)
    assert np.abs(off).max() <= np.spacing(np.float32(1200))


@contextlib.contextmanager
def set_while(setter, value, otherwise):
    setter(value)
    try:
        yield
    finally:
        setter(otherwise)


MODES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu"),
    "default device": lambda: set_while(torch.set_default_device, "meta", None),
    "device": lambda: torch.device("meta"),
    "default type": lambda: set_while(torch.set_default_dtype, torch.float64, torch.float32),
    "deterministic": lambda: set_while(torch.use_deterministic_algorithms, True, False),
    "numpy raises": lambda: np.errstate(all="raise"),
}


@pytest.mark.parametrize("mode", MODES)
def test_the_callers_modes_do_not_change_the_result(mode: str, picture) -> None:
    settings = Settings(**TINY | {"snapshots": 1})
    expected = restore(picture, settings=settings)
    with MODES[mode]():
        before = state_of_the_host()
        ours = restore(picture, settings=settings)
        moment = ours.moments[0].restoration().restored
        (stacked,) = (
            each.result for each in napari_dip.restore_stack(picture, "YX", settings=settings, report_wanted=bool)
        )
        after = state_of_the_host()
        with pytest.raises(ValueError, match="same intensity"):
            restore(np.zeros((20, 20)), settings=settings)
        assert before == after == state_of_the_host()
    np.testing.assert_array_equal(ours.restored, expected.restored)
    np.testing.assert_array_equal(stacked.restored, expected.restored)
    np.testing.assert_array_equal(moment, expected.moments[0].restoration().restored)


@pytest.mark.parametrize("task", [*TASKS, "tiles"])
def test_no_task_depends_on_the_default_type(task: str, picture) -> None:
    image = np.round(np.tile(picture, (2, 2))[:32, :32])
    mask = np.zeros(image.shape, bool)
    mask[4:7, 5:9] = task == "inpaint"
    settings = Settings(**TINY | {"uncertainty": True, "residual": True, "smoothed": True, "upsampling": "gaussian"})
    table = np.full((8, 8), 16.0) if task == "deblock" else None

    def run():
        if task == "tiles":
            large = np.tile(image, (3, 3))
            alone = Settings(**TINY | {"partner": False, "step_limit": 2})
            *_, last = napari_dip.restore_stack(large, "YX", settings=alone, memory=6.32e8)
            assert "tiles" in last.result.record.compared
            return last.result
        factor = 2 if task == "super_resolve" else None
        psf = POINT if task == "deconvolve" else None
        return restore(image, mask, task, factor, settings, quantisation_table=table, psf=psf)

    with MODES["default type"]():
        ours = run()
    expected = run()
    for name in ("restored", "smoothed", "detail_enhanced", "residual", "uncertainty"):
        if getattr(expected, name) is not None:
            np.testing.assert_array_equal(getattr(ours, name), getattr(expected, name), err_msg=name)


def test_reports_work_in_any_mode_and_leave_none_on(picture) -> None:
    settings = Settings(**TINY | {"step_limit": 14})
    expected = [each.estimate for each in restore_steps(picture, settings=settings)]
    before = state_of_the_host()
    steps, ours = restore_steps(picture, settings=settings), []
    for mode in (*MODES.values(), contextlib.nullcontext):
        with mode():
            inside = state_of_the_host()
            progress = next(steps, None)
            ours += [] if progress is None else [progress.estimate]
            assert state_of_the_host() == inside
        assert state_of_the_host() == before
    for one, other in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    abandoned = restore_steps(picture, settings=settings)
    with torch.no_grad():
        next(abandoned)
    abandoned.close()
    assert state_of_the_host() == before


@pytest.mark.parametrize(
    ("shape", "colours"),
    [((20, 20, 0), True), ((20, 20, 0), False), ((0, 20), True), ((20, 0), True), ((1, 1), True), ((1, 40), True)],
)
def test_images_without_pixels_get_an_error_message(shape: tuple[int, ...], colours: bool) -> None:
    with pytest.raises(ValueError, match=r"nothing in it|at least 16|c = 1, 3 or 4"):
        restore_steps(np.zeros(shape), colours=colours)


def test_a_record_has_the_number_of_threads(picture) -> None:
    result = restore(picture, settings=Settings(**TINY))
    assert result.record.threads == torch.get_num_threads()
    again = napari_dip.Record.from_dict(result.record.as_dict())
    assert again.threads == result.record.threads
    assert f"number of threads ({again.threads})" in again.exactness
    of_old = result.record.as_dict()
    del of_old["threads"]
    assert "number of threads" in napari_dip.Record.from_dict(of_old).exactness


def test_the_same_long_doubles_are_the_same_image(picture) -> None:
    """On most machines some of their bytes are padding, with arbitrary content."""
    image = picture.astype(np.longdouble)
    scratched = image.copy()
    if image.itemsize == 16:
        scratched.view(np.uint8).reshape(-1, 16)[:, 10:] = 0x5A
    np.testing.assert_array_equal(scratched, image)
    digests = {restore(each, settings=Settings(**TINY)).record.given.digest for each in (image, scratched)}
    assert len(digests) == 1
