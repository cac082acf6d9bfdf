"""A record survives JSON, and the script that it writes repeats the result to the bit."""

import dataclasses
import itertools
import json
import subprocess
import sys

import numpy as np
import pytest

import napari_dip
from napari_dip.image_files import write_tiff
from napari_dip.record import digest_image, pack_mask, unpack_mask
from napari_dip.samples import jpeg_photograph

REGION = ((3, 35), (5, 37))


@pytest.fixture
def settings() -> napari_dip.Settings:
    return napari_dip.Settings(width=8, levels=2, step_limit=20, device="cpu", patience=10, snapshots=2)


@pytest.fixture
def mask(camera) -> np.ndarray:
    mask = np.zeros(camera.shape, bool)
    mask[10:13, 8:30] = True
    return mask


@pytest.fixture
def result(camera, mask, settings) -> napari_dip.Restoration:
    return napari_dip.restore(camera, mask, settings=settings)


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
    np.testing.assert_array_equal(again.given.quantisation_table, table)


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
    with pytest.raises(ValueError, match="no mask of 20 x 20"):
        unpack_mask(text, (20, 20))


def test_a_digest_knows_pixels_type_and_shape_but_not_the_byte_order(camera) -> None:
    image = camera.astype(np.uint16)
    assert digest_image(image) == digest_image(image.astype(">u2")) == digest_image(np.asfortranarray(image))
    others = [image + 1, image.astype(np.uint32), image.T, image[:, ::-1]]
    assert len({digest_image(each) for each in (image, *others)}) == 5


def test_the_script_repeats_a_result_with_its_mask(camera, result, tmp_path) -> None:
    write_tiff(tmp_path / "cells.tif", camera)
    record = result.record.of_output("restored", result.restored, path=str(tmp_path / "cells.tif"), layer="cells")
    np.testing.assert_array_equal(run_script(record, tmp_path), result.restored)


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


def test_the_script_repeats_what_the_user_stopped(camera, settings, tmp_path) -> None:
    asked = itertools.count(1)
    *_, last = napari_dip.restore_steps(
        camera, task="super_resolve", factor=2, settings=settings, stop_requested=lambda: next(asked) >= 13
    )
    assert last.result.record.stopped_after == 13
    record = last.result.record.of_output("restored", last.result.restored, layer="cells")
    write_tiff(tmp_path / "cells.tif", camera)  # where the script says
    np.testing.assert_array_equal(run_script(record, tmp_path), last.result.restored)


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


def test_the_script_names_only_settings_that_matter(result) -> None:
    script = result.record.of_output("restored", result.restored).as_python()
    assert "width=8" in script
    assert 'device="cpu"' in script.replace("'", '"')
    assert "snapshots" not in script
    assert "learning_rate" not in script
