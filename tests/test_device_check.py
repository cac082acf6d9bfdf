"""A device that computes what the CPU does is used; one that does not is caught, and the user is told."""

import ast
import json
import threading
from pathlib import Path

import numpy as np
import pretend_device
import pytest
import tifffile
import torch
from devices import needs_pretend_device
from pretend_device import NAME, count_operations, make_wrong
from terminal import run

import napari_dip
from napari_dip.device import NotEnoughMemory, choose_device
from napari_dip.device_check import check_device, choose_proven_device, forget_verdicts
from napari_dip.many.tiling import plan_tiles
from napari_dip.request import Request

SMALL = {"width": 8, "levels": 2, "step_limit": 4, "partner": False, "stopping": "fixed", "precision": "float32"}
CONSEQUENCE = "The CPU is used instead: the result is right, only slower."


@pytest.fixture(autouse=True)
def unchecked():
    """Every test begins with devices that nobody has checked, and leaves them so."""
    forget_verdicts()
    yield
    forget_verdicts()


@pytest.fixture
def offered():
    """torch offers the pretend device as its accelerator."""
    with pretend_device.offer():
        yield


def refuse(result: torch.Tensor) -> torch.Tensor:
    raise NotImplementedError("the operator is not implemented for this device.\nMore for developers.")


def run_out_of_memory(result: torch.Tensor) -> torch.Tensor:
    raise torch.OutOfMemoryError("out of memory. Tried to allocate 2.00 MiB.")


def round_to_tf32(result: torch.Tensor) -> torch.Tensor:
    """Keep 10 bits of the 23 of a float32, rounded."""
    if result.dtype != torch.float32:
        return result
    bits = result.contiguous().view(torch.int32)
    return ((bits + (1 << 12)) & ~((1 << 13) - 1)).view(torch.float32)


FAULTS = {
    "padding in another layout": ("aten::reflection_pad2d", None, "does not compute what the CPU does"),
    "gradients 5% too large": ("aten::convolution_backward", lambda each: 1.05 * each, "of the gradients differ by"),
    "not a number": ("aten::upsample_bilinear2d", lambda each: each * torch.nan, "are NaN"),
    "not implemented": ("aten::leaky_relu_", refuse, "failed a short check: the operator is not implemented for"),
}


@pytest.fixture(params=FAULTS)
def fault(request):
    """One operation of the pretend device is wrong; what is said of it."""
    operation, change, words = FAULTS[request.param]
    with make_wrong(operation, change):
        yield words


@pytest.fixture(scope="module")
def expected(camera) -> napari_dip.Restoration:
    """What the CPU returns that was asked for."""
    return napari_dip.restore(camera, settings=napari_dip.Settings(**SMALL, device="cpu"))


@pytest.fixture
def wrong():
    """The same, of one kind; by the words that it is known by."""
    operation, change, words = FAULTS["padding in another layout"]
    with make_wrong(operation, change):
        yield words


def test_what_is_right_agrees(accelerator) -> None:
    assert check_device(accelerator).agrees
    assert choose_proven_device(accelerator).reason.endswith("It agrees with the CPU.")


def test_the_cpu_has_nothing_to_prove() -> None:
    assert choose_proven_device("cpu") == choose_device("cpu")


