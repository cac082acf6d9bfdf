"""A record as a script that repeats the result."""

from __future__ import annotations

import textwrap
from dataclasses import fields
from typing import TYPE_CHECKING

from .settings import Settings

if TYPE_CHECKING:
    from .record import Record

_BESIDE = ("smoothed", "detail_enhanced", "residual", "snapshots")  # settings that change no other output
_LINE = 100  # characters of a packed mask


def write_script(record: Record) -> str:
    """Return a Python script that repeats the result of a record.

    It reads the image from its file, or says where to put it, and refuses another image; the mask and a JPEG's steps
    stand in the script itself.

    Raises
    ------
    ValueError
        If the record does not say what was restored.
    """
    given, output = record.given, record.output
    if given is None:
        raise ValueError(
            "this record does not say what a script needs: it is of an older version, or of an image restored in tiles."
        )
    of = given.layer or "the image"
    versions = ", ".join(f"{name} {number}" for name, number in record.versions.items())
    imports = ["from pathlib import Path", "", "import napari_dip", "from napari_dip.image_files import read_image"]
    imports.append("from napari_dip.record import digest_image" + (", unpack_mask" if given.mask is not None else ""))
    user_stopped = record.stopped_after is not None
    if user_stopped:
        imports.insert(0, "import itertools")
    lines = [
        f"# Repeats what napari-dip made of {of}: to the last bit with the same versions on the same kind of device.",
        f"# Versions: {versions}",
        f"# Device: {record.device}",
        f"# It took {record.seconds:.0f} s; step {record.step} was chosen; {record.stop_reason}.",
        *imports,
        "",
        *_read_image_lines(record),
        "",
    ]
    arguments = ["image"]
    if given.mask is not None:
        packed = "\n".join(f'    "{part}"' for part in textwrap.wrap(given.mask, _LINE))
        lines += [f"mask = unpack_mask(  # True = missing\n{packed},\n    image.shape[:2],\n)", ""]
        arguments.append("mask")
    if given.quantisation_table is not None:
        rows = "\n".join(f"    {list(row)}," for row in given.quantisation_table)
        lines += [f"quantisation_table = [  # of the JPEG\n{rows}\n]", ""]
    lines += _settings_lines(record)
    arguments.append(f'task="{record.task}"')
    if record.factor is not None:
        arguments.append(f"factor={record.factor}")
    arguments.append("settings=settings")
    if not given.colours:
        arguments.append("colours=False")
    if given.quantisation_table is not None:
        arguments.append("quantisation_table=quantisation_table")
    if user_stopped:
        lines += [
            f"steps = itertools.count(1)  # the user stopped it after {record.stopped_after}",
            "*_, last = napari_dip.restore_steps(",
            f"    {', '.join(arguments)},",
            f"    stop_requested=lambda: next(steps) >= {record.stopped_after},",
            "    report_wanted=lambda: False,",
            ")",
            "result = last.result",
        ]
    else:
        lines.append(f"result = napari_dip.restore({', '.join(arguments)})")
    if output.dtype == "float32":
        lines.append(f"{output.name} = result.{output.name}")
    else:
        lines.append(f'{output.name}, clipped = napari_dip.as_dtype(result.{output.name}, "{output.dtype}")')
    lines.append(f'print({output.name}.shape, "step", result.step, result.stop_reason.value)')
    return "\n".join(lines) + "\n"


def _read_image_lines(record: Record) -> list[str]:
    given = record.given
    assert given is not None
    lines = []
    if given.path is None:
        name = f"{given.layer or 'image'}.tif"
        lines.append(f"# Save the image beside this script as {name!r}: it was not read from a file, or has changed.")
        path = name
    else:
        path = given.path
    lines.append(f"image = read_image(Path({path!r}))")
    if given.region is not None:
        (top, bottom), (left, right) = given.region
        lines.append(f"image = image[{top}:{bottom}, {left}:{right}]")
    lines += [
        f'if digest_image(image) != "{given.digest}":',
        '    raise SystemExit("This is not the image that was restored: its result would be another.")',
    ]
    return lines


def _settings_lines(record: Record) -> list[str]:
    """Return the settings that differ from the defaults, with the device and the precision that were used."""
    defaults = Settings()
    lines = []
    for field in fields(Settings):
        name = field.name
        if name in ("device", "precision"):
            lines.append(f'    {name}="{getattr(record.used, name)}",')
            continue
        value = getattr(record.settings, name)
        wanted = name == record.output.name or name not in _BESIDE
        if wanted and value != getattr(defaults, name):
            lines.append(f"    {name}={value!r},")
    return ["settings = napari_dip.Settings(", *lines, ")"]
