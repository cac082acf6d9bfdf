"""Write a record as a script that repeats the result.

A record may come from anyone. Its texts and numbers enter a script only as literals, by ``!a``: pure ASCII, in which
nothing is invisible, reads from right to left or ends a comment. So the path that you see is the path that is read.
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
_NOT_IN_NAMES = frozenset('<>:"/\\|?*')  # not allowed in file names on one system or another
_LONGEST_NAME = 100
_LONGEST_COMMENT = 1000
_IMAGE_IMPORTS = """\
from pathlib import Path

import napari_dip
from napari_dip.image_files import read_image, write_tiff
from napari_dip.pixel_text import digest_image"""
_STACK_IMPORTS = """\
from pathlib import Path

import numpy as np

import napari_dip
from napari_dip.image_files import write_tiff
from napari_dip.many.axes import find_axes
from napari_dip.many.image_stack import MaskedStack
from napari_dip.many.stack_files import open_stack
from napari_dip.pixel_text import digest_image, digest_images"""


def write_script(record: Record) -> str:
    """Return a Python script that repeats the result of a record.

    The script reads the image or stack from its file, or says where to save it, and refuses any other. The mask and the
    task's other arguments are written into the script. It saves the result beside itself, unless there is such a file.

    Raises
    ------
    ValueError
        If the record does not say what was restored, or is invalid.
    """
    record = type(record).from_dict(record.as_dict())  # check it, whoever wrote it
    given, stack = record.given, record.stack
    if stack is None and record.neighbours:
        raise ValueError(
            "neighbouring planes helped here, and this record does not say where they are (a stopped plane, a region, "
            "or a mask of each plane's own); restore a range of planes, or the plane without neighbours."
        )
    if given is None:
        raise ValueError(
            "this record lacks what a script needs: it is from an older version, or of an image restored in tiles."
        )
    kind = "image" if stack is None else "stack"
    if record.cut_short:
        raise ValueError("this result is from a run that was stopped before its last filters, which no script repeats.")
    path, advice = given.path, ""
    if path is None:
        path = _name_file(given.layer or kind)
        advice = f"# Save the {kind} beside this script as {path!a}: it was not read from a file, or has changed.\n"
    arrays = {name: value for name, value in record.parameters.items() if isinstance(value, tuple)}
    arguments = [
        f"task={record.task!a}",
        *(f"{name}={name if name in arrays else ascii(value)}" for name, value in record.parameters.items()),
        "settings=settings",
    ]
    if given.mask is not None:
        arguments.insert(0, "mask")
    if stack is None:
        imports, mask_shape = _IMAGE_IMPORTS, "image.shape[:2]"
        took = f"It took {record.seconds:.0f} s; step {record.step} was chosen; {record.stop_reason}."
        if record.stopped_after is not None:
            imports = f"import itertools\n{imports}"
        read, restore = _read_image(given, path), _restore_image(record, ["image", *arguments], given.colours)
    else:
        imports, mask_shape = _STACK_IMPORTS, "axes.plane_shape[:2]"
        took = f"Its {len(stack.planes)} planes took {record.seconds:.0f} s."
        read, restore = _read_stack(stack, path), _restore_stack(record, stack, ["stack", "axes.letters", *arguments])
    comments = [
        f"Repeats napari-dip's result for {given.layer or f'the {kind}'}, {record.exactness}.",
        f"Versions: {', '.join(f'{name} {number}' for name, number in record.versions.items())}",
        f"Device: {record.device}",
        took,
    ]
    sections = ["\n".join([*map(_comment, comments), imports]), advice + read]
    if given.mask is not None:
        sections[0] += ", unpack_mask"
        lines = "\n".join(f"    {line!a}" for line in textwrap.wrap(given.mask, _LINE))
        sections.append(f"mask = unpack_mask(  # True = missing\n{lines},\n    {mask_shape},\n)")
    if stack is not None and any(each.neighbours for each in stack.planes):
        sections.append(_check_neighbours(stack, has_mask=given.mask is not None))
    for name, rows in arrays.items():
        sections.append("\n".join([f"{name} = [", *(f"    {row!a}," for row in rows), "]"]))
    return "\n\n".join([*sections, f"{_write_settings(record)}\n{restore}", f"{_save(record)}\n"])


def _save(record: Record) -> str:
    """Write what saves the result beside the script, and says how to look at it."""
    name = record.output.name
    axes = "" if record.stack is None else f", axes={record.stack.axes!a}"
    return f"""\
# to look at it: import napari; napari.imshow({name}); napari.run()
saved = Path.cwd() / {f"{name}.tif"!a}
if saved.exists():
    print(saved, "exists already, so nothing was saved")
else:
    write_tiff(saved, {name}{axes})
    print("saved as", saved)"""


def _read_image(given: Given, path: str) -> str:
    cut = ""
    if given.region is not None:
        (top, bottom), (left, right) = given.region
        cut = f"\nimage = image[{top:d}:{bottom:d}, {left:d}:{right:d}]"
    return f"""\
image = read_image(Path({path!a})){cut}
if digest_image(image) != {given.digest!a}:
    raise SystemExit("This is not the image that was restored; its result would differ.")"""


def _read_stack(stack: StackRecord, path: str) -> str:
    if len({each.mask for each in stack.planes}) > 1:
        raise ValueError("its mask differs from plane to plane, but a script can hold only one mask.")
    if any(each.digest is None for each in stack.planes):
        raise ValueError("some of its planes were restored in tiles, which a script cannot repeat.")
    letters = "".join(stack.planes[0].place)
    digests = "\n".join(f"    {tuple(each.place.values())!a}: {each.digest!a}," for each in stack.planes)
    return f"""\
