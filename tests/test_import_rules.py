"""The numerical rooms do not know napari or Qt, and importing the package loads no torch."""

import ast
import functools
import json
import os
import pkgutil
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import napari_dip

ENGINE = [name for _, name, _ in pkgutil.walk_packages(napari_dip.__path__, "napari_dip.") if ".plugin" not in name]
LIGHT = ["napari_dip", "napari_dip.settings", "napari_dip.record", "napari_dip.command_line"]
WINDOW = {"napari", "qtpy", "magicgui", "pyqtgraph", "PyQt6", "PySide6"}
_IMPORT_IN_TURN = """
import importlib, json, os, sys
before, told = dict(os.environ), []
for modules in json.loads(sys.argv[1]):
    for each in modules:
        importlib.import_module(each)
    changed = [name for name in before | os.environ if before.get(name) != os.environ.get(name)]
    told.append([[name for name in json.loads(sys.argv[2]) if name in sys.modules], changed])
print(json.dumps(told))
"""


def import_in_turn(*groups: list[str]) -> list[tuple[set[str], set[str]]]:
    """Import in a fresh interpreter; return after each group what of torch and the window is loaded, and what changed.

    That is which variables of the environment; none of those of threads is set before.
    """
    words = [json.dumps(groups), json.dumps(["torch", *WINDOW])]
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT_IN_TURN, *words], env=variables, capture_output=True, text=True, check=True
    )
    return [(set(loaded), set(changed)) for loaded, changed in json.loads(done.stdout)]


def test_what_is_light_loads_no_torch_and_no_engine_room_knows_the_window() -> None:
    assert "napari_dip.restoration" in ENGINE
    *light, engine = import_in_turn(*([each] for each in LIGHT), ENGINE)
    for module, (loaded, _) in zip(LIGHT, light, strict=True):
        assert "torch" not in loaded, module
    assert engine[0] == {"torch"}


def test_the_widget_opens_without_torch_and_leaves_the_environment_as_it_is() -> None:
    engine = ["napari_dip.restoration", "napari_dip.many.stack", "napari_dip.plugin.run.run"]
    widget, everything = import_in_turn(["napari_dip.plugin.restore_widget"], engine)
    assert {"napari", "qtpy"} <= widget[0]
    assert "torch" not in widget[0]
    assert "torch" in everything[0]
    assert everything[1] <= {"THP_MEM_ALLOC_ENABLE"}  # torch's memory only: see napari_dip/__init__.py


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


@functools.cache
def imports() -> dict[str, set[str]]:
    """Return the modules of the package that each module imports."""
    top = Path(napari_dip.__file__).parent
    modules = {}
    for path in top.rglob("*.py"):
        parts = path.relative_to(top.parent).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {name: modules_imported_by(path, name) & modules.keys() - {name} for name, path in modules.items()}


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert any(imports().values())
    assert list(TopologicalSorter(imports()).static_order())  # else a CycleError, with the circle


FILES = {"pixel_type", "tiff_files", "whole_files", "image_files"}
WORDS = {"settings", "outputs", "outcome", "record", "pixel_text"}
MAY_IMPORT = {  # a room, or a module beside them; what is not named imports nothing of the package
    "settings": {"setting_rules"},
    "optimisation": {"measurement", "spectrum"},
    "image_tensor": {"measurement", "pixel_type"},
    "image_files": FILES,
    "guidance": {"measurement"},
    "smaller_way": {"measurement", "settings"},
    "record": {
        "measurement", "outputs", "pixel_text", "record_fields", "record_script", "setting_rules", "settings",
    },
    "record_fields": {"settings"},
    "record_script": {"outputs", "settings"},
    "outcome": {"outputs", "record", "settings"},
    "fit_plan": {"device", "measurement", "optimisation", "prior", "settings"},
    "device_check": {"device", "fit_plan", "measurement", "settings"},
    "system_report": {"device", "device_check"},
    "measured_plane": {"device", "image_tensor", "measurement", "record"},
    "request": {"measurement", "settings"},
    "torch_modes": {"interruption"},
    "stage": {"interruption", "optimisation", "outcome", "pace", "request", "settings", "torch_modes"},
    "plane_run": {
        *WORDS, "fit_plan", "guidance", "interruption", "measured_plane", "measurement", "optimisation",
        "record_fields", "request", "spectrum", "stage", "torch_modes",
    },
    "restoration": {
        *WORDS, "device_check", "fit_plan", "image_tensor", "measured_plane", "measurement", "plane_run", "request",
        "torch_modes",
    },
    "many": {
        *WORDS, *FILES, "device", "device_check", "fit_plan", "image_tensor", "interruption", "measurement", "pace",
        "request", "restoration", "torch_modes",
    },
    "command_progress": {"device_check", "many", "measurement", "pace", "request", "restoration", "settings"},
    "samples": {"measurement"},
    "command_psf": {"many", "measurement"},
    "command_line": {
        *WORDS, *FILES, "command_progress", "command_psf", "device", "device_check", "many", "measurement", "request",
        "samples", "spectrum", "system_report", "threads",
    },
    "plugin": {
        *WORDS, *FILES, "device", "device_check", "interruption", "many", "measurement", "pace", "request",
        "restoration", "samples", "smaller_way", "spectrum", "system_report", "threads",
    },
}  # fmt: skip


def test_every_room_imports_only_what_it_may() -> None:
    """The form, for one, does not reach into the optimisation; the prior knows nothing but itself."""
    for module, imported in imports().items():
        room = module.split(".")[1:2]
        if not room:
            continue  # the public interface
        others = {each.split(".")[1] for each in imported if "." in each} - set(room)
        assert others <= MAY_IMPORT.get(room[0], set()), f"{module} imports {others - MAY_IMPORT.get(room[0], set())}"
