"""Which options of one API a worker with another API can do without: tables, and the check.

An option that changes what the answer is makes a worker unable that cannot express it. A hint, which changes cost,
storage or accounting, is left out. A value that asks for nothing is left out, too. An unknown option may mean anything,
so it counts as one that changes the answer. What is in `sampling` is translated where the other API has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ...messages import ChatRequest
from ...wire.codec import Dialect, Unsupported
from ...wire.responses.parse import LOGPROBS as IN_RESPONSES
from .sampling import SAMPLING, Place, sampled, with_sampling, with_value

JSON_OBJECT = {"type": "json_object"}
JSON_TYPE = "application/json"
FUNCTIONS = ("functionDeclarations", "function_declarations")
"""The only key of Gemini's tools that is not a tool of its own."""

JSON_MODE: Mapping[str, Mapping[str, Any]] = {
    "chat_completions": {"response_format": JSON_OBJECT},
    "responses": {"text": {"format": JSON_OBJECT}},
    "gemini": {"generationConfig": {"responseMimeType": JSON_TYPE}},
    "cohere_chat": {"response_format": JSON_OBJECT},
    "ollama_chat": {"format": "json"},
}
"""By dialect, how an answer in JSON is asked for where no schema is given. Anthropic's API has no such option."""

_LOGPROBS = ("logprobs",)
_TOP_LOGPROBS = ("top_logprobs",)
LOGPROBS: Mapping[str, tuple[tuple[str, ...], object, tuple[str, ...]]] = {
    "chat_completions": (_LOGPROBS, True, _TOP_LOGPROBS),
    "responses": (("include",), [IN_RESPONSES], _TOP_LOGPROBS),
    "gemini": (("generationConfig", "responseLogprobs"), True, ("generationConfig", "logprobs")),
    "ollama_chat": (_LOGPROBS, True, _TOP_LOGPROBS),
}
"""By dialect, how log probabilities are asked for: an option and its value, and the option that has the number of
alternatives. Anthropic's API has none. Cohere's has the numbers of several tokens for one text."""


@attrs.frozen(kw_only=True)
class Options:
    """The options of one API that our ChatRequest has no name for."""

    hints: frozenset[str]
    """Left out for another API, whatever their values are."""
    neutral: Mapping[str, Sequence[Any]] = attrs.field(factory=dict)
    """Values that ask for nothing, by option. They are left out."""
    inner: Mapping[str, Options] = attrs.field(factory=dict)
    """Options that are objects with options inside."""
    sampling: Mapping[str, Place] = attrs.field(factory=dict)
    """Options of sampling that other APIs may have as well, by their name in `sampling`."""
    json_mode: tuple[str, ...] = ()
    """The path of the option whose value in JSON_MODE asks for an answer in JSON. It is among the neutral ones: what
    asks for JSON is read by itself."""

    def essential(self, fields: Mapping[str, Any], where: str = "") -> str | None:
        """Return the first option that another API would have to express, None if there is none."""
        for name, value in fields.items():
            place = f"{where}{name}"
            if name in self.hints or value is None or value in self.neutral.get(name, ()):
                continue
            if isinstance(value, Mapping) and value.get("type") == "json_schema":
                continue  # the schema is read
            if (inner := self.inner.get(name)) is None or not isinstance(value, Mapping):
                return place
            if found := inner.essential(value, f"{place}."):
                return found
        return None

    def without(
        self, request: ChatRequest, provider: str, dialect: str, *, logprobs: int | None = None
    ) -> ChatRequest:
        """Return the request for a provider with another API.

        Args:
            request: With the options of this API in its `extra_body`.
            provider: For errors.
            dialect: The name of the other API.
            logprobs: Alternatives that are wanted for each token. None: log probabilities are not wanted.

        Raises:
            Unsupported: An option is set that the other API does not have. The error names it.
        """
        wishes, fields = sampled(request.extra_body or {}, self.sampling)
        if name := self.essential(fields):
            raise Unsupported(_named(name, fields), provider)
        extra: Mapping[str, Any] = {}
        if self._asks_for_json(fields):
            if dialect not in JSON_MODE:
                raise Unsupported(f"the option {'.'.join(self.json_mode)!r} without a schema", provider)
            extra = JSON_MODE[dialect]
        if logprobs is not None:
            extra = _with_logprobs(extra, logprobs, provider, dialect)
        return attrs.evolve(request, extra_body=with_sampling(extra, wishes, provider, dialect) or None)

    def _asks_for_json(self, fields: Mapping[str, Any]) -> bool:
        found: Any = fields
        for name in self.json_mode:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found in (JSON_OBJECT, JSON_TYPE)


def _with_logprobs(
    fields: Mapping[str, Any], alternatives: int, provider: str, dialect: str
) -> Mapping[str, Any]:
    if dialect not in LOGPROBS:
        raise Unsupported("log probabilities", provider)
    option, value, number = LOGPROBS[dialect]
    fields = with_value(fields, option, value)
    return with_value(fields, number, alternatives) if alternatives else fields


