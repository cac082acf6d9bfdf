"""A record survives JSON, and the script that it writes repeats the result to the bit."""

import ast
import base64
import dataclasses
import itertools
import json
import subprocess
import sys
import tracemalloc
import zlib

import numpy as np
import pytest

import napari_dip
from napari_dip.image_files import write_tiff
from napari_dip.measurement.task import TASKS, Parameter, Task
from napari_dip.pixel_text import digest_image, pack_mask, unpack_mask
from napari_dip.record import Output
from napari_dip.record_fields import read_numbers
from napari_dip.samples import jpeg_photograph

REGION = ((3, 35), (5, 37))
OF_0_1_0 = """{
 "task": "denoise", "factor": null,
 "settings": {
  "seed": 7, "device": "auto", "precision": "auto", "network": "decoder", "width": 64, "levels": "auto",
  "convolutions_per_level": 2, "stem_convolutions": 2, "skip_channels": 0, "kernel_size": 3, "input_kind": "fourier",
  "input_channels": 32, "runs": 1, "normalisation": "lipschitz", "lipschitz_bound": "auto", "upsampling": "bilinear",
  "gaussian_sigma": 0.5, "gaussian_kernel_size": 5, "learning_rate": 0.004, "second_moment_decay": 0.99,
  "input_noise": 0.0, "weight_noise": 0.0, "weight_decay": 0.0, "burn_in": 0, "averaging": 0.98, "held_out": 0.05,
  "stopping": "auto", "patience": 200, "ratio_window": 100, "ratio_threshold": 0.01, "step_limit": 3000,
  "report_every": 10, "bands": 5, "keep_known": true, "smoothed": false, "detail_enhanced": false,
  "smoothed_lipschitz_bound": 1, "smoothed_steps": 300, "detail_amount": 1.0
 },
 "used": {
  "seed": 7, "device": "cuda:0", "precision": "bfloat16", "width": 64, "levels": 5, "lipschitz_bound": 1.84,
  "learning_rate": 0.004, "held_out": 0.05, "step_limit": 3000
 },
 "compared": "mean squared error, on 95% of the known pixels",
 "missing": 3, "device": "GPU (NVIDIA A100) in bfloat16: the best there is", "step": 610, "stop_step": 820,
 "stop_reason": "the error on the held-out pixels no longer fell", "residual_correlation": -0.0021,
 "note": "", "seconds": 21, "versions": {"python": "3.11.9", "napari-dip": "0.1.0", "torch": "2.4.1+cu124"}
}"""
DEEP: list = []
for _ in range(10_000):
    DEEP = [DEEP]


@pytest.fixture(scope="module")
def settings() -> napari_dip.Settings:
    return napari_dip.Settings(width=8, levels=2, step_limit=20, device="cpu", patience=10, snapshots=2)


@pytest.fixture(scope="module")
def mask(camera) -> np.ndarray:
    mask = np.zeros(camera.shape, bool)
    mask[10:13, 8:30] = True
    return mask


@pytest.fixture(scope="module")
def result(camera, mask, settings) -> napari_dip.Restoration:
    return napari_dip.restore(camera, mask, settings=settings)


@pytest.fixture(scope="module")
def record(camera) -> napari_dip.Record:
    """An honest one, with all that a plane's may have but a JPEG's table."""
    mask = np.zeros(camera.shape, bool)
    mask[10:13, 8:30] = True
    settings = napari_dip.Settings(width=8, levels=2, step_limit=10, device="cpu", partner=False)
    result = napari_dip.restore(camera, mask, settings=settings)
    return result.record.of_output("restored", result.restored, path="a.tif", layer="cells", region=REGION)


