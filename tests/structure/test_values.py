"""Values from the JSON of a model: what fits becomes a value, what does not is named with its place."""

import enum
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict
from uuid import UUID

import attrs
import pytest
from case_names import shown
from hypothesis import given, settings
from hypothesis import strategies as st

from cortex_trio.structure import AnswerType, Misfit, json_text, value_from


class Color(enum.Enum):
    RED = "red"
    ONE = 1


@attrs.frozen
class City:
    name: str
    size: int = 3
    _hidden: str = attrs.field(default="", alias="kept")

    def __attrs_post_init__(self) -> None:
        if self.size < 0:
            raise ValueError("size: 0 or more is needed")


@dataclass
class Trip:
    to: City
    stops: tuple[City, ...] = ()
    note: str | None = "none"


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Point(NamedTuple):
    x: float
    y: float = 0.0


@attrs.frozen
class Node:
    value: int
    next: "Node | None" = None


@attrs.frozen
class Circle:
    kind: Literal["circle"]
    radius: float


@attrs.frozen
class Square:
    kind: Literal["square"]
    side: float


FITS: list[tuple[Any, Any, Any]] = [
    (str, "a", "a"),
    (int, 5, 5),
    (int, 5.0, 5),
    (float, 5, 5.0),
    (None, None, None),
    (Any, {"a": [1]}, {"a": [1]}),
    (datetime, "2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    (date, "2026-01-02", date(2026, 1, 2)),
    (UUID, "00000000-0000-4000-8000-000000000001", UUID("00000000-0000-4000-8000-000000000001")),
    (Decimal, "1.10", Decimal("1.10")),
    (Decimal, 1.5, Decimal("1.5")),
    (Color, "red", Color.RED),
    (Color, 1, Color.ONE),
    (Literal["a", 1], 1, 1),
    (list[int], [1, 2], [1, 2]),
    (set[str], ["a", "a"], {"a"}),
    (frozenset[str], ["a"], frozenset({"a"})),
    (tuple[int, str], [1, "a"], (1, "a")),
    (tuple[int, ...], [], ()),
    (dict[str, City], {"a": {"name": "P"}}, {"a": City("P")}),
    (City, {"name": "P", "kept": "k"}, City("P", 3, "k")),
    (City, {"name": "P", "size": None}, City("P")),
    (Trip, {"to": {"name": "P"}, "note": None}, Trip(City("P"), (), None)),
    (Trip, {"to": {"name": "P"}, "stops": [{"name": "Q"}]}, Trip(City("P"), (City("Q"),))),
    (Movie, {"title": "M"}, {"title": "M"}),
    (Movie, {"title": "M", "year": None}, {"title": "M"}),
    (Point, {"x": 1}, Point(1.0)),
    (Node, {"value": 1, "next": {"value": 2}}, Node(1, Node(2))),
    (int | str, "a", "a"),
    (int | str | None, None, None),
    (bool | int, True, True),
    (bool | int, 1, 1),
    (Color | None, "red", Color.RED),
    (Circle | Square, {"kind": "square", "side": 2}, Square("square", 2.0)),
    (list[Circle | Square], [{"kind": "circle", "radius": 1}], [Circle("circle", 1.0)]),
    (City | Point, {"x": 1, "y": 2}, Point(1.0, 2.0)),
    (str | list[str], ["a"], ["a"]),
    (City | dict[str, int], {"a": 1}, {"a": 1}),
]


@pytest.mark.parametrize(("hint", "data", "value"), FITS, ids=shown)
def test_json_that_fits_becomes_a_value(hint: Any, data: Any, value: Any) -> None:
    found = value_from(data, hint)
    assert found == value
    assert type(found) is type(value)


WRONG: list[tuple[Any, Any, str]] = [
    (str, 5, "a string is needed, not a number (5)"),
    (int, "5", "an integer is needed, not a string ('5')"),
    (int, True, "an integer is needed, not a boolean (True)"),
    (int, 5.5, "an integer is needed, not a number (5.5)"),
    (float, "1", "a number is needed, not a string ('1')"),
    (bool, 1, "a boolean is needed, not a number (1)"),
    (str, None, "a string is needed, not null"),
    (datetime, "soon", "a string with a date-time is needed, not a string ('soon')"),
    (Color, "green", "one of \"red\", 1, not 'green'"),
    (Literal[1], True, "one of 1, not True"),
    (list[int], "12", "an array is needed, not a string ('12')"),
    (list[int], {"a": 1}, "an array is needed, not an object"),
    (list[int], [1, "2"], "[1]: an integer is needed, not a string ('2')"),
    (tuple[int, str], [1], "an array of 2 is needed, not of 1"),
    (dict[str, int], {"a": "b"}, "a: an integer is needed, not a string ('b')"),
    (City, [], "an object is needed, not an array"),
    (City, {}, "name: missing"),
    (City, {"nam": "P"}, "name: missing; nam: unknown; allowed are name, size, kept; did you mean name?"),
    (City, {"name": "P", "size": -1}, "ValueError: size: 0 or more is needed"),
    (
        Trip,
        {"to": {"name": 1}, "stops": [{}]},
        "to.name: a string is needed, not a number (1); stops[0].name: missing",
    ),
    (int | str, [1], "one of int, str is needed, not an array"),
    (Circle | Square, {"kind": "square"}, "side: missing"),
    (Color | None, "green", "one of \"red\", 1, not 'green'"),
    (Node, {"value": 1, "next": {"value": "2"}}, "next.value: an integer is needed, not a string ('2')"),
]


@pytest.mark.parametrize(("hint", "data", "text"), WRONG, ids=shown)
def test_json_that_does_not_fit_names_the_place_and_what_is_allowed(hint: Any, data: Any, text: str) -> None:
    with pytest.raises(Misfit) as caught:
        value_from(data, hint)
    assert str(caught.value) == text


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    data: Any = {"value": 1}
    for _ in range(5_000):
        data = {"value": 1, "next": data}
    with pytest.raises(Misfit, match="nested too deeply"):
        value_from(data, Node)


@attrs.frozen
class Sum:
    left: "Sum | Product | int"
    right: "Sum | Product | int"


@attrs.frozen
class Product:
    left: "Sum | Product | int"
    factor: "Sum | Product | int"


def test_a_deep_value_of_unions_is_read_in_reasonable_time() -> None:
    data: Any = "wrong"
    for _ in range(60):
        data = {"left": 1, "right": data}
    with pytest.raises(Misfit):
        value_from(data, Sum)


# ------------------------------------------------------------------ answers


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "P"}',
        '  {"name": "P"}\n',
        '```json\n{"name": "P"}\n```',
        '```\n{"name": "P"}\n```',
        'Here it is:\n\n```json\n{"name": "P"}\n```\nDone.',
        '{"name": "P", "unknown": 1}',
    ],
)
def test_an_answer_is_read_from_its_text(text: str) -> None:
    answer: AnswerType[City] = AnswerType.of(City)
    assert answer.read(text) == City("P")


