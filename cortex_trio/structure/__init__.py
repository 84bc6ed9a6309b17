"""Types of answers and of tool arguments: JSON Schemas from types, and values of these types from JSON.

Knows no message, no provider and no request.

kinds       which kinds of types there are, and which of them a type is
fields      the fields of attrs classes, dataclasses, TypedDicts and NamedTuples
schema      a JSON Schema from a type
single      strings, numbers, dates and choices from JSON; Misfit, the error
fit         which member of a union a JSON value is of
values      a value of a type from JSON, with cattrs; JSON from a value
docstrings  the description of a function and of its parameters
functions   the parameters of a function: their schema, and a call with arguments from JSON
answers     the type of an answer: its schema, and its value from the text of the answer
"""

from .answers import AnswerType
from .functions import FunctionParameters
from .single import Misfit
from .values import json_text, value_from

__all__ = ["AnswerType", "FunctionParameters", "Misfit", "json_text", "value_from"]