def run_script(record: napari_dip.Record, folder) -> np.ndarray:
    """Run the record's script in a process of its own, where it lies; return the image that it made."""
    script = folder / "again.py"
    name = record.output.name
    script.write_text(record.as_python() + f"import numpy\nnumpy.save('out.npy', {name})\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script.name], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return np.load(folder / "out.npy")


def test_json_there_and_back(result) -> None:
    record = result.record.of_output(
        "restored", result.restored.astype(np.uint8), 3, path="a.tif", layer="cells", region=REGION
    )
    assert napari_dip.Record.from_dict(json.loads(record.as_json())) == record
    assert napari_dip.Record.from_dict(record.as_dict()) == record
    assert record.output == type(record.output)("restored", "uint8", 3)


def test_a_record_from_before_muon_is_adams(result) -> None:
    written = result.record.as_dict()
    for settings in (written["settings"], written["used"]):
        del settings["optimiser"], settings["momentum"]
        settings["learning_rate"] = 0.004
    read = napari_dip.Record.from_dict(written)
    assert (read.settings.optimiser, read.settings.learning_rate) == ("adam", 0.004)
    assert read.settings.momentum == napari_dip.Settings().momentum


def test_a_record_of_version_0_1_0_can_be_read() -> None:
    old = napari_dip.Record.from_dict(json.loads(OF_0_1_0))
    assert (old.settings.optimiser, old.settings.learning_rate, old.settings.seed) == ("adam", 0.004, 7)
    assert (old.used.device, old.seconds, old.restarts, old.given, old.stack) == ("cuda:0", 21.0, 0, None, None)
    assert napari_dip.Record.from_dict(json.loads(old.as_json())) == old
    with pytest.raises(ValueError, match="older version"):
        old.as_python()
    old = napari_dip.Record.from_dict(json.loads(OF_0_1_0) | {"task": "super_resolve", "factor": 4})
    assert (old.factor, old.parameters) == (4, {"factor": 4})
    for factor in ("None if __import__('os').system('true') else None", 1, True, 2.5, None, [2], 10**30, DEEP):
        with pytest.raises(ValueError, match=r"^this is not a record of napari-dip.*factor.*\.$"):
            napari_dip.Record.from_dict(json.loads(OF_0_1_0) | {"task": "super_resolve", "factor": factor})


@pytest.mark.parametrize(("name", "promise"), [("cpu", "to the last bit"), ("cuda:1", "nearly"), ("mps", "nearly")])
def test_a_script_promises_what_its_device_keeps(result, name: str, promise: str) -> None:
    used = dataclasses.replace(result.record.used, device=name)
    script = dataclasses.replace(result.record, used=used).as_python()
    assert promise in script.replace("\n# ", " ")


def test_a_table_of_a_jpeg_survives(settings) -> None:
    image = jpeg_photograph(128).degraded[64:96, 64:96]
    table = np.arange(1, 65).reshape(8, 8)
    record = napari_dip.restore(image, task="deblock", settings=settings, quantisation_table=table).record
    again = napari_dip.Record.from_dict(json.loads(record.as_json()))
    assert again == record
    np.testing.assert_array_equal(again.parameters["quantisation_table"], table)
    of_before = json.loads(record.as_json())  # when it was a part of what was given
    of_before["given"] |= of_before.pop("parameters")
    assert napari_dip.Record.from_dict(of_before | {"factor": None}) == record
    of_before["given"]["quantisation_table"][3][4] = 0
    with pytest.raises(ValueError, match=r"^this is not a record of napari-dip.*at least 1"):
        napari_dip.Record.from_dict(of_before | {"factor": None})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda values: values.pop("task"),
        lambda values: values["settings"].update(colour="green"),
        lambda values: values["settings"].update(width="wide"),
        lambda values: values["given"].update(smell="none"),
        lambda values: values.update(settings=None),
    ],
)
def test_what_is_no_record_is_refused(result, spoil) -> None:
    values = json.loads(result.record.as_json())
    spoil(values)
    with pytest.raises(ValueError, match=r"\.$"):
        napari_dip.Record.from_dict(values)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("parameters", None), ("parameters", []), ("parameters", {1: 2}),
        ("parameters.smell", 2), ("parameters.factor", 2), ("parameters.factor", True),
        ("stopped_after", "1 or print()"), ("stopped_after", -1), ("step", 10**30), ("seconds", float("nan")),
        ("noise", float("inf")), ("residual_correlation", float("-inf")), ("versions", {"torch": "1\nimport os"}),
        ("versions", {"a b": "1"}), ("versions", ["2.13"]), ("task", "x\u2028"), ("task", ["denoise"]), ("note", 3),
        ("given", []), ("given", DEEP), ("settings", DEEP), ("output", None),
        ("given.region", [["0", 5], [0, 5]]), ("given.region", [[5, 0], [0, 5]]), ("given.region", "abcd"),
        ("given.region", [[0, 5]]), ("given.region", [[0, 5.0], [0, 5]]), ("given.region", [[-3, 5], [0, 5]]),
        ("given.dtype", "object"), ("given.dtype", "O8"), ("given.digest", "0" * 63), ("given.digest", "g" * 64),
        ("given.image_shape", [0, 5]), ("given.image_shape", "48"), ("given.image_shape", [4, 4, 4, 4]),
        ("given.mask", "no mask"), ("given.mask", ""), ("given.path", "a\0b"), ("given.path", 5), ("given.colours", 1),
        ("given.quantisation_table", [[1] * 8] * 8),
        ("output.name", "__import__('os')"), ("output.name", "step"), ("output.dtype", "U4"), ("output.clipped", 0.5),
        ("used.lipschitz_bound", float("inf")), ("settings.width", 10**9), ("settings.device", "cpu', x=print('"),
    ],
)  # fmt: skip
def test_what_no_field_of_a_record_holds_is_refused_in_a_line(record, field, value) -> None:
    values = json.loads(record.as_json())
    of = values
    *way, last = field.split(".")
    for name in way:
        of = of[name]
    of[last] = value
    with pytest.raises(ValueError, match=f"^this is not a record of napari-dip.*{last}") as refused:
        napari_dip.Record.from_dict(values)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400


