"""Tools from functions: the schema from annotations and docstring, and what cannot become a tool."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import attrs
import pytest
from case_names import shown

from cortex_trio import InvalidRequest, Tool
from cortex_trio.structure import FunctionParameters, Misfit


@attrs.frozen
class Place:
    """A place on earth."""

    lat: float
    lon: float = 0.0


@dataclass
class Range:
    first: int
    last: int = 9


async def get_weather(
    city: str, days: int = 3, *, unit: Literal["C", "F"] = "C", place: Place | None = None
) -> Undefined:  # type: ignore[name-defined]  # noqa: F821 - only parameters are read
    """Return the weather of a city.

    It is a forecast.

    Args:
        city: The name of the city,
            in English.
        days (int): How many days.
        unit: Of the temperature.

    Returns:
        A text.
    """


def sphinx(city: str, n: int) -> None:
    """Find it.

    :param city: The name,
        in English.
    :param int n: How many.
    :returns: Nothing.
    """


def test_a_function_becomes_a_tool() -> None:
    tool = Tool.from_function(get_weather)
    assert (tool.name, tool.description) == (
        "get_weather",
        "Return the weather of a city.\n\nIt is a forecast.",
    )
    assert tool.function is get_weather
    assert tool.parameters is not None
    assert tool.parameters["required"] == ["city"]
    properties = tool.parameters["properties"]
    assert properties["city"] == {"type": "string", "description": "The name of the city, in English."}
    assert properties["days"] == {"type": "integer", "description": "How many days.", "default": 3}
    assert properties["unit"]["enum"] == ["C", "F"]
    assert properties["place"]["anyOf"][0]["properties"]["lat"] == {"type": "number"}


def test_name_and_description_may_be_given() -> None:
    tool = Tool.from_function(lambda: 1, name="one", description="Return 1.")
    assert (tool.name, tool.description) == ("one", "Return 1.")
    assert Tool.from_function(lambda: 1, name="one").description == ""
    assert tool.parameters == {
        "type": "object",
        "properties": {},
        "required": [],
        "additionalProperties": False,
    }


def test_sphinx_docstrings_are_read() -> None:
    parameters = Tool.from_function(sphinx).parameters
    assert parameters is not None
    assert parameters["properties"]["city"]["description"] == "The name, in English."
    assert parameters["properties"]["n"]["description"] == "How many."


def test_an_annotation_may_have_the_description() -> None:
    def f(n: Annotated[int, "How many."]) -> None: ...

    parameters = Tool.from_function(f).parameters
    assert parameters is not None
    assert parameters["properties"] == {"n": {"type": "integer", "description": "How many."}}


class Service:
    """Search the archive."""

    def find(self, text: str) -> str:
        """Find a text."""
        return text

    async def __call__(self, text: str) -> str:
        return text


def test_methods_partials_objects_and_decorated_functions_are_tools() -> None:
    @functools.wraps(get_weather)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        return get_weather(*args, **kwargs)

    assert Tool.from_function(Service().find).name == "find"
    assert Tool.from_function(Service(), name="search").description == "Search the archive."
    assert Tool.from_function(decorated).name == "get_weather"
    partial = Tool.from_function(functools.partial(get_weather, unit="F"))
    assert partial.name == "get_weather"
    assert partial.parameters is not None
    assert set(partial.parameters["properties"]) == {"city", "days", "place"}


def test_a_dependency_that_a_partial_has_given_needs_no_annotation() -> None:
    def query(sql: str, *, database) -> str:  # type: ignore[no-untyped-def]
        return f"{database}: {sql}"

    found = FunctionParameters.of(functools.partial(query, database="db"))
    bound = found.bound({"sql": "select"})
    assert functools.partial(query, database="db")(*bound.args, **bound.kwargs) == "db: select"


def test_arguments_become_values_of_the_types() -> None:
    def f(place: Place, span: Range, tags: list[str] = [], /, last: int = 1) -> None: ...  # noqa: B006

    bound = FunctionParameters.of(f).bound({"place": {"lat": 1}, "span": {"first": 2}})
    assert bound.args == (Place(1.0), Range(2), [], 1)
    with pytest.raises(Misfit) as caught:
        FunctionParameters.of(f).bound({"place": {"lat": "1"}, "spam": 1})
    assert str(caught.value) == (
        "place.lat: a number is needed, not a string ('1'); span: missing; "
        "spam: unknown; allowed are place, span, tags, last; did you mean span?"
    )


def no_annotation(city): ...  # type: ignore[no-untyped-def]


def variable(*cities: str) -> None: ...


def keywords(**cities: str) -> None: ...


def unsendable(call: Callable[[], None]) -> None: ...


def unresolved(city: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


BAD: list[tuple[Any, str]] = [
    (no_annotation, "tool no_annotation: parameter city needs an annotation, such as city: str"),
    (variable, r"tool variable: \*cities: .*str.* cannot be described to a model"),
    (keywords, r"tool keywords: \*\*cities: .*str.* cannot be described to a model"),
    (unsendable, r"tool unsendable\.call: the type .*Callable.* has no form in JSON"),
    (unresolved, r"tool unresolved\.city: the annotation 'Nowhere' cannot be resolved"),
    (lambda: 1, "name= is needed"),
    (5, "tool: a function or a Tool is needed, not int"),
    (Service.find, "tool find: parameter self needs an annotation, or pass the method of an object"),
]


@pytest.mark.parametrize(("function", "text"), BAD, ids=shown)
def test_what_cannot_become_a_tool_is_an_error_that_names_the_place(function: Any, text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        Tool.from_function(function)


@pytest.mark.parametrize("name", ["", "a b", "ä", "x" * 65])
def test_a_name_that_providers_refuse_is_an_error(name: str) -> None:
    with pytest.raises(InvalidRequest, match="1 to 64 letters"):
        Tool.from_function(get_weather, name=name)
