"""A record as a script that repeats the result.

A record may be a stranger's. Its texts and numbers come into a script as literals only, by ``!a``: pure ASCII, in which
nothing is invisible, reads from right to left or ends a comment. So the path that is shown is the path that is read.
"""

from __future__ import annotations

import textwrap
from dataclasses import fields
from typing import TYPE_CHECKING

from .outputs import OUTPUTS
from .settings import Settings

if TYPE_CHECKING:
    from .record import Given, Record, StackRecord

_LINE = 100  # characters of a packed mask
_NOT_IN_NAMES = frozenset('<>:"/\\|?*')  # of files, on any system
_LONGEST_NAME = 100
_LONGEST_COMMENT = 1000


def write_script(record: Record) -> str:
    """Return a Python script that repeats the result of a record.

    It reads the image from its file, or says where to put it, and refuses another image; the mask and a JPEG's steps
    stand in the script itself.

    Raises
    ------
    ValueError
        If the record does not say what was restored, or holds what no record does.
    """
    record = type(record).from_dict(record.as_dict())  # whoever made it
    given, output = record.given, record.output
    if given is None:
        raise ValueError(
            "this record does not say what a script needs: it is of an older version, or of an image restored in tiles."
        )
    if record.stack is not None:
        return _write_stack_script(record, given, record.stack)
    of = given.layer or "the image"
    versions = ", ".join(f"{name} {number}" for name, number in record.versions.items())
    comments = [
        f"Repeats what napari-dip made of {of}, {record.exactness}.",
        f"Versions: {versions}",
        f"Device: {record.device}",
        f"It took {record.seconds:.0f} s; step {record.step} was chosen; {record.stop_reason}.",
    ]
    imports = ["from pathlib import Path", "", "import napari_dip", "from napari_dip.image_files import read_image"]
    imports.append("from napari_dip.record import digest_image" + (", unpack_mask" if given.mask is not None else ""))
    user_stopped = record.stopped_after is not None
    if user_stopped:
        imports.insert(0, "import itertools")
    lines = [
        *(_comment(each) for each in comments),
        *imports,
        "",
        *_read_image_lines(record),
        "",
    ]
    arguments = ["image"]
    if given.mask is not None:
        lines += _mask_lines(given.mask, "image.shape[:2]")
        arguments.append("mask")
    if given.quantisation_table is not None:
        rows = "\n".join(f"    {list(row)!a}," for row in given.quantisation_table)
        lines += [f"quantisation_table = [  # of the JPEG\n{rows}\n]", ""]
    lines += _settings_lines(record)
    arguments.append(f"task={record.task!a}")
    if record.factor is not None:
        arguments.append(f"factor={record.factor!a}")
    arguments.append("settings=settings")
    if not given.colours:
        arguments.append("colours=False")
    if given.quantisation_table is not None:
        arguments.append("quantisation_table=quantisation_table")
    if user_stopped:
        lines += [
            f"steps = itertools.count(1)  # the user stopped it after {record.stopped_after!a}",
            "*_, last = napari_dip.restore_steps(",
            f"    {', '.join(arguments)},",
            f"    stop_requested=lambda: next(steps) >= {record.stopped_after!a},",
            "    report_wanted=lambda: False,",
            ")",
            "result = last.result",
        ]
    else:
        lines.append(f"result = napari_dip.restore({', '.join(arguments)})")
    if output.dtype == "float32":
        lines.append(f"{output.name} = result.{output.name}")
    else:
        lines.append(f"{output.name}, clipped = napari_dip.as_dtype(result.{output.name}, {output.dtype!a})")
    lines.append(f'print({output.name}.shape, "step", result.step, result.stop_reason.value)')
    return "\n".join(lines) + "\n"


