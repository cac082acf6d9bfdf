"""The numerical rooms do not know napari or Qt, and importing the package loads no torch."""

import ast
import pkgutil
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

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


def modules_imported_by(path: Path, module: str) -> set[str]:
    """Return the modules of the package that a file imports, within functions, too, but not for types alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and id(node) not in for_types:
            of = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
            found |= {of, *(f"{of}.{each.name}" for each in node.names)}
    return found


def test_no_module_imports_itself_by_way_of_others() -> None:
    top = Path(napari_dip.__file__).parent
    modules = {}
    for path in top.rglob("*.py"):
        parts = path.relative_to(top.parent).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    imports = {name: modules_imported_by(path, name) & modules.keys() - {name} for name, path in modules.items()}
    assert any(imports.values())
    assert list(TopologicalSorter(imports).static_order())  # else a CycleError, with the circle
