"""Refuse to release a package that is not what its tag, its changelog and its page promise.

    python .ci/check_release.py dist/*.whl --tag v0.2.0

The publish workflow runs it before anything is uploaded.
"""

import argparse
import re
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

ROOT = Path(__file__).parent.parent
URLS = ("Homepage", "Documentation", "Source Code", "Bug Tracker", "User Support", "Changelog")


def list_faults(wheel: Path, tag: str, changelog: str) -> list[str]:
    """Return what must be mended before a wheel can be released, in sentences; nothing if all is well.

    Parameters
    ----------
    wheel : Path
    tag : str
        The release's tag.
    changelog : str
        The text of CHANGELOG.md.
    """
    with zipfile.ZipFile(wheel) as files:
        (name,) = [each for each in files.namelist() if each.endswith(".dist-info/METADATA")]
        metadata = message_from_bytes(files.read(name))
    version, description = metadata["Version"], metadata.get_payload(decode=True).decode()
    urls = {each.split(", ", 1)[0] for each in metadata.get_all("Project-URL", [])}
    faults = []
    if tag != f"v{version}":
        faults.append(f"The tag is {tag}, and the package's version is {version}: set version in pyproject.toml.")
    if missing := [each for each in URLS if each not in urls]:
        faults.append(f"The package has no link to {', '.join(missing)}: set repository in pyproject.toml.")
    if relative := re.findall(r"\]\((?![a-z]+:|#)([^)\s]+)\)", description):
        faults.append(f"The package's page has links that lead nowhere: {', '.join(relative[:3])} ...")
    if "copy of this repository" in description:
        faults.append("The package's page says how to install a copy of the repository, not the package.")
    if not re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.M):
        faults.append(f'CHANGELOG.md has no section "## [{version}] - YYYY-MM-DD".')
    return faults


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--tag", required=True)
    given = parser.parse_args()
    found = list_faults(given.wheel, given.tag, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    sys.exit("\n".join(found) or None)
