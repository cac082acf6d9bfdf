"""Small images and small networks, so that the tests state laws in seconds; and the devices that they run on."""

import itertools
import os
from collections.abc import Iterator

import numpy as np
import pytest
from skimage import data

import napari_dip

_numbers = itertools.count()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave whole restorations on the pretend device to the longer tests: its steps are tested one by one as well."""
    for item in items:
        of = item.callspec.params if hasattr(item, "callspec") else {}
        is_slow = of.get("device") == "pretend" or (of.get("accelerator") == "pretend" and of.get("task") == "denoise")
        if is_slow and item.path.name in ("test_restoration.py", "test_partner.py"):
            item.add_marker(pytest.mark.full)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what takes a ``device`` on every one there is, and what takes an ``accelerator`` on all but the CPU."""
    for name, first in (("device", ["cpu"]), ("accelerator", [])):
        if name in metafunc.fixturenames:
            from devices import find_accelerators

            metafunc.parametrize(name, [*first, *find_accelerators()])


@pytest.fixture(autouse=True)
def full_float32(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let CUDA multiply float32 in float32: TF32 keeps 10 of 23 bits, and batch normalisation magnifies the loss."""
    of = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    if "cuda" in (of.get("device"), of.get("accelerator")):
        import torch

        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(autouse=True)
def first_day(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No run was ever made on this computer, and none is remembered after the test."""
    folder = tmp_path_factory.getbasetemp() / f"state{next(_numbers)}"  # made when something is written to it
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))  # of other processes, on Linux
    monkeypatch.setattr("platformdirs.user_state_path", lambda *_, **__: folder)


@pytest.fixture(scope="module")
def kept_environment() -> Iterator[None]:
    """Keep what dask does to the environment from later tests: it leaves MKL_NUM_THREADS=1 to all that they start."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def small_settings() -> napari_dip.Settings:
    return napari_dip.Settings(
        width=8, levels=2, convolutions_per_level=1, stem_convolutions=1, step_limit=20, device="cpu", patience=20
    )


@pytest.fixture(scope="session")
def camera() -> np.ndarray:
    """A (48, 40) uint8 crop of the cameraman: not square, not a multiple of 32."""
    return data.camera()[80:128, 200:240]


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """A (48, 40, 3) uint8 crop of the astronaut."""
    return data.astronaut()[80:128, 200:240]
