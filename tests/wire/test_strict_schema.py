"""JSON Schemas in the form that OpenAI's strict mode needs, and the schemas that have no such form."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex_trio.wire.strict_schema import strict_schema, why_not_strict

Json = dict[str, Any]

TEXT = {"type": "string"}


def an_object(required: tuple[str, ...] = (), **properties: Any) -> Json:
    return {"type": "object", "properties": properties, "required": [*required]}


def only(schema: Json) -> Any:
    """Return the normalised form of a schema as that of the one required property of an object."""
    whole = strict_schema(an_object(("a",), a=schema))
    return whole and whole["properties"]["a"]


def optional(schema: Json, **definitions: Any) -> Any:
    whole = strict_schema(
        {**an_object(a=schema), "$defs": definitions} if definitions else an_object(a=schema)
    )
    return whole and whole["properties"]["a"]


def objects_of(schema: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for value in schema.values():
            yield from objects_of(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from objects_of(value)


def test_an_object_has_all_properties_required_and_no_others() -> None:
    assert strict_schema(an_object(("a",), a=TEXT, b={"type": "integer"})) == {
        "type": "object",
        "properties": {"a": TEXT, "b": {"type": ["integer", "null"]}},
        "required": ["a", "b"],
        "additionalProperties": False,
    }


def test_the_schema_of_the_caller_is_not_changed() -> None:
    schema = an_object(a=an_object(b={"type": "string", "default": "x"}), c={"type": "array", "items": TEXT})
    before = copy.deepcopy(schema)
    assert strict_schema(schema)
    assert schema == before


@pytest.mark.parametrize(
    ("schema", "nullable"),
    [
        ({"type": "string", "default": "x"}, {"type": ["string", "null"]}),
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
        ({"enum": ["a", "b"]}, {"type": ["string", "null"], "enum": ["a", "b", None]}),
        ({"enum": ["a", None]}, {"type": ["string", "null"], "enum": ["a", None]}),
        (
            {"const": 1, "title": "t"},
            {"title": "t", "anyOf": [{"type": "integer", "const": 1}, {"type": "null"}]},
        ),
        ({"anyOf": [TEXT, {"type": "null"}]}, {"anyOf": [TEXT, {"type": "null"}]}),
        ({"oneOf": [TEXT, {"type": "integer"}]}, {"anyOf": [TEXT, {"type": "integer"}, {"type": "null"}]}),
    ],
)
def test_an_optional_property_may_be_null(schema: Json, nullable: Json) -> None:
    assert optional(schema) == nullable


def test_an_optional_reference_may_be_null_and_keeps_its_description() -> None:
    found = optional({"$ref": "#/$defs/P", "description": "d", "default": None}, P=an_object(("x",), x=TEXT))
    assert found == {"description": "d", "anyOf": [{"$ref": "#/$defs/P"}, {"type": "null"}]}


def test_definitions_are_normalised_and_may_refer_to_themselves() -> None:
    node = an_object(("value",), value=TEXT, next={"$ref": "#/$defs/Node"})
    found = strict_schema({"$ref": "#/$defs/Node", "$defs": {"Node": node}})
    assert found is not None
    assert found["type"] == "object"
    assert "$ref" not in found
    for each in (found, found["$defs"]["Node"]):
        assert each["required"] == ["value", "next"]
        assert each["additionalProperties"] is False
        assert each["properties"]["next"] == {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}


@pytest.mark.parametrize(
    ("schema", "written"),
    [
        ({"type": "string", "format": "date-time"}, {"type": "string", "format": "date-time"}),
        ({"type": "string", "format": "uri", "examples": ["x"]}, {"type": "string"}),
        ({"type": "string", "x-order": 1, "$comment": "c"}, {"type": "string"}),
        ({"type": "integer", "minimum": 1}, {"type": "integer", "minimum": 1}),
        ({"type": "array", "items": TEXT, "minItems": 1}, {"type": "array", "items": TEXT, "minItems": 1}),
        ({"items": TEXT}, {"type": "array", "items": TEXT}),
        ({"const": True}, {"type": "boolean", "const": True}),
        ({"allOf": [TEXT], "description": "d"}, {"type": "string", "description": "d"}),
        ({"type": "object", "additionalProperties": False}, {**an_object(), "additionalProperties": False}),
    ],
)
def test_keywords_that_the_mode_refuses_are_left_out_where_they_allow_no_other_values(
    schema: Json, written: Json
) -> None:
    assert only(schema) == written


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({}, "#/properties/a: a type is needed"),
        ({"type": "object"}, "#/properties/a: an object needs 'properties'"),
        ({"type": "object", "additionalProperties": TEXT}, "#/properties/a: an object with free keys"),
        ({**an_object(b=TEXT), "additionalProperties": True}, "#/properties/a: an object with free keys"),
        ({"type": "array"}, "#/properties/a: an array needs 'items'"),
        ({"type": "array", "prefixItems": [TEXT]}, "#/properties/a: 'prefixItems' is not supported"),
        ({"type": "string", "minLength": 1}, "#/properties/a: 'minLength' is not supported"),
        ({"allOf": [TEXT, TEXT]}, "#/properties/a: 'allOf' of more than one schema"),
        ({"not": TEXT}, "#/properties/a: 'not' is not supported"),
        ({"type": "object", "properties": {}, "anyOf": [TEXT]}, "#/properties/a: 'type' beside 'anyOf'"),
        ({"$ref": "#/$defs/None"}, "#/properties/a: the $ref '#/$defs/None' names no definition"),
        ({"$ref": "https://example.com/s.json"}, "#/properties/a: the $ref"),
        ({"type": "text"}, "#/properties/a: the type 'text' is not known"),
        ({"enum": [{}]}, "#/properties/a: only simple values"),
        ({"enum": [*range(1001)]}, "#/properties/a: more than 1,000 values"),
        ({"type": "string", "enum": 5}, "#/properties/a/enum: a list is needed"),
        ({**an_object(), "required": "a"}, "#/properties/a/required: a list is needed"),
        (an_object(("missing",)), "#/properties/a: the required 'missing'"),
    ],
)
def test_a_schema_that_cannot_be_strict_is_refused_with_its_place(schema: Json, why: str) -> None:
    whole = an_object(("a",), a=schema)
    assert strict_schema(whole) is None
    assert (why_not_strict(whole) or "").startswith(why)


@pytest.mark.parametrize(
    "schema",
    [TEXT, {"anyOf": [an_object(), an_object()]}, {"type": "array", "items": TEXT}, {"$ref": "#"}, {}],
)
def test_the_top_must_be_an_object(schema: Json) -> None:
    assert strict_schema(schema) is None
    assert (why_not_strict(schema) or "").startswith("#: ")


def test_objects_inside_more_objects_than_the_mode_takes_cannot_be_strict() -> None:
    schema: Json = an_object(("a",), a=TEXT)
    for _ in range(8):
        schema = an_object(("a",), a=schema)
    assert strict_schema(schema) is not None
    for _ in range(3000):
        schema = an_object(("a",), a=schema)
    assert strict_schema(schema) is None
    assert why_not_strict(schema)


def nested(inner: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    names = st.sampled_from("abc")
    objects = st.dictionaries(names, inner, max_size=3).flatmap(
        lambda properties: st.sets(st.sampled_from([*properties, "a"])).map(
            lambda required: an_object(tuple(sorted(required & properties.keys())), **properties)
        )
    )
    return (
        objects
        | inner.map(lambda items: {"type": "array", "items": items})
        | st.lists(inner, min_size=1, max_size=3).map(lambda each: {"anyOf": each})
    )


SIMPLE = st.sampled_from([TEXT, {"type": "integer", "default": 3}, {"enum": ["a", 1]}, {"const": None}])


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from("abcd"), st.recursive(SIMPLE, nested, max_leaves=8), max_size=4))
def test_what_comes_out_is_strict_and_stays_as_it_is(properties: Json) -> None:
    schema = strict_schema(an_object(**properties))
    if schema is None:
        assert why_not_strict(an_object(**properties))
        return
    for each in objects_of(schema):
        assert each["required"] == [*each["properties"]]
        assert each["additionalProperties"] is False
    assert strict_schema(schema) == schema