@pytest.mark.parametrize("text", ["", "no", "{", '{"name": NaN}', "[" * 100_000])
def test_a_text_that_is_no_json_does_not_fit(text: str) -> None:
    answer: AnswerType[City] = AnswerType.of(City)
    with pytest.raises(Misfit, match=r"not JSON|no text"):
        answer.read(text)


@pytest.mark.parametrize(
    ("hint", "value"),
    [(list[int], [1]), (int, 1), (Color, Color.RED), (Literal["a"], "a"), (int | None, None)],
)
def test_an_answer_that_is_no_object_is_wrapped_in_one(hint: Any, value: Any) -> None:
    answer: AnswerType[Any] = AnswerType.of(hint)
    bare = value.value if isinstance(value, Color) else value
    assert answer.schema["type"] == "object"
    assert answer.schema["required"] == ["value"]
    assert answer.read(json.dumps({"value": bare})) == value
    assert answer.read(json.dumps(bare)) == value  # some models leave the object out


def test_a_class_with_one_field_named_value_is_not_unwrapped() -> None:
    answer: AnswerType[Node] = AnswerType.of(Node)
    assert answer.read('{"value": 1}') == Node(1)


NODES = st.recursive(
    st.builds(Node, st.integers()),
    lambda inner: st.builds(Node, st.integers(), inner | st.none()),
    max_leaves=8,
)


@settings(max_examples=25)
@given(st.lists(NODES | st.builds(City, st.text(), st.integers(0))))
def test_a_value_survives_json(values: list[Node | City]) -> None:
    answer: AnswerType[list[Node | City]] = AnswerType.of(list[Node | City])
    assert answer.read(json_text(values).replace('"_hidden"', '"kept"')) == values


def test_json_of_a_value_is_plain() -> None:
    value = {
        "c": Color.RED,
        "d": date(2026, 1, 2),
        "s": {1},
        "t": City("P"),
        "x": Decimal("1.5"),
        "o": range(2),
    }
    text = json.loads(json_text(value))
    assert (text["c"], text["d"], text["s"], text["t"]["name"]) == ("red", "2026-01-02", [1], "P")
    assert (text["x"], text["o"]) == ("1.5", "range(0, 2)")
