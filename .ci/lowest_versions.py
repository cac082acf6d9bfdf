"""Print, as pip's constraints, the lowest version of each dependency that pyproject.toml admits.

torch is left out: `.ci/run` installs the one that has been run, and pyproject.toml says which those are.
"""

import re
import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
lowest: dict[str, str] = {}
extras = [project["optional-dependencies"][name] for name in ("all", "cluster", "test")]
for requirement in sum(extras, project["dependencies"]):
    declared = re.fullmatch(r"([\w.-]+)(\[.*\])? *>=([\w.]+)", requirement)
    if declared is None:
        sys.exit(f"{requirement}: declare one lowest version, as in name >=1.2, and no more")
    name, _, version = declared.groups()
    if lowest.setdefault(name, version) != version:
        sys.exit(f"{name} is declared with two lowest versions, {lowest[name]} and {version}")
del lowest["torch"]
print("\n".join(f"{name}=={version}" for name, version in sorted(lowest.items())))
