"""The type of an answer: the schema that is sent, and the value from the text that comes back. Knows no request."""

from __future__ import annotations

import json
import re
from typing import Any, Generic, NoReturn, TypeVar

import attrs

from ..failures import InvalidRequest
from .kinds import Kind, kind_of, name_of
from .schema import schema_of
from .single import Misfit
from .values import value_from

T = TypeVar("T")

_WRAPPED = "value"
"""The field of the object around an answer that is none: providers require an object."""

_FENCED = re.compile(r"```[a-zA-Z]*\s*\n(.*?)\n?\s*```", re.DOTALL)


@attrs.frozen
class AnswerType(Generic[T]):
    """A type that an answer is to have."""

    hint: Any
    """The type."""

    schema: dict[str, Any]
    """The JSON Schema of the answer: an object."""

    is_wrapped: bool
    """Whether the answer is `{"value": …}` around the value."""

    @classmethod
    def of(cls, response_type: Any) -> AnswerType[T]:
        """Return the type of an answer.

        Args:
            response_type: A class or another type.

        Raises:
            InvalidRequest: The type, or one inside it, has no form in JSON.
        """
        if isinstance(response_type, str):
            raise InvalidRequest(f"response_type: a type is needed, not the str {response_type!r:.40}")
        schema = schema_of(response_type, "response_type")
        if kind_of(response_type) in (Kind.RECORD, Kind.MAPPING):
            return cls(response_type, schema, False)
        definitions = {"$defs": schema.pop("$defs")} if "$defs" in schema else {}
        wrapped = {
            "title": "Answer",
            "type": "object",
            "properties": {_WRAPPED: schema},
            "required": [_WRAPPED],
            "additionalProperties": False,
            **definitions,
        }
        return cls(response_type, wrapped, True)

    def read(self, text: str) -> T:
        """Return the value in the text of an answer. A fence of Markdown around it is ignored.

        Fields that a class does not have are ignored, unless they decide between the classes of a union.

        Raises:
            Misfit: The text is not JSON, or does not fit the type.
        """
        data = _json(text)
        candidates = [data]
        if self.is_wrapped and isinstance(data, dict) and data.keys() == {_WRAPPED}:
            candidates = [data[_WRAPPED], data]
        misfits = []
        for candidate in candidates:
            for allow_unknown in (False, True):
                try:
                    value: T = value_from(candidate, self.hint, allow_unknown=allow_unknown)
                except Misfit as misfit:
                    misfits.append(misfit)
                else:
                    return value
        raise misfits[1]  # of the likelier candidate, without the fields that are unknown only

    def __str__(self) -> str:
        return name_of(self.hint)


def _json(text: str) -> Any:
    stripped = text.strip()
    if not stripped:
        raise Misfit([("", "the answer has no text")])
    fenced = _FENCED.search(stripped)
    problem = ""
    bodies = [stripped, *([fenced[1]] if fenced else [])]
    for body in bodies:
        try:
            return json.loads(body, parse_constant=_no_constant)
        except ValueError as error:
            problem = str(error)
        except RecursionError:
            problem = "nested too deeply"
    raise Misfit([("", f"the answer is not JSON: {problem}")])


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
