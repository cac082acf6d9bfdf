"""The numerical rooms do not know napari or Qt, and importing the package loads no torch."""

import pkgutil
import subprocess
import sys

import pytest

import napari_dip

ENGINE = [name for _, name, _ in pkgutil.walk_packages(napari_dip.__path__, "napari_dip.") if ".plugin" not in name]


def loaded_after(imports: str) -> set[str]:
    code = f"import sys; {imports}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_no_engine_room_knows_the_window() -> None:
    assert "napari_dip.restoration" in ENGINE
    loaded = loaded_after("import " + ", ".join(ENGINE))
    assert not loaded & {"napari", "qtpy", "magicgui", "pyqtgraph", "PyQt6", "PySide6"}


@pytest.mark.parametrize(
    "module", ["napari_dip", "napari_dip.settings", "napari_dip.record", "napari_dip.command_line"]
)
def test_importing_loads_no_torch(module: str) -> None:
    assert "torch" not in loaded_after(f"import {module}")


def test_the_widget_opens_without_torch() -> None:
    assert "torch" not in loaded_after("import napari_dip.plugin.restore_widget")


def test_public_names_exist() -> None:
    for name in napari_dip.__all__:
        assert getattr(napari_dip, name) is not None
