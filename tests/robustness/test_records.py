"""A stranger's record is refused with a one-line message, or gives a script like an honest one's."""

import ast
import copy
import dataclasses
import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import napari_dip
from napari_dip.record import Record
from napari_dip.samples import jpeg_photograph

SMALL = napari_dip.Settings(width=8, levels=2, step_limit=10, device="cpu", partner=False, snapshots=1)
_MANY = 10_000 if settings().max_examples >= 1000 else 120
CODE = [
    "__import__('os').system('x')", "None if print() else None", "1 or print()", "'), print('", '"), print("',
    "x\nimport os", "x\r\nimport os #", "x\x0cprint()", "x\u2028print()", "\x00", "#", "'''", '"""\nimport os\n"""',
    "\\", "\\'", "{print()}", "lambda: 0", "restored", "__class__", "\u202ecba", "\ud800", "YX", "T" * 200, "",
]  # fmt: skip
TEXTS = st.sampled_from(CODE) | st.text(max_size=20) | st.text("0123456789abcdef", min_size=60, max_size=70)
NUMBERS = st.one_of(
    st.integers(), st.integers(-2, 70), st.floats(), st.booleans(),
    st.sampled_from([10**30, 10**400, -(10**30), 2**63, float("nan"), float("inf"), -0.0]),
)  # fmt: skip
LEAVES = st.one_of(st.none(), TEXTS, NUMBERS)
ANYTHING = st.recursive(LEAVES, lambda of: st.lists(of, max_size=9) | st.dictionaries(TEXTS, of, max_size=4))


def make_records() -> list[dict[str, Any]]:
    """Return honest records: of a plane, a region, a JPEG, an enlargement, a stack, tiles."""
    image = jpeg_photograph(128).degraded[40:64, 40:64]
    mask = np.zeros(image.shape, bool)
    mask[10:12, 4:20] = True
    found = []
    plane = napari_dip.restore(image, mask, settings=SMALL).record
    of_layer = plane.of_output("restored", image, path="/data/a.tif", layer="cells", region=((0, 24), (4, 28)))
    found += [plane, of_layer, plane.of_output("residual", image.astype(np.float32), layer="cells")]
    table = np.arange(1, 65).reshape(8, 8)
    of_jpeg = napari_dip.restore(image, task="deblock", settings=SMALL, quantisation_table=table).record
    found.append(of_jpeg.of_output("smoothed", image.astype(np.uint16), 3, layer="cells"))
    asked = itertools.count(1)
    *_, last = napari_dip.restore_steps(
        image, task="super_resolve", factor=2, settings=SMALL, stop_requested=lambda: next(asked) >= 5
    )
    assert last.result.record.stopped_after == 5
    found.append(last.result.record.of_output("detail_enhanced", image.astype(np.float32)))
    stack = np.stack([image, image[::-1]])
    for one_mask, task, factor, dtype in ((mask, "inpaint", None, np.uint8), (None, "super_resolve", 2, np.float32)):
        planes = [
            (dict(each.plane.place), each.result.record)
            for each in napari_dip.restore_stack(stack, "TYX", one_mask, task, factor, SMALL)
        ]
        for part, warm_start, path in ((None, None, "/data/a.tif"), (((0, 1), (0, 24), (0, 24)), "T", None)):
            record = planes[0][1].of_output("restored", image.astype(dtype), path=path, layer="film")
            found.append(
                record.of_stack("TYX", stack.shape, planes, channels="apart", warm_start=warm_start, part=part)
            )
    colours = np.moveaxis(stack, 0, -1)
    together = napari_dip.restore(colours, settings=SMALL, colours=False).record
    found.append(together)
    found.append(together.of_stack("YXC", colours.shape, [({}, together)], channels="together"))
    found.append(dataclasses.replace(plane, given=None))  # in tiles
    return [json.loads(each.as_json()) for each in found]


@pytest.fixture(scope="module")
def records() -> list[dict[str, Any]]:
    return make_records()


def as_before(values: dict[str, Any]) -> dict[str, Any]:
    """Return a record in the old form, in which each parameter had its own field."""
    before = copy.deepcopy(values)
    parameters = {"factor": None, "quantisation_table": None} | before.pop("parameters")
    before["factor"] = parameters.pop("factor")
    if before["given"] is not None:
        before["given"] |= parameters
    return before


@pytest.fixture(scope="module")
def vocabulary(records) -> set[tuple[str, str]]:
    """Everything that scripts of honest records contain."""
    names = ("restored", "smoothed", "detail_enhanced", "uncertainty", "residual")
    said: set[tuple[str, str]] = {("keyword", field.name) for field in dataclasses.fields(napari_dip.Settings)}
    for values, name, dtype in itertools.product(records, names, ("float32", "uint8")):
        if values["given"] is not None:
            said |= read_words(Record.from_dict(values | {"output": {"name": name, "dtype": dtype}}).as_python())
    return said