def read_kernel(kernel) -> np.ndarray:
    kernel = np.asarray(kernel, np.float64)
    if kernel.ndim not in (2, 3) or kernel.min() < 0:
        raise ValueError(f"kernel must be an image of a point, never negative, not {kernel.tolist()}.")
    return kernel


@pytest.fixture(scope="module")
def plain(camera, settings) -> napari_dip.Record:
    return napari_dip.restore(camera, settings=settings).record


@pytest.fixture
def toy(monkeypatch, plain) -> napari_dip.Record:
    """Return the record of a task of our own that takes an array; nothing but the table of tasks knows it."""
    kernel = np.random.default_rng(0).random((3, 4, 2)).astype(np.float32)
    monkeypatch.setitem(TASKS, "toy", Task("toy", "Play", (Parameter("kernel", "playing", read_kernel),)))
    return dataclasses.replace(plain, task="toy", parameters={"kernel": read_numbers(read_kernel(kernel))})


def test_an_array_that_a_new_task_takes_is_recorded_and_scripted(toy) -> None:
    again = napari_dip.Record.from_dict(json.loads(toy.as_json()))
    assert again == toy
    assert (np.shape(again.parameters["kernel"]), again.factor) == ((3, 4, 2), None)
    stack = again.of_stack("TYX", (2, 48, 40), [({"T": 0}, again)])
    for script in (again.as_python(), stack.as_python()):
        (rows,) = (
            node.value
            for node in ast.parse(script).body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "kernel"
        )
        assert ast.literal_eval(rows) == list(toy.parameters["kernel"])
        assert "kernel=kernel" in script


