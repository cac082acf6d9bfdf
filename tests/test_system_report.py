"""What `napari-dip info` says."""

import getpass
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import pretend_device
import pytest
from devices import needs_pretend_device
from terminal import run

from napari_dip.device import choose_device
from napari_dip.device_check import forget_verdicts
from napari_dip.system_report import describe_system


def read_lines() -> dict[str, str]:
    done = run("info")
    assert done.exit_code == 0, done.output
    return dict(line.split(": ", 1) for line in done.output.splitlines())


def test_a_report_names_versions_device_and_memory() -> None:
    lines = read_lines()
    for name in ("napari-dip", "torch", "numpy", "napari"):
        assert lines[name] == version(name)
    assert lines["Python"].startswith(platform.python_version())
    assert lines["Device"].startswith(choose_device().reason)
    assert "Device check" in lines
    assert lines["Memory"].endswith("GB free")


def test_a_report_tells_nothing_of_the_user() -> None:
    report = describe_system()
    assert str(Path.home()) not in report
    assert getpass.getuser() not in report.split()
    assert platform.node() not in report.split()


def test_a_torch_that_does_not_load_is_part_of_the_report(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # "import torch" then raises an ImportError
    lines = read_lines()
    assert lines["Device"].startswith("torch cannot be imported")
    assert lines["torch"] == version("torch")
    assert "Memory" in lines


@pytest.fixture
def offered():
    """torch offers the pretend device as its accelerator, and nobody has checked it."""
    forget_verdicts()
    with pretend_device.offer():
        yield
    forget_verdicts()


@needs_pretend_device
def test_a_device_that_passed_its_check(offered) -> None:
    lines = read_lines()
    assert lines["Device"].startswith("Accelerator")
    assert lines["Device check"] == "passed. It agrees with the CPU."


@needs_pretend_device
def test_a_device_that_failed_its_check(offered) -> None:
    with pretend_device.make_wrong("aten::reflection_pad2d"):
        lines = read_lines()
    assert lines["Device"].startswith("CPU")
    assert lines["Device check"].startswith("failed. Accelerator")