def _named(option: str, fields: Mapping[str, Any]) -> str:
    """Name an option in an error. Of tools it is the one that only the API itself can run."""
    listed = fields.get(option)
    for tool in listed if option == "tools" and isinstance(listed, list) else ():
        kind = tool.get("type") or next((name for name in tool if name not in FUNCTIONS), None)
        if kind not in (None, "function", "custom"):
            return f"the tool {kind!r:.60}"
    return f"the option {option!r}"


BUDGETED = frozenset({"anthropic_messages", "gemini", "cohere_chat"})
"""Dialects that take a budget of tokens for reasoning."""

EFFORTS: Sequence[tuple[int, str]] = ((4096, "low"), (16384, "medium"))
"""The effort that stands for a budget below a number of tokens; for a larger one it is "high"."""


SCALE = ("minimal", "low", "medium", "high", "xhigh", "max")
"""All efforts, least first. "none" is not among them: it is no small effort, and every API has a form of it."""


def reasoning_for(dialect: Dialect, reasoning: str | int | None) -> str | int | None:
    """Return how a worker of another API is asked to reason.

    An effort that the API does not have becomes the nearest that it has. A budget is a limit of cost, which coding
    clients send with every request, so it becomes the nearest effort where there are no budgets. Gemini's -1 leaves the
    budget to the model, as None does elsewhere.
    """
    match reasoning:
        case None:
            return None
        case str():
            return _nearest(reasoning, getattr(dialect, "efforts", None))
        case budget if budget < 0:
            return None
        case budget if dialect.name in BUDGETED:
            return budget
        case budget:
            return next((effort for most, effort in EFFORTS if budget < most), "high")


def _nearest(effort: str, efforts: Sequence[str] | None) -> str:
    """Return the nearest of `efforts`, the smaller one of two; `effort` itself where nothing is known of it."""
    if efforts is None or effort in efforts or effort not in SCALE:
        return effort
    place = SCALE.index(effort)
    known = [name for name in SCALE if name in efforts]
    return min(known, key=lambda name: abs(SCALE.index(name) - place), default=effort)


CHAT_COMPLETIONS = Options(
    hints=frozenset(
        {
            "logprobs",  # read, like their number
            "metadata",
            "parallel_tool_calls",  # false is a wish as well: the API itself does not promise it
            "prediction",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
            "safety_identifier",
            "service_tier",
            "store",
            "top_logprobs",
            "user",
            "verbosity",
        }
    ),
    neutral={
        "n": (1,),
        "logit_bias": ({},),
        "modalities": (["text"],),
        "response_format": ({"type": "text"}, JSON_OBJECT),
        "functions": ([],),
        "function_call": ("auto", "none"),
    },
    # OpenAI's own API has no top_k, but many clients of it and servers like it have.
    sampling={**SAMPLING["chat_completions"], "top_k": Place(("top_k",))},
    json_mode=("response_format",),
)
_TEXT = Options(hints=frozenset({"verbosity"}), neutral={"format": ({"type": "text"}, JSON_OBJECT)})
RESPONSES = Options(
    hints=frozenset(
        {
            "client_metadata",
            "max_tool_calls",  # limits the provider's own tools only
            "metadata",
            "parallel_tool_calls",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
            "reasoning",  # its effort is read; the others ask for a summary
            "safety_identifier",
            "service_tier",
            "top_logprobs",  # read
            "truncation",
            "user",
        }
    ),
    neutral={
        "background": (False,),
        "frequency_penalty": (0,),
        "presence_penalty": (0,),
    },
    inner={"text": _TEXT},
    json_mode=("text", "format"),
)
ANTHROPIC = Options(
    hints=frozenset(
        {
            "betas",
            "cache_control",
            "context_management",  # what it would remove from the prompt is sent
            "inference_geo",
            "metadata",
            "service_tier",
            "speed",
            "thinking",  # its budget or the effort is read
            "tool_choice",  # the choice is read; the other field asks for one call at a time
        }
    ),
    neutral={"mcp_servers": ([],)},
    sampling=SAMPLING["anthropic_messages"],
)
GEMINI = Options(
    hints=frozenset({"labels", "safetySettings", "safety_settings", "serviceTier", "store"}),
    inner={
        "generationConfig": Options(
            hints=frozenset({"logprobs", "mediaResolution", "responseLogprobs", "thinkingConfig"}),
            neutral={
                "candidateCount": (1,),
                "responseMimeType": ("text/plain", JSON_TYPE),
                "responseModalities": (["TEXT"], ["text"]),
            },
        )
    },
    sampling=SAMPLING["gemini"],
    json_mode=("generationConfig", "responseMimeType"),
)