def test_a_large_array_is_a_parameter(toy) -> None:
    kernel = np.random.default_rng(0).integers(0, 10, (256, 256, 4)).astype(float)
    record = dataclasses.replace(toy, parameters={"kernel": read_numbers(kernel)})
    again = napari_dip.Record.from_dict(json.loads(record.as_json()))
    np.testing.assert_array_equal(again.parameters["kernel"], kernel)


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        ("[[1.0]]; import os", "should be"), (None, "should be"), (True, "should be"), ({}, "should be"),
        ([[1, "1"]], "should be"), ([[1, True]], "should be"), ([[1, 2], [3]], "should have"), (DEEP, "should be"),
        ([[1, float("nan")]], "should be"), ([[1, 10**400]], "should have"), ([[10**30]], "should have"),
        ([[[[1]]]], "should be"), ([[0] * 600] * 600, "should have"), (["x" * 100_000, *[0] * 100_000], "should be"),
        (3, "must be an image"), ([1, 2], "must be an image"), ([[-1] * 500] * 500, "must be an image"),
    ],
)  # fmt: skip
def test_what_is_no_array_that_a_task_takes_is_refused_in_a_line(toy, kernel, said) -> None:
    values = toy.as_dict() | {"parameters": {"kernel": kernel}}
    with pytest.raises(ValueError, match=rf"^this is not a record of napari-dip.*kernel {said}.*\.$") as refused:
        napari_dip.Record.from_dict(values)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("name", ["kernel\u2028import os", "a=1", "", "x" * 1000, "kernel2"])
def test_what_no_parameter_is_called_is_refused_in_a_line(toy, name) -> None:
    with pytest.raises(ValueError, match=r"^this is not a record of napari-dip.*name of a parameter\.$") as refused:
        napari_dip.Record.from_dict(toy.as_dict() | {"parameters": {name: 1}})
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("values", [None, [], 3, "{}", {1: 2}, DEEP, {}])
def test_what_is_no_mapping_is_no_record(values) -> None:
    with pytest.raises(ValueError, match=r"^this is not a record of napari-dip.*\.$"):
        napari_dip.Record.from_dict(values)


def test_records_before_this_version_can_be_read_but_give_no_script(result) -> None:
    values = result.record.as_dict()
    for name in ("given", "stopped_after", "output"):
        del values[name]
    old = napari_dip.Record.from_dict(values)
    assert old.settings == result.record.settings
    with pytest.raises(ValueError, match="older version"):
        old.as_python()


@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (48, 40)])
def test_a_mask_survives_as_text(shape) -> None:
    mask = np.random.default_rng(0).random(shape) < 0.3
    np.testing.assert_array_equal(unpack_mask(pack_mask(mask), shape), mask)


@pytest.mark.parametrize("text", ["", "no mask", pack_mask(np.ones((2, 2), bool))])
def test_what_is_no_mask_is_refused(text) -> None:
    with pytest.raises(ValueError, match="not a mask of 20 x 20"):
        unpack_mask(text, (20, 20))


def test_a_mask_of_few_bytes_does_not_become_gigabytes() -> None:
    bomb = base64.b64encode(zlib.compress(bytes(60_000_000), 9)).decode()
    assert len(bomb) < 100_000
    tracemalloc.start()
    with pytest.raises(ValueError, match="not a mask of 20 x 20"):
        unpack_mask(bomb, (20, 20))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_digest_knows_pixels_type_and_shape_but_not_the_byte_order(camera) -> None:
    image = camera.astype(np.uint16)
    assert digest_image(image) == digest_image(image.astype(">u2")) == digest_image(np.asfortranarray(image))
    others = [image + 1, image.astype(np.uint32), image.T, image[:, ::-1]]
    assert len({digest_image(each) for each in (image, *others)}) == 5


def test_the_script_repeats_a_result_with_its_mask(camera, result, tmp_path, monkeypatch) -> None:
    """Here in this process, which has torch already; those below run in one of their own."""
    monkeypatch.chdir(tmp_path)  # the script writes there
    write_tiff(tmp_path / "cells.tif", camera)
    record = result.record.of_output("restored", result.restored, path=str(tmp_path / "cells.tif"), layer="cells")
    scope: dict = {}
    exec(compile(record.as_python(), "again.py", "exec"), scope)
    np.testing.assert_array_equal(scope["restored"], result.restored)


@pytest.mark.full
def test_the_script_repeats_a_region_in_another_type(camera, settings, tmp_path) -> None:
    write_tiff(tmp_path / "cells.tif", camera)
    part = camera[slice(*REGION[0]), slice(*REGION[1])]
    settings = dataclasses.replace(settings, smoothed=True, smoothed_steps=10)
    result = napari_dip.restore(part, settings=settings)
    smoothed, clipped = napari_dip.as_dtype(result.smoothed, np.uint8)
    record = result.record.of_output("smoothed", smoothed, clipped, path=str(tmp_path / "cells.tif"), region=REGION)
    again = run_script(record, tmp_path)
    assert again.dtype == np.uint8
    np.testing.assert_array_equal(again, smoothed)


