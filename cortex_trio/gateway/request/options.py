"""The options of a chat: `ChatOptions` is the only list of them. Checks them before anything is sent.

Each mistake is one InvalidRequest that names its option and says what is allowed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack, get_args

import attrs

from ...failures import InvalidRequest
from ...intake import (
    checked,
    messages_from,
    require_different_names,
    require_paired_calls,
    tools_from,
)
from ...messages import ChatRequest, Document, Messages, Tool
from ...telemetry import OptionValue
from ..routing.eligibility import Criteria
from ..settings.aliases import routes_of
from ..settings.config import MOST_ATTEMPTS, Config
from .forwarding import ForwardJob, ForwardRequest
from .jobs import AnswerJob, ChatJob

OnInterrupt = Literal["raise", "restart", "continue", "buffer"]
"""What happens when a stream breaks after something was delivered.

raise       StreamInterrupted, with the partial answer
restart     a Restarted event, then a whole new answer from the next worker
continue    a Continued event, then the end of the answer from the next worker
buffer      nothing is delivered before the answer is whole
"""

ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
"""How much a model thinks before it answers. Which of them a model accepts depends on the model."""


class ChatOptions(TypedDict, total=False):
    """The options of `Cortex.chat`, `complete` and `explain`. An option that is None or missing is not sent.

    The last seven say how the gateway handles the call; the others choose a worker or are sent to it.
    """

    model: str | None
    """Only workers with this model, or those of this alias (`Config.aliases`). None: the default of each worker."""
    provider: str | None
    """Only workers of this provider: an exact name."""
    worker: str | None
    """Only the worker of this name."""
    max_tokens: int | None
    """Tokens of the answer at most."""
    temperature: float | None
    """As the provider defines it, from 0."""
    top_p: float | None
    """As the provider defines it, from 0."""
    stop: Sequence[str] | None
    """Strings at which the answer ends; one string is allowed, too."""
    tools: Sequence[Tool | Mapping[str, Any]] | None
    """Tools that the model may call."""
    tool_choice: str | None
    """`auto`, `none`, `required`, or the name of a tool."""
    response_schema: Mapping[str, Any] | None
    """The JSON Schema of the answer."""
    reasoning: ReasoningEffort | int | None
    """An effort ("low", "medium", "high"), or a number of tokens."""
    documents: Sequence[Document] | None
    """Documents that the answer may cite."""
    extra_body: Mapping[str, Any] | None
    """Fields that are added to the JSON of the request as they are."""
    on_interrupt: OnInterrupt
    """What follows when the stream breaks after something was delivered. Missing: "raise"."""
    first_token_timeout: float | None
    """Seconds to the first content of each attempt. None: the worker's; with `reasoning` 120 at least, and while the
    server sends pings or lifecycle events up to the configuration's `content_timeout`."""
    idle_timeout: float | None
    """Seconds between two events. None: the configuration's."""
    hedge_after: float | None
    """Seconds without content after which a second worker is asked as well. None: never."""
    max_attempts: int | None
    """Requests at most that reach a provider. None: the configuration's."""
    max_wait: float | None
    """Seconds to wait in all while no worker may be asked. None: the configuration's."""
    tags: Mapping[str, str] | None
    """Names and values for observers, such as `{"user": "42"}`: they are in the call's events, and are not sent."""


@attrs.frozen(kw_only=True)
class CallLimits:
    """How long one call waits and how often it asks: options of `ChatOptions`. None: as configured."""

    first_token_timeout: float | None = None
    idle_timeout: float | None = None
    hedge_after: float | None = None
    max_attempts: int | None = None
    max_wait: float | None = None


@attrs.frozen
class Chat:
    """One chat as the caller asked for it."""

    request: ChatRequest
    criteria: Criteria
    limits: CallLimits
    on_interrupt: OnInterrupt
    options: ChatOptions
    """What the caller has set, as it is."""
    job: AnswerJob
    """What is asked of each worker."""
    tags: Mapping[str, str]


STORED = ("previous_response_id", "conversation")
"""Fields of a request by which OpenAI's Responses API adds messages that it has kept."""


