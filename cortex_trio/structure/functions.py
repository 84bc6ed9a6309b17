"""The parameters of a function that a model may call: their schema, and a call with arguments from JSON.

Knows no tool and no message.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from ..failures import InvalidRequest
from .docstrings import described
from .fields import MISSING, Field, description_of, resolved
from .schema import object_schema
from .values import fields_from


@attrs.frozen
class FunctionParameters:
    """The parameters of a function."""

    name: str
    """The name of the function; empty if it has none, as a lambda."""

    description: str
    """Its docstring without the sections; empty if there is none."""

    fields: tuple[Field, ...]
    """The parameters, in order."""

    signature: inspect.Signature
    """What calls are bound to."""

    @classmethod
    def of(cls, function: Callable[..., object], name: str | None = None) -> FunctionParameters:
        """Return the parameters of a function.

        Args:
            function: A function, a method, a partial or an object with `__call__`; sync or async.
            name: The name for errors. None: that of the function.

        Raises:
            InvalidRequest: It is not callable, is a generator, or a parameter has no annotation.
        """
        if not callable(function):
            raise InvalidRequest(f"tool: a function or a Tool is needed, not {type(function).__name__}")
        inner = _inner(function)
        own = getattr(inner, "__name__", "")
        own = "" if own in ("<lambda>", "__call__") else own
        where = f"tool {name or own or repr(function)}"
        if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
            raise InvalidRequest(
                f"{where}: a generator is no tool, because a call has one result; return a list"
            )
        try:
            signature = inspect.signature(function)
        except (ValueError, TypeError):
            raise InvalidRequest(f"{where}: its parameters cannot be read; wrap it in a function") from None
        text = inspect.getdoc(inner) if own else inner.__doc__
        if text is None and not inspect.isroutine(function):
            text = inspect.getdoc(type(function))  # of the class of an object with `__call__`
        doc = described(text)
        open_parameters = [
            each for each in signature.parameters.values() if each.name not in _given(function)
        ]
        hints = resolved(_annotations(open_parameters, where), _globals(inner), {}, where)
        fields = tuple(
            Field(
                parameter.name,
                hints[parameter.name],
                parameter.default is parameter.empty,
                MISSING if parameter.default is parameter.empty else parameter.default,
                description_of(hints[parameter.name]) or doc.parameters.get(parameter.name, ""),
            )
            for parameter in open_parameters
        )
        return cls(own, doc.text, fields, signature)

    def schema(self, where: str) -> dict[str, Any]:
        """Return the JSON Schema of the arguments.

        Args:
            where: The place, for the error text.

        Raises:
            InvalidRequest: A parameter has a type that has no form in JSON.
        """
        return object_schema(self.fields, where)

    def bound(self, arguments: Mapping[str, Any]) -> inspect.BoundArguments:
        """Return the arguments of a call, converted to the types of the parameters.

        Args:
            arguments: The JSON object with the arguments.

        Raises:
            Misfit: An argument is missing, unknown, or of a wrong type.
        """
        values = fields_from(dict(arguments), self.fields)
        bound = inspect.BoundArguments(self.signature, {})
        for parameter in self.signature.parameters:
            if parameter in values:
                bound.arguments[parameter] = values[parameter]
        bound.apply_defaults()
        return bound


def _inner(function: Any) -> Any:
    """Return the function that has the name, the docstring and the globals: inside partials, decorators and objects."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    if inspect.isroutine(function) or isinstance(function, type):
        return function
    return inspect.unwrap(type(function).__call__) if not hasattr(function, "__name__") else function


def _given(function: Any) -> set[str]:
    """Return the parameters that partials have given by name: the model neither sees nor changes them."""
    names: set[str] = set()
    while isinstance(function, functools.partial):
        names |= function.keywords.keys()
        function = function.func
    return names


def _globals(inner: Any) -> Mapping[str, Any]:
    return getattr(getattr(inner, "__func__", inner), "__globals__", {})


def _annotations(parameters: Sequence[inspect.Parameter], where: str) -> dict[str, Any]:
    """Return the annotations of the parameters. Raises InvalidRequest for a parameter that a model cannot be given."""
    found = {}
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise InvalidRequest(
                f"{where}: {parameter} cannot be described to a model; name each parameter and annotate it"
            )
        if parameter.annotation is parameter.empty:
            meant = f"such as {parameter.name}: str"
            if parameter.name == "self":
                meant = "or pass the method of an object instead of that of its class"
            raise InvalidRequest(f"{where}: parameter {parameter.name} needs an annotation, {meant}")
        found[parameter.name] = parameter.annotation
    return found