@pytest.mark.full
def test_the_script_repeats_what_the_user_stopped(camera, settings, tmp_path) -> None:
    asked = itertools.count(1)
    *_, last = napari_dip.restore_steps(
        camera, task="super_resolve", factor=2, settings=settings, stop_requested=lambda: next(asked) >= 13
    )
    assert last.result.record.stopped_after == 13
    record = last.result.record.of_output("restored", last.result.restored, layer="cells")
    write_tiff(tmp_path / "cells.tif", camera)  # where the script says
    np.testing.assert_array_equal(run_script(record, tmp_path), last.result.restored)


def test_a_script_of_before_finds_what_it_imports(result) -> None:
    script = result.record.as_python()
    assert "from napari_dip.pixel_text import digest_image, unpack_mask\n" in script
    exec("from napari_dip.record import digest_image, unpack_mask", {})  # as it said then


def test_the_script_refuses_another_image(camera, result, tmp_path) -> None:
    write_tiff(tmp_path / "cells.tif", camera[::-1])
    record = result.record.of_output("restored", result.restored, layer="cells")
    with pytest.raises(AssertionError, match="not the image that was restored"):
        run_script(record, tmp_path)


@pytest.mark.parametrize("name", ['a"b', "line\nbreak", "a/b: c", "'''", "\\", "x\u2028import os"])
def test_a_layers_name_is_never_code(result, name) -> None:
    script = result.record.of_output("restored", result.restored, layer=name).as_python()
    compile(script, "again.py", "exec")
    assert not any(line.startswith(("break", "import os")) for line in script.splitlines())
    (line,) = (line for line in script.splitlines() if line.startswith("image = read_image"))
    assert "/" not in line


HOSTILE = [
    "a\n'), __import__('os').system('x'), ('", "x\r\x0b\x0c\x1c\x85\u2028\u2029import os", "\u202etxt.tif", "с\u200b",
    "\\", '"', "\ud800", "~/a.tif", "file:///a.tif", "\\\\?\\C:\\a.tif", "\tprint()", "'''", "x" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_a_record_are_shown_escaped_and_never_code(record, text) -> None:
    values = record.as_dict()
    expected = ast.dump(ast.parse(record.as_python()))
    for field in ("device", "compared", "stop_reason", "note"):
        values[field] = text
    values["given"]["layer"] = text
    script = napari_dip.Record.from_dict(values).as_python()
    assert ast.dump(ast.parse(script)) == expected
    assert script.isascii()
    assert script.replace("\n", "").isprintable()


@pytest.mark.parametrize("path", HOSTILE)
def test_a_script_reads_the_path_that_it_shows(record, path) -> None:
    values = json.loads(record.as_json())
    values["given"]["path"] = path
    script = napari_dip.Record.from_dict(values).as_python()
    (line,) = (line for line in script.splitlines() if line.startswith("image = read_image("))
    assert line == f"image = read_image(Path({path!a}))"
    calls = [node for node in ast.walk(ast.parse(script)) if isinstance(node, ast.Call)]
    assert [node.args[0].value for node in calls if getattr(node.func, "id", "") == "Path"] == [path]


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": {"factor": "None if print() else None"}}, {"stopped_after": "1 or print()"}, {"seconds": "1"},
        {"task": "denoise', x=print('"}, {"output": Output("print()", "float32")},
    ],
)  # fmt: skip
def test_a_record_that_was_made_wrong_writes_no_script(record, change) -> None:
    with pytest.raises(ValueError, match="not a record"):
        dataclasses.replace(record, **change).as_python()


def test_the_script_names_only_settings_that_matter(result) -> None:
    script = result.record.of_output("restored", result.restored).as_python()
    assert "width=8" in script
    assert 'device="cpu"' in script.replace("'", '"')
    assert "snapshots" not in script
    assert "learning_rate" not in script
