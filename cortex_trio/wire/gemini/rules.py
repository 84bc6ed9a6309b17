"""What a legal generateContent request looks like. Source: Generative Language API reference, v1beta."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..rules import (
    Illegal,
    Problem,
    Rule,
    Where,
    array,
    base64_text,
    boolean,
    fields,
    filled,
    integer,
    json_object,
    matching,
    number,
    one_of,
    string,
)

_CALL = fields({"name": filled}, {"args": json_object, "id": string})
_RESPONSE = fields({"name": filled, "response": json_object}, {"id": string, "parts": array(json_object)})
_DATA: Mapping[str, Rule] = {
    "text": string,
    "inlineData": fields({"mimeType": filled, "data": base64_text}),
    "fileData": fields({"fileUri": filled}, {"mimeType": string}),
    "functionCall": _CALL,
    "functionResponse": _RESPONSE,
    "executableCode": json_object,
    "codeExecutionResult": json_object,
}
_SIGNATURE = matching(r"[A-Za-z0-9+/_=-]+")
"""Base64 of either alphabet, padded or not; also the fixed text in place of the signature of another model's call."""
_PART = fields({}, {**_DATA, "thought": boolean, "thoughtSignature": _SIGNATURE})
_CONTENT = fields({"parts": array(_PART, at_least=1)}, {"role": one_of("user", "model", "function")})
_FUNCTION = fields(
    {"name": matching(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}")},
    {"description": string, "parameters": json_object, "parametersJsonSchema": json_object},
)
_TOOL = fields(
    {},
    {
        "functionDeclarations": array(_FUNCTION),
        "googleSearch": json_object,
        "urlContext": json_object,
        "codeExecution": json_object,
    },
)
_CONFIG = fields(
    {},
    {
        "maxOutputTokens": integer(1),
        "stopSequences": array(string, at_most=5),
        "temperature": number(0, 2),
        "topP": number(0, 1),
        "topK": number(1),
        "candidateCount": integer(1, 8),
        "seed": integer(),
        "responseMimeType": one_of("text/plain", "application/json", "text/x.enum"),
        "responseSchema": json_object,
        "responseJsonSchema": json_object,
        "thinkingConfig": fields(
            {},
            {
                "includeThoughts": boolean,
                "thinkingBudget": integer(-1),
                "thinkingLevel": one_of("MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH"),
            },
        ),
        "responseModalities": array(string),
        "responseLogprobs": boolean,
        "logprobs": integer(0, 20),
        "presencePenalty": number(),
        "frequencyPenalty": number(),
    },
)
_CALLING = fields(
    {},
    {
        "mode": one_of("AUTO", "ANY", "NONE", "VALIDATED"),
        "allowedFunctionNames": array(string),
        "streamFunctionCallArguments": boolean,
    },
)
_GENERATE = fields(
    {"contents": array(_CONTENT, at_least=1)},
    {
        "systemInstruction": fields({"parts": array(_PART, at_least=1)}, {"role": string}),
        "tools": array(_TOOL),
        "toolConfig": fields({}, {"functionCallingConfig": _CALLING}),
        "generationConfig": _CONFIG,
        "safetySettings": array(fields({"category": filled, "threshold": filled})),
        "cachedContent": string,
        "serviceTier": string,
        "continuationToken": string,
        "model": string,
    },
)
_EMBED_CONTENT = fields({"parts": array(fields({"text": string}), at_least=1)}, {"role": string})
_EMBED_OPTIONS: Mapping[str, Rule] = {"outputDimensionality": integer(1), "taskType": string, "title": string}
EMBED = fields({"content": _EMBED_CONTENT}, {"model": matching(r"models/.+"), **_EMBED_OPTIONS})
BATCH_EMBED = fields(
    {
        "requests": array(
            fields({"model": matching(r"models/.+"), "content": _EMBED_CONTENT}, _EMBED_OPTIONS), at_least=1
        )
    }
)

_OPAQUE = {"args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema"}
"""What is inside is the caller's, not the API's: its names stay as they are."""


def camel(value: object) -> Any:
    """The body with the API's own names in camel case: it takes both."""
    match value:
        case list():
            return [camel(item) for item in value]
        case dict():
            named = {re.sub(r"_([a-z])", lambda found: found[1].upper(), name): name for name in value}
            return {new: value[old] if new in _OPAQUE else camel(value[old]) for new, old in named.items()}
        case _:
            return value


_COUNT = fields({"contents": array(_CONTENT, at_least=1)}, {"generateContentRequest": json_object})


def COUNT(value: object, where: Where) -> None:
    _COUNT(camel(value), where)


def GENERATE(value: object, where: Where) -> None:  # a rule like the others, that reads both spellings
    _GENERATE(camel(value), where)


_UNSIGNED = re.compile(r"gemini-[12]\b")
"""Models that do not ask for their thought signatures back; all since Gemini 3 do."""


def in_order(model: str, *, prefill: bool | None) -> Rule:
    """A rule for a body whose shape is right: parts hold one thing, and calls are answered at once and all."""

    def rule(body: object, where: Where) -> None:
        contents = camel(body)["contents"]
        for index, content in enumerate(contents):
            for at, part in enumerate(content["parts"]):
                if len(_DATA.keys() & part.keys()) != 1:
                    raise _complaint(
                        f"* GenerateContentRequest.contents[{index}].parts[{at}].data: required oneof field 'data' must"
                        " have one initialized field\n"
                    )
        _require_turns(contents)
        if model.startswith("gemini-") and not _UNSIGNED.match(model):
            _require_signatures(contents)
        if prefill is False and contents[-1].get("role") == "model":
            raise _complaint(
                "Please ensure that multiturn requests end with a user role or a function response."
            )

    return rule


def _require_turns(contents: list[dict[str, Any]]) -> None:
    called = 0
    previous = None
    for content in contents:
        calls = sum("functionCall" in part for part in content["parts"])
        answers = sum("functionResponse" in part for part in content["parts"])
        if answers != called and (answers or called):
            raise _complaint(
                "Please ensure that the number of function response parts is equal to the number of function call parts"
                " of the function call turn."
            )
        if calls and previous not in ("user", "function"):
            raise _complaint(
                "Please ensure that function call turn comes immediately after a user turn or after a function response"
                " turn."
            )
        called, previous = calls, content.get("role", "user")
    if called:
        raise _complaint(
            "Please ensure that function response turn comes immediately after a function call turn."
        )


def _require_signatures(contents: list[dict[str, Any]]) -> None:
    """In each step since the last user message, the first call must have the signature that came with it."""
    turns = [index for index, content in enumerate(contents) if _is_user_message(content)]
    for index in range(turns[-1] if turns else 0, len(contents)):
        calls = [part for part in contents[index]["parts"] if "functionCall" in part]
        if calls and not calls[0].get("thoughtSignature"):
            raise _complaint(
                f"Unable to submit request because function call `{calls[0]['functionCall']['name']}` in the"
                f" {index + 1}. content block is missing a `thought_signature`."
            )


def _is_user_message(content: dict[str, Any]) -> bool:
    return content.get("role", "user") == "user" and all(
        "functionResponse" not in part for part in content["parts"]
    )


def _complaint(text: str) -> Illegal:
    return Illegal(Problem.ORDER, ("contents",), text)
