"""What is typed into a terminal, and what is then in a folder."""

from __future__ import annotations

import os
from pathlib import Path

from typer.testing import CliRunner

from napari_dip.command_line import app

QUICK = ["--device", "cpu", "--step-limit", "4", "--set", "width=8", "--set", "levels=1", "--set", "partner=false"]


def run(*words: object):
    """Type a command of napari-dip."""
    return CliRunner().invoke(app, [str(each) for each in words])


def restore(*words: object):
    """Restore with a small network in four steps."""
    return run("restore", *words, *QUICK)


def contents(folder: Path) -> dict[str, bytes | str | int]:
    """Return what is in a folder: of files their bytes, of links where they lead, of all else its kind."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink()
        else path.read_bytes() if path.is_file() else path.lstat().st_mode
        for path in sorted(folder.rglob("*"))
    }  # fmt: skip