def chat_from(messages: Messages, **options: Unpack[ChatOptions]) -> Chat:
    """Check what a caller asks for.

    Args:
        messages: the conversation so far.
        options: those of `ChatOptions`.

    Raises:
        InvalidRequest: a value is not allowed.
        TypeError: there is no such option.
    """
    if unknown := options.keys() - ChatOptions.__annotations__.keys():
        raise TypeError(
            f"there is no option {sorted(unknown)[0]!r}; there are: {', '.join(ChatOptions.__annotations__)}"
        )
    tools = tools_from(options.get("tools"))
    require_different_names(tools or ())
    checked_messages = messages_from(messages)
    request = ChatRequest(
        messages=checked_messages,
        max_tokens=positive("max_tokens", options.get("max_tokens"), whole=True),
        temperature=_number("temperature", options.get("temperature")),
        top_p=_number("top_p", options.get("top_p")),
        stop=_strings("stop", options.get("stop")),
        tools=tools,
        tool_choice=_tool_choice(options.get("tool_choice"), tools),
        response_schema=_mapping("response_schema", options.get("response_schema")),
        reasoning=_reasoning(options.get("reasoning")),
        documents=_documents(options.get("documents")),
        extra_body=_mapping("extra_body", options.get("extra_body")),
    )
    extra = request.extra_body or {}
    require_paired_calls(checked_messages, is_continued=any(name in extra for name in STORED))
    return _chat(request, ChatJob(request), options)


FORWARD_OPTIONS = {
    "model",
    "provider",
    "worker",
    "on_interrupt",
    "first_token_timeout",
    "idle_timeout",
    "hedge_after",
    "max_attempts",
    "max_wait",
    "tags",
}
"""Options that say how a request is handled, and not what it asks for."""


def forward_from(forward: ForwardRequest, **options: Unpack[ChatOptions]) -> Chat:
    """Check how the request of a client is to be handled.

    Args:
        forward: the request.
        options: those of `ChatOptions` that are not sent to a worker.

    Raises:
        InvalidRequest: a value is not allowed.
        TypeError: there is no such option.
    """
    if unknown := options.keys() - FORWARD_OPTIONS:
        raise TypeError(f"{sorted(unknown)[0]!r} is no option of a request that is forwarded")
    return _chat(forward.request, ForwardJob(forward), options)


def _chat(request: ChatRequest, job: AnswerJob, options: ChatOptions) -> Chat:
    limits = CallLimits(
        first_token_timeout=positive("first_token_timeout", options.get("first_token_timeout")),
        idle_timeout=positive("idle_timeout", options.get("idle_timeout")),
        hedge_after=positive("hedge_after", options.get("hedge_after")),
        max_attempts=_max_attempts(options.get("max_attempts")),
        max_wait=_number("max_wait", options.get("max_wait")),
    )
    criteria = Criteria(
        model=named("model", options.get("model")),
        provider=named("provider", options.get("provider")),
        worker=named("worker", options.get("worker")),
        request=request,
    )
    how = _on_interrupt(options.get("on_interrupt", "raise"))
    return Chat(request, criteria, limits, how, options, job, tags_from(options.get("tags")))


def with_alias(criteria: Criteria, config: Config) -> Criteria:
    """Return the criteria with what their `model` stands for, if it is an alias.

    For embeddings only the workers with the model of the first one remain: vectors of different models cannot be
    compared.
    """
    if criteria.model is None or criteria.model not in config.aliases:
        return criteria
    routes = routes_of(config.aliases[criteria.model], config.workers)
    if criteria.embed:
        routes = tuple(route for route in routes if route[1] == routes[0][1])
    return attrs.evolve(criteria, routes=routes)


def tags_from(value: Any) -> Mapping[str, str]:
    """Return a copy of the option `tags`, empty for None. Raises InvalidRequest."""
    if value is None:
        return {}
    if isinstance(value, Mapping) and all(isinstance(text, str) for item in value.items() for text in item):
        return dict(value)
    raise InvalidRequest(f"tags: a mapping of str to str or None is allowed, not {type(value).__name__}")