def read_words(script: str) -> set[tuple[str, str]]:
    """Return a script's names, attributes, calls, imports and keywords, without its texts and numbers."""
    words = set()
    for node in ast.walk(ast.parse(script)):
        match node:
            case ast.Name(id=name):
                words.add(("name", name))
            case ast.Attribute(attr=name):
                words.add(("attribute", ast.unparse(node) if isinstance(node.value, ast.Name) else name))
            case ast.Call(func=function) if not isinstance(function, ast.Subscript):
                words.add(("call", ast.unparse(function)))
            case ast.Import() | ast.ImportFrom():
                words.add(("import", ast.unparse(node)))
            case ast.keyword(arg=name):
                words.add(("keyword", str(name)))
            case ast.Lambda() | ast.FunctionDef():
                words.add(("function", ast.unparse(node.args)))
            case ast.Expr(value=ast.Constant()):
                words.add(("text that stands alone", ""))
            case ast.NamedExpr() | ast.Starred() | ast.Await() | ast.Yield() | ast.ListComp() | ast.IfExp():
                words.add(("expression", type(node).__name__))
    return words


def list_places(values: Any, way: tuple = ()) -> list[tuple]:
    """Return the path to every branch and leaf."""
    inner = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return [place for key, each in inner for place in ((*way, key), *list_places(each, (*way, key)))]


@st.composite
def spoil(draw: st.DrawFn, values: dict[str, Any]) -> dict[str, Any]:
    """Draw a record with parts replaced, removed or added."""
    values = copy.deepcopy(values)
    for _ in range(draw(st.integers(1, 3))):
        places = list_places(values)
        # settings are half of the leaves, but should not be half of the examples
        name = draw(st.sampled_from(sorted(values)))
        *way, last = draw(st.sampled_from([place for place in places if place[0] == name]))
        of = values
        for key in way:
            of = of[key]
        match draw(st.integers(0, 9)):
            case 0 if values.keys() - {last} and of:
                del of[last]
            case 1 if isinstance(of, dict):
                of[draw(TEXTS)] = draw(ANYTHING)
            case 2 if isinstance(of, list):
                of.append(draw(ANYTHING))
            case 3 if isinstance(of, dict):
                of[draw(TEXTS)] = of.pop(last)
            case 4:
                of[last] = draw(st.sampled_from([[of[last]], {"a": of[last]}, str(of[last]), bool(of[last])]))
            case _:
                of[last] = draw(ANYTHING if draw(st.booleans()) else LEAVES)
        if not values:
            break
    return values


def check(values: Any, vocabulary: set[tuple[str, str]]) -> None:
    try:
        record = Record.from_dict(values)
        assert Record.from_dict(json.loads(record.as_json())) == record
        script = record.as_python()
    except ValueError as error:
        said = str(error)
        assert said.isprintable(), said
        assert said.endswith(".")
        assert len(said) < 600
    else:
        assert read_words(script) <= vocabulary
        assert script.isascii()
        assert script.replace("\n", "").isprintable()


def test_an_honest_record_comes_back_unchanged(records) -> None:
    for values in records:
        record = Record.from_dict(values)
        assert json.loads(record.as_json()) == values
        assert Record.from_dict(record.as_dict()) == record
        assert Record.from_dict(as_before(values)) == record
        if record.given is not None:
            ast.parse(record.as_python())


@settings(max_examples=_MANY)
@given(data=st.data())
def test_no_record_can_inject_code_into_a_script(data, records, vocabulary) -> None:
    values = data.draw(st.sampled_from(records))
    check(data.draw(spoil(as_before(values) if data.draw(st.booleans()) else values)), vocabulary)


@given(data=st.data())
def test_texts_stay_texts(data, records, vocabulary) -> None:
    values = copy.deepcopy(data.draw(st.sampled_from([each for each in records if each["given"] is not None])))
    honest = read_words(Record.from_dict(values).as_python())
    for name in ("compared", "device", "stop_reason", "note"):
        values[name] = data.draw(TEXTS)
    values["given"]["layer"] = data.draw(TEXTS)
    values["given"]["path"] = data.draw(TEXTS.filter(lambda text: "\0" not in text))
    record = Record.from_dict(values)
    assert json.loads(record.as_json()) == values
    assert read_words(record.as_python()) == honest
    check(values, vocabulary)


@given(values=ANYTHING)
def test_anything_that_is_not_a_record_is_refused(values) -> None:
    check(values, set())