stack = open_stack(Path({path!a})).array
if stack.shape != {stack.shape!a}:
    raise SystemExit("This is not the stack that was restored; its result would differ.")
axes = find_axes(stack.shape, {stack.axes!a}, {stack.channels!a})
wanted = {{  # the places of the planes along {letters!a}, and the SHA-256 of their pixels
{digests}
}}


def place_of(plane):
    return tuple(plane.place.values())


for plane in axes.planes():
    if place_of(plane) in wanted and digest_image(axes.read(stack, plane)) != wanted[place_of(plane)]:
        raise SystemExit(f"Plane {{plane.describe()}} is not the one that was restored; its result would differ.")"""


def _check_neighbours(stack: StackRecord, *, has_mask: bool) -> str:
    """Write the check of the planes that helped, which may lie beside those that were restored."""
    digests = "\n".join(
        f"    {tuple(each.place.values())!a}: {each.neighbours!a}," for each in stack.planes if each.neighbours
    )
    return f"""\
around = {{  # the SHA-256 of the planes that could help
{digests}
}}
helped = MaskedStack(stack, axes, {"mask" if has_mask else None}, {stack.neighbours!a})
for plane in axes.planes():
    if place_of(plane) in around:
        neighbours = helped.read_neighbours(plane)
        if neighbours is None or digest_images(neighbours.planes) != around[place_of(plane)]:
            raise SystemExit(f"The planes around {{plane.describe()}} have changed; its result would differ.")"""


def _restore_image(record: Record, arguments: list[str], colours: bool) -> str:
    name, stop = record.output.name, record.stopped_after
    written = ", ".join(arguments if colours else [*arguments, "colours=False"])
    call = f"result = napari_dip.restore({written})"
    if stop is not None:
        call = f"""\
steps = itertools.count(1)  # the user stopped it after {stop!a}
*_, last = napari_dip.restore_steps(
    {written},
    stop_requested=lambda: next(steps) >= {stop!a},
    report_wanted=lambda: False,
)
result = last.result"""
    return f"""\
{call}
{name} = {_in_type(record, f"result.{name}")}
print({name}.shape, "step", result.step, result.stop_reason.value)"""


def _restore_stack(record: Record, stack: StackRecord, arguments: list[str]) -> str:
    name, dtype = record.output.name, record.output.dtype
    arguments = [*arguments, f"channels={stack.channels!a}", f"neighbours={stack.neighbours!a}"]
    if stack.warm_start is not None:
        arguments.append(f"warm_start={stack.warm_start!a}")
    factor = (record.factor or 1) if OUTPUTS[name].is_enlarged else 1
    shape = tuple(
        size * (factor if letter in "YX" else 1) for letter, size in zip(stack.axes, stack.shape, strict=True)
    )
    empty = f"np.full({shape!a}, np.nan, np.float32)" if dtype == "float32" else f"np.zeros({shape!a}, {dtype!a})"
    cut = ""
    if stack.part is not None:
        within = (
            f"{begin:d}:{end:d}" if letter in stack.planes[0].place else ":"
            for letter, (begin, end) in zip(stack.axes, stack.part, strict=True)
        )
        cut = f"\n{name} = {name}[{', '.join(within)}]"
    return f"""\
{name} = {empty}
for each in napari_dip.restore_stack(
    {", ".join(arguments)},
    skip=lambda plane: place_of(plane) not in wanted,
):
    if each.result is not None:
        axes.write({name}, each.plane, {_in_type(record, f"each.result.{name}")})
        print(each.plane.describe(), "step", each.result.step, each.result.stop_reason.value){cut}"""


def _in_type(record: Record, image: str) -> str:
    """Return an expression that converts a float32 image to the type of the output."""
    dtype = record.output.dtype
    return image if dtype == "float32" else f"napari_dip.as_dtype({image}, {dtype!a})[0]"


def _write_settings(record: Record) -> str:
    """Write the settings that differ from the defaults, with the device and the precision that were used."""
    values, defaults = {}, Settings()
    for name in (field.name for field in fields(Settings)):
        value = getattr(record.settings, name)
        if name in ("device", "precision"):
            values[name] = getattr(record.used, name)
        elif value != getattr(defaults, name) and (name == record.output.name or _changes_other_outputs(name)):
            values[name] = value
    return "\n".join(["settings = napari_dip.Settings(", *(f"    {name}={values[name]!a}," for name in values), ")"])


def _changes_other_outputs(setting: str) -> bool:
    return setting != "snapshots" and (setting not in OUTPUTS or OUTPUTS[setting].changes_fit)


def _name_file(layer: str) -> str:
    """Return a file name for an image, from the name of its layer."""
    kept = (each if each.isprintable() and each not in _NOT_IN_NAMES else "_" for each in layer[:_LONGEST_NAME])
    return "".join(kept) + ".tif"


def _comment(text: str) -> str:
    """Return any text as comments: escaped to ASCII, and cut if it is long."""
    written = ascii(" ".join(text.split()))[1:-1][:_LONGEST_COMMENT]  # a layer's name may have several lines
    return "\n".join(f"# {line}" for line in textwrap.wrap(written, _LINE))