CHOICES = ("model", "provider", "worker", "tags")
"""Options that events have as fields of their own."""


def described(options: ChatOptions) -> Mapping[str, OptionValue]:
    """Return the options that are set, for events: numbers, names and stop sequences; sizes of all others."""
    return {
        name: _described(name, value)
        for name, value in options.items()
        if value is not None and name not in CHOICES
    }


def _described(name: str, value: Any) -> OptionValue:
    if name == "stop":
        return (value,) if isinstance(value, str) else tuple(value)
    return value if isinstance(value, str | int | float) else len(value)


def positive(name: str, value: Any, *, whole: bool = False) -> Any:
    """Return `value` if it is None or a finite number above 0. Raises InvalidRequest."""
    kind = int if whole else int | float
    number = isinstance(value, kind) and not isinstance(value, bool)
    if value is None or (number and math.isfinite(value) and value > 0):
        return value
    wanted = "a positive whole number" if whole else "a positive number of seconds"
    raise InvalidRequest(f"{name}: {wanted} or None is allowed, not {value!r:.40}")


def _max_attempts(value: Any) -> Any:
    if positive("max_attempts", value, whole=True) is not None and value > MOST_ATTEMPTS:
        raise InvalidRequest(f"max_attempts: at most {MOST_ATTEMPTS} are allowed, not {value!r:.40}")
    return value


def named(name: str, value: Any) -> Any:
    """Return `value` if it is None or may be a name. Raises InvalidRequest."""
    if value is None or (isinstance(value, str) and value):
        return value
    raise InvalidRequest(f"{name}: a non-empty str or None is allowed, not {value!r:.40}")


def texts_from(texts: str | Sequence[str]) -> tuple[str, ...]:
    """Return the texts to embed as a tuple of non-empty strings. Raises InvalidRequest."""
    strings = _strings("texts", texts)
    if not strings or not all(strings):
        raise InvalidRequest("texts: a non-empty str, or a sequence of them, is needed")
    return strings


def _number(name: str, value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is None or (number and math.isfinite(value) and value >= 0):
        return value
    raise InvalidRequest(f"{name}: a number from 0 or None is allowed, not {value!r:.40}")


def _strings(name: str, value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    items = (value,) if isinstance(value, str) else value
    if isinstance(items, Sequence) and all(isinstance(item, str) for item in items):
        return tuple(items)
    raise InvalidRequest(f"{name}: a str or a sequence of str is allowed, not {value!r:.40}")


def _mapping(name: str, value: Any) -> Any:
    if value is None or isinstance(value, Mapping):
        return value
    raise InvalidRequest(f"{name}: a mapping or None is allowed, not {type(value).__name__}")


def _tool_choice(choice: Any, tools: tuple[Tool, ...] | None) -> Any:
    names = [tool.name for tool in tools or ()]
    if choice is None or choice in ("auto", "none", "required", *names):
        return choice
    listed = ", ".join(repr(name) for name in ("auto", "none", "required", *names))
    raise InvalidRequest(f"tool_choice: one of {listed} is allowed, not {choice!r:.40}")


def _reasoning(value: Any) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if value is None or whole or (isinstance(value, str) and value):
        return value
    raise InvalidRequest(
        f'reasoning: an effort like "low", "medium" or "high", or a number of tokens, not {value!r:.40}'
    )


def _documents(value: Any) -> tuple[Document, ...] | None:
    if value is None:
        return None
    if isinstance(value, Sequence) and all(isinstance(item, Document) for item in value):
        return tuple(checked(item, f"documents[{index}]") for index, item in enumerate(value))
    raise InvalidRequest("documents: a sequence of Document is allowed")


def _on_interrupt(how: Any) -> OnInterrupt:
    if how not in get_args(OnInterrupt):
        allowed = ", ".join(repr(option) for option in get_args(OnInterrupt))
        raise InvalidRequest(f"on_interrupt: one of {allowed} is allowed, not {how!r:.40}")
    allowed_how: OnInterrupt = how
    return allowed_how