def _write_stack_script(record: Record, given: Given, stack: StackRecord) -> str:
    """Return a script that restores the planes that are done with restore_stack."""
    if len({each.mask for each in stack.planes}) > 1:
        raise ValueError("its mask differs from plane to plane, and a script holds one mask only.")
    if any(each.digest is None for each in stack.planes):
        raise ValueError("some of its planes were restored in tiles, and a script does not repeat those.")
    output, name = record.output, record.output.name
    letters = "".join(stack.planes[0].place)
    digests = [f"    {tuple(each.place.values())!a}: {each.digest!a}," for each in stack.planes]
    path = given.path
    lines = [
        _comment(f"Repeats what napari-dip made of {given.layer or 'the stack'}, {record.exactness}."),
        _comment(f"Versions: {', '.join(f'{each} {number}' for each, number in record.versions.items())}"),
        _comment(f"Device: {record.device}"),
        _comment(f"Its {len(stack.planes)} planes took {record.seconds:.0f} s."),
        "from pathlib import Path",
        "",
        "import numpy as np",
        "",
        "import napari_dip",
        "from napari_dip.many.axes import find_axes",
        "from napari_dip.many.stack_files import open_stack",
        "from napari_dip.record import digest_image" + (", unpack_mask" if given.mask is not None else ""),
        "",
    ]
    if path is None:
        path = _name_file(given.layer or "stack")
        lines.append(f"# Save the stack beside this script as {path!a}: it was not read from a file, or has changed.")
    lines += [
        f"stack = open_stack(Path({path!a})).array",
        f"if stack.shape != {stack.shape!a}:",
        '    raise SystemExit("This is not the stack that was restored: its result would be another.")',
        f"axes = find_axes(stack.shape, {stack.axes!a}, {stack.channels!a})",
        f"wanted = {{  # the places of the planes along {letters!a}, and what tells their pixels",
        *digests,
        "}",
        "",
        "",
        "def place_of(plane):",
        "    return tuple(plane.place.values())",
        "",
        "",
        "for plane in axes.planes():",
        "    if place_of(plane) in wanted and digest_image(axes.read(stack, plane)) != wanted[place_of(plane)]:",
        '        raise SystemExit(f"Plane {plane.describe()} is not what was restored: its result would be another.")',
        "",
    ]
    arguments = ["stack", "axes.letters"]
    if given.mask is not None:
        lines += _mask_lines(given.mask, "axes.plane_shape[:2]")
        arguments.append("mask")
    lines += _settings_lines(record)
    arguments.append(f"task={record.task!a}")
    if record.factor is not None:
        arguments.append(f"factor={record.factor!a}")
    arguments += ["settings=settings", f"channels={stack.channels!a}"]
    if stack.warm_start is not None:
        arguments.append(f"warm_start={stack.warm_start!a}")
    skip = "skip=lambda plane: place_of(plane) not in wanted"
    factor = record.factor if record.factor is not None and OUTPUTS[name].is_enlarged else 1
    shape = tuple(
        size * (factor if letter in "YX" else 1) for letter, size in zip(stack.axes, stack.shape, strict=True)
    )
    empty = f"np.zeros({shape!a}, {output.dtype!a})"
    if output.dtype == "float32":
        empty = f"np.full({shape!a}, np.nan, np.float32)"
    image = f"each.result.{name}"
    if output.dtype != "float32":
        image = f"napari_dip.as_dtype({image}, {output.dtype!a})[0]"
    lines += [
        f"{name} = {empty}",
        f"for each in napari_dip.restore_stack(\n    {', '.join(arguments)},\n    {skip},\n):",
        "    if each.result is not None:",
        f"        axes.write({name}, each.plane, {image})",
        '        print(each.plane.describe(), "step", each.result.step, each.result.stop_reason.value)',
    ]
    if stack.part is not None:
        within = (
            f"{begin:d}:{end:d}" if letter in letters else ":"
            for letter, (begin, end) in zip(stack.axes, stack.part, strict=True)
        )
        lines.append(f"{name} = {name}[{', '.join(within)}]")
    return "\n".join(lines) + "\n"


def _mask_lines(mask: str, shape: str) -> list[str]:
    packed = "\n".join(f"    {part!a}" for part in textwrap.wrap(mask, _LINE))
    return [f"mask = unpack_mask(  # True = missing\n{packed},\n    {shape},\n)", ""]


def _read_image_lines(record: Record) -> list[str]:
    given = record.given
    assert given is not None
    lines = []
    path = given.path
    if path is None:
        path = _name_file(given.layer or "image")
        lines.append(f"# Save the image beside this script as {path!a}: it was not read from a file, or has changed.")
    lines.append(f"image = read_image(Path({path!a}))")
    if given.region is not None:
        (top, bottom), (left, right) = given.region
        lines.append(f"image = image[{top:d}:{bottom:d}, {left:d}:{right:d}]")
    lines += [
        f"if digest_image(image) != {given.digest!a}:",
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
            lines.append(f"    {name}={getattr(record.used, name)!a},")
            continue
        value = getattr(record.settings, name)
        wanted = name == record.output.name or _changes_other_outputs(name)
        if wanted and value != getattr(defaults, name):
            lines.append(f"    {name}={value!a},")
    return ["settings = napari_dip.Settings(", *lines, ")"]


def _changes_other_outputs(setting: str) -> bool:
    return setting != "snapshots" and (setting not in OUTPUTS or OUTPUTS[setting].changes_fit)


def _name_file(layer: str) -> str:
    """Return the name of a file for an image that was a layer of that name."""
    kept = (each if each.isprintable() and each not in _NOT_IN_NAMES else "_" for each in layer[:_LONGEST_NAME])
    return "".join(kept) + ".tif"


def _comment(text: str) -> str:
    """Return a text as comments, whatever is in it: what is not ASCII is escaped, what is long is cut."""
    written = ascii(" ".join(text.split()))[1:-1][:_LONGEST_COMMENT]  # a layer's name may have several lines
    return "\n".join(f"# {line}" for line in textwrap.wrap(written, _LINE))