@needs_pretend_device
def test_a_device_is_checked_once_by_however_many_threads() -> None:
    with count_operations() as tally:
        check_device(NAME)
    once = tally.operations.total()
    forget_verdicts()
    with count_operations() as tally:
        threads = [threading.Thread(target=check_device, args=(name,)) for name in (NAME, f"{NAME}:0", NAME)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert tally.operations.total() <= once + len(threads)  # each makes an empty tensor, to know the device's number


@needs_pretend_device
@pytest.mark.parametrize("operation", ["aten::convolution", "aten::convolution_backward"])
def test_rounding_to_tf32_is_no_fault(operation) -> None:
    with make_wrong(operation, round_to_tf32):
        assert check_device(NAME).agrees


@needs_pretend_device
def test_bfloat16_is_checked_where_it_is_to_be_used() -> None:
    def spoil(result: torch.Tensor) -> torch.Tensor:
        return 2 * result if result.dtype == torch.bfloat16 else result

    assert check_device(NAME, "bfloat16").agrees
    forget_verdicts()
    with make_wrong("aten::convolution", spoil):
        assert check_device(NAME).agrees
        verdict = check_device(NAME, "bfloat16")
    assert not verdict.agrees
    assert "in bfloat16" in verdict.sentence


@needs_pretend_device
def test_auto_goes_to_the_cpu_and_the_result_says_so(offered, fault, camera, expected) -> None:
    result = napari_dip.restore(camera, settings=napari_dip.Settings(**SMALL))
    np.testing.assert_array_equal(result.restored, expected.restored)
    assert result.settings.device == "cpu"
    for text in (result.note, result.record.note, result.record.device):
        assert fault in text
        assert CONSEQUENCE in text
    assert "\n" not in result.note
    assert CONSEQUENCE not in expected.note


@needs_pretend_device
def test_auto_takes_the_device_that_is_right(offered, camera) -> None:
    result = napari_dip.restore(camera, settings=napari_dip.Settings(**SMALL))
    assert result.settings.device == NAME
    assert result.record.device.endswith("It agrees with the CPU.")


@needs_pretend_device
def test_a_device_that_was_named_is_refused(wrong, camera) -> None:
    with pytest.raises(ValueError, match=f'"{NAME}" is refused: .*{wrong}.* Use "auto" or "cpu"'):
        napari_dip.restore(camera, settings=napari_dip.Settings(**SMALL, device=NAME))


@needs_pretend_device
def test_tiles_are_planned_for_the_device_that_will_be_used(offered, wrong) -> None:
    auto, cpu = (napari_dip.Settings(**SMALL, device=device) for device in ("auto", "cpu"))
    budget = 1.2e9  # of which what the process has imported is a part, on a CPU only
    tilings = [plan_tiles((2048, 2048), Request("denoise", settings), budget) for settings in (auto, cpu)]
    assert tilings[0] == tilings[1]
    assert tilings[0] is not None


@needs_pretend_device
def test_too_little_memory_is_no_verdict(offered) -> None:
    with make_wrong("aten::convolution", run_out_of_memory):
        choice = choose_proven_device("auto")
        with pytest.raises(NotEnoughMemory, match="too little memory free"):
            choose_proven_device(NAME)
    assert (choice.device, "too little memory free" in choice.warning) == ("cpu", True)
    assert choose_proven_device("auto").device == NAME


@needs_pretend_device
def test_the_terminal_says_it(offered, wrong, tmp_path, camera) -> None:
    tifffile.imwrite(tmp_path / "in.tif", camera)
    small = [f"--set={name}={value}" for name, value in SMALL.items()]
    done = run("restore", tmp_path / "in.tif", tmp_path / "out.tif", *small)
    assert done.exit_code == 0, done.output
    assert CONSEQUENCE in done.stderr
    assert wrong in done.stderr
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert CONSEQUENCE in json.loads(file.pages[0].description)["device"]
    refused = run("restore", tmp_path / "in.tif", tmp_path / "refused.tif", "--device", NAME, *small)
    assert refused.exit_code == 1
    assert f'napari-dip: device "{NAME}" is refused: ' in refused.stderr
    assert not (tmp_path / "refused.tif").exists()


@needs_pretend_device
def test_the_terminal_checks_a_device_by_itself(offered) -> None:
    found = run("device")
    assert (found.exit_code, found.stdout.strip()) == (0, choose_proven_device().reason)
    forget_verdicts()
    with make_wrong("aten::reflection_pad2d"):
        assert run("device").exit_code == run("device", "--device", NAME).exit_code == 1
    assert run("device", "--device", "cpu").exit_code == 0


def test_whoever_runs_asks_for_a_proven_device() -> None:
    package = Path(napari_dip.__file__).parent
    for module in package.rglob("*.py"):
        names = {each.name for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
                 if isinstance(node, ast.ImportFrom) for each in node.names}  # fmt: skip
        # the report of a fault restores nothing, and says what the check found
        assert "choose_device" not in names or module.name in ("device_check.py", "system_report.py"), module
