"""JSON Schemas from types: what a model is sent for each kind of type, and what has no form in JSON."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import (
    Annotated,
    Any,
    ClassVar,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    TypedDict,
    TypeVar,
)
from uuid import UUID

import attrs
import pytest
from case_names import shown

from cortex_trio import InvalidRequest
from cortex_trio.structure.schema import schema_of

T = TypeVar("T")
UserId = NewType("UserId", int)


class Color(enum.Enum):
    """A color of the paint."""

    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@attrs.frozen
class City:
    """A city.

    Attributes:
        name: Its name in English.
    """

    name: str
    size: int = attrs.field(default=3, metadata={"description": "Inhabitants."})


@dataclass
class Trip:
    to: City
    days: list[Annotated[int, "of the month"]] = field(default_factory=list)
    color: Color = Color.RED


class Options(TypedDict, total=False):
    deep: bool
    name: NotRequired[str]


class Point(NamedTuple):
    x: float
    y: float = 0.0


@attrs.frozen
class Node:
    value: int
    children: list[Node] = attrs.field(factory=list)


@dataclass
class Husband:
    wife: Wife | None = None


@dataclass
class Wife:
    husband: Husband | None = None


@attrs.frozen
class Box(Generic[T]):
    content: T


def string(**more: Any) -> dict[str, Any]:
    return {"type": "string", **more}


NULL = {"type": "null"}
CITY = {
    "title": "City",
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "Its name in English."},
        "size": {"type": "integer", "description": "Inhabitants.", "default": 3},
    },
    "required": ["name"],
    "additionalProperties": False,
    "description": "A city.",
}

SIMPLE: list[tuple[Any, dict[str, Any]]] = [
    (str, string()),
    (int, {"type": "integer"}),
    (float, {"type": "number"}),
    (bool, {"type": "boolean"}),
    (None, NULL),
    (Any, {}),
    (object, {}),
    (datetime, string(format="date-time")),
    (date, string(format="date")),
    (time, string(format="time")),
    (UUID, string(format="uuid")),
    (Decimal, string()),
    (Path, string()),
    (UserId, {"type": "integer"}),
    (Annotated[int, "how many"], {"type": "integer"}),
    (Literal["a", "b"], string(enum=["a", "b"])),
    (Literal["a", 1, None], {"type": ["integer", "null", "string"], "enum": ["a", 1, None]}),
    (Color, string(enum=["red", "blue"], description="A color of the paint.")),
    (Level, {"type": "integer", "enum": [1, 2]}),
    (int | None, {"anyOf": [{"type": "integer"}, NULL]}),
    (Optional[str], {"anyOf": [string(), NULL]}),  # noqa: UP045 - this form is tested
    (list[str], {"type": "array", "items": string()}),
    (list, {"type": "array", "items": {}}),
    (Sequence[int], {"type": "array", "items": {"type": "integer"}}),
    (set[str], {"type": "array", "items": string()}),
    (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
    (tuple[int, int], {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}),
    (
        tuple[int, str],
        {
            "type": "array",
            "prefixItems": [{"type": "integer"}, string()],
            "items": False,
            "minItems": 2,
            "maxItems": 2,
        },
    ),
    (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
    (Mapping[str, Any], {"type": "object", "additionalProperties": {}}),
    (dict, {"type": "object", "additionalProperties": {}}),
    (City, CITY),
]


@pytest.mark.parametrize(("hint", "schema"), SIMPLE, ids=shown)
def test_each_kind_of_type_has_a_schema(hint: Any, schema: dict[str, Any]) -> None:
    assert schema_of(hint, "response_type") == schema


def test_a_class_stands_where_it_is_used() -> None:
    schema = schema_of(Trip, "response_type")
    assert schema["required"] == ["to"]
    assert schema["properties"]["to"] == CITY
    assert schema["properties"]["days"]["items"] == {"type": "integer"}
    assert schema["properties"]["color"]["default"] == "red"
    assert "$defs" not in schema
    assert "description" not in schema  # a dataclass without a docstring has one that is generated


def test_a_typed_dict_and_a_named_tuple_are_objects() -> None:
    assert schema_of(Options, "response_type")["required"] == []
    assert schema_of(Point, "response_type")["required"] == ["x"]
    assert list(schema_of(Point, "response_type")["properties"]) == ["x", "y"]


def test_a_class_that_contains_itself_is_a_reference_inside_and_an_object_at_the_root() -> None:
    schema = schema_of(Node, "response_type")
    assert schema["type"] == "object"
    assert schema["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}
    assert schema["$defs"]["Node"]["properties"] == schema["properties"]


def test_classes_that_contain_each_other_end() -> None:
    schema = schema_of(Husband, "response_type")
    wife = schema["properties"]["wife"]["anyOf"][0]
    assert wife["properties"]["husband"]["anyOf"][0] == {"$ref": "#/$defs/Husband"}
    assert set(schema["$defs"]) == {"Husband"}


def namesake() -> type:
    @attrs.define
    class Node:
        next: "Node | None" = None  # noqa: UP037

    return Node


def test_two_classes_of_one_name_that_contain_themselves_have_two_definitions() -> None:
    schema = schema_of(tuple[Node, namesake()], "response_type")  # type: ignore[misc]
    assert set(schema["$defs"]) == {"Node", "Node_2"}


def test_a_generic_class_has_the_types_it_is_used_with() -> None:
    assert schema_of(Box[int], "x")["properties"] == {"content": {"type": "integer"}}
    nested = schema_of(Box[list[City]], "x")["properties"]["content"]
    assert nested["items"] == CITY


@attrs.frozen
class BoxOfCities(Box[list[City]]):
    label: str = ""


@dataclass
class Counted:
    size: InitVar[int]
    kind: ClassVar[str] = "counted"
    made: int = field(init=False, default=0)


def test_a_class_that_inherits_from_a_generic_one_has_its_types() -> None:
    assert schema_of(BoxOfCities, "x")["properties"]["content"]["items"] == CITY
    assert schema_of(Box, "x")["properties"]["content"] == {}  # any type


def test_the_fields_are_the_arguments_of_the_class() -> None:
    assert schema_of(Counted, "x")["properties"] == {"size": {"type": "integer"}}


@attrs.frozen
class Unsendable:
    city: City
    stream: Callable[[], None]


class Wrong(enum.Enum):
    A = (1, 2)


BAD: list[tuple[Any, str]] = [
    (
        Unsendable,
        r"response_type\.stream: the type .*Callable.* has no form in JSON; attrs classes, dataclasses",
    ),
    (list[Unsendable], r"response_type\[\] *(\(Unsendable\))?\.stream: "),
    (bytes, "response_type: the type bytes has no form in JSON"),
    (complex, "response_type: the type complex"),
    (int | bytes, "response_type: the type bytes"),
    (dict[int, str], "response_type: the keys of a dict are str in JSON, not int"),
    (Wrong, r"response_type: a choice is a str, int, float, bool or None, not \(1, 2\)"),
    (object(), "response_type: the type <object"),
]


@pytest.mark.parametrize(("hint", "text"), BAD, ids=shown)
def test_a_type_without_a_form_in_json_is_an_error_that_names_the_place(hint: Any, text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        schema_of(hint, "response_type")


def test_an_annotation_that_cannot_be_resolved_is_an_error_that_says_so() -> None:
    @attrs.define
    class Local:
        value: Missing  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(
        InvalidRequest, match=r"response_type\.value: the annotation 'Missing' cannot be resolved"
    ):
        schema_of(Local, "response_type")


def test_an_attrs_class_without_types_is_an_error() -> None:
    with pytest.raises(InvalidRequest, match=r"response_type\.a: a type annotation is needed"):
        schema_of(attrs.make_class("Bare", ["a"]), "response_type")
