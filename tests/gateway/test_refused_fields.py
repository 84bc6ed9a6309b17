"""Servers that refuse a field which the dialect adds: the request is repeated without it, and later ones never have it.

The error texts are those of Mistral, Azure, Fireworks, vLLM and the servers that check with pydantic.
"""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio
from at_rest import gateway

from cortex_trio import Config, CortexError, FailureKind, ProviderError
from cortex_trio.failures import classify
from cortex_trio.simulator import Behaviour, SimRequest, Simulator, open_simulator

Answer = Callable[[SimRequest], Behaviour]


def pydantic(*place: str) -> Any:
    return [
        {"type": "extra_forbidden", "loc": list(place), "msg": "Extra inputs are not permitted", "input": 1}
    ]


def openai(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}


def refusals(field: str, *inner: str) -> dict[str, tuple[int, Any]]:
    """How servers refuse a field that they do not know: status and body."""
    return {
        "azure": (400, openai(f"Unrecognized request argument supplied: {field}")),
        "azure foundry": (400, openai(f"Validation error at #/{field}: Extra inputs are not permitted")),
        "fireworks": (400, openai(f"Extra inputs are not permitted, field: '{field}'")),
        "mistral": (422, {"object": "error", "message": {"detail": pydantic("body", field, *inner)}}),
        "fastapi": (422, {"detail": pydantic("body", field)}),
        "vllm": (400, {"object": "error", "message": str(pydantic("body", field)), "code": 400}),
        "openai": (400, openai(f"Unknown parameter: '{field}'.")),
    }


USAGE = refusals("stream_options", "include_usage")
NAMES = list(USAGE)


def without(field: str, refusal: tuple[int, Any]) -> Answer:
    """A server that refuses a field."""

    def answer(request: SimRequest) -> Behaviour:
        if field in request.body:
            return Behaviour(status=refusal[0], error_body=json.dumps(refusal[1]))
        return Behaviour(text="fine")

    return answer


def bodies(sim: Simulator) -> list[dict[str, Any]]:
    return [dict(request.body) for request in sim["openai_compatible"].requests]


@pytest.mark.parametrize("name", NAMES)
async def test_usage_is_not_asked_for_again(autojump_clock: object, name: str) -> None:
    async with open_simulator() as sim:
        sim.add("openai_compatible", without("stream_options", USAGE[name]))
        async with gateway(sim) as cortex:
            first, second = await cortex.complete("Hi"), await cortex.complete("Hi")
        assert [first.text, second.text] == ["fine", "fine"]
        assert ["stream_options" in body for body in bodies(sim)] == [True, False, False]
        refused, answered = first.attempts
        assert refused.failure is not None
        assert refused.failure.kind is FailureKind.BAD_REQUEST
        assert answered.failure is None
        assert len(second.attempts) == 1


async def test_calls_at_the_same_time_are_all_answered(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai_compatible", without("stream_options", USAGE["mistral"]))
        async with gateway(sim) as cortex, trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(cortex.complete, "Hi")
        assert len(bodies(sim)) == 16


@pytest.mark.parametrize("name", NAMES)
async def test_the_older_field_for_the_longest_answer(autojump_clock: object, name: str) -> None:
    async with open_simulator() as sim:
        sim.add("openai", without("max_completion_tokens", refusals("max_completion_tokens")[name]))
        async with gateway(sim) as cortex:
            for _ in range(2):
                assert (await cortex.complete("Hi", max_tokens=7)).text == "fine"
        limits = [
            (request.body.get("max_completion_tokens"), request.body.get("max_tokens"))
            for request in sim["openai"].requests
        ]
        assert limits == [(7, None), (None, 7), (None, 7)]


async def test_the_newer_field_for_the_longest_answer(autojump_clock: object) -> None:
    """As OpenAI's reasoning models demand it, also behind a compatible server."""
    text = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    async with open_simulator() as sim:
        sim.add("openai_compatible", without("max_tokens", (400, openai(text))))
        async with gateway(sim) as cortex:
            for _ in range(2):
                assert (await cortex.complete("Hi", max_tokens=7)).text == "fine"
        assert [body.get("max_completion_tokens") for body in bodies(sim)] == [None, 7, 7]


ENCRYPTED = [
    (400, openai("Encrypted content is not supported with this model.")),
    (400, {"error": {"message": "not here", "code": "include_not_supported"}}),
    (422, {"detail": pydantic("body", "include")}),
]


@pytest.mark.parametrize("refusal", ENCRYPTED, ids=["openai", "a code", "pydantic"])
async def test_encrypted_reasoning_is_not_asked_of_a_model_that_has_none(
    autojump_clock: object, refusal: tuple[int, Any]
) -> None:
    """And of other models it is."""

    def answer(request: SimRequest) -> Behaviour:
        if request.body["model"] == "plain" and "include" in request.body:
            return Behaviour(status=refusal[0], error_body=json.dumps(refusal[1]))
        return Behaviour(text="fine")

    async with open_simulator() as sim:
        sim.add("openai_responses", answer, models=["plain", "reasons"])
        async with gateway(sim) as cortex:
            for model in ("plain", "reasons", "plain"):
                assert (await cortex.complete("Hi", model=model)).text == "fine"
        asked = [
            (request.body["model"], "include" in request.body) for request in sim["openai_responses"].requests
        ]
        assert asked == [("plain", True), ("plain", False), ("reasons", True), ("plain", False)]


async def test_summaries_of_thoughts_are_not_asked_of_an_older_server(autojump_clock: object) -> None:
    text = "thinking.adaptive.display: Extra inputs are not permitted"
    error = json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": text}})

    def answer(request: SimRequest) -> Behaviour:
        if "display" in request.body.get("thinking", {}):
            return Behaviour(status=400, error_body=error)
        return Behaviour(text="fine")

    async with open_simulator() as sim:
        sim.add("anthropic", answer)
        async with gateway(sim) as cortex:
            for _ in range(2):
                assert (await cortex.complete("Hi", reasoning="low")).text == "fine"
        shown = [request.body["thinking"] for request in sim["anthropic"].requests]
        assert [thinking.get("display") for thinking in shown] == ["summarized", None, None]
        assert {thinking["type"] for thinking in shown} == {"adaptive"}


VALUES = [
    "max_tokens is too large: 999999. This model supports at most 4096 completion tokens.",
    "'max_tokens' must be greater than 0",
    "Unsupported value: 'temperature' does not support 0.2 with this model.",
    "messages: at least one message is required",
    "max_tokens value 100000 is not allowed for this model",
    "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
    "Unrecognized request argument supplied: include_usage",
]


@pytest.mark.parametrize("text", VALUES)
async def test_an_error_about_the_request_is_not_repeated(autojump_clock: object, text: str) -> None:
    async with open_simulator() as sim:
        sim.add("openai_compatible", Behaviour(status=400, error_body=json.dumps(openai(text))))
        async with gateway(sim) as cortex:
            with pytest.raises(ProviderError) as caught:
                await cortex.complete("Hi", max_tokens=7)
        assert caught.value.failure.kind is FailureKind.BAD_REQUEST
        assert len(bodies(sim)) == 1


async def test_a_server_that_goes_on_refusing_is_asked_once_for_each_field(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai_compatible", Behaviour(status=400, error_body=json.dumps(USAGE["azure"][1])))
        async with gateway(sim) as cortex:
            with pytest.raises(ProviderError):
                await cortex.complete("Hi")
        assert len(bodies(sim)) == 2


async def test_both_fields_are_refused_one_after_the_other(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        steps = [USAGE["openai"], refusals("max_completion_tokens")["openai"]]

        def answer(request: SimRequest) -> Behaviour:
            for field, (status, error) in zip(
                ("stream_options", "max_completion_tokens"), steps, strict=True
            ):
                if field in request.body:
                    return Behaviour(status=status, error_body=json.dumps(error))
            return Behaviour(text="fine")

        sim.add("openai", answer)
        async with gateway(sim) as cortex:
            reply = await cortex.complete("Hi", max_tokens=7)
        assert (reply.text, len(reply.attempts)) == ("fine", 3)


async def test_the_repetition_comes_at_once(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai_compatible", without("stream_options", USAGE["openai"]))
        async with gateway(sim) as cortex:
            begin = trio.current_time()
            assert (await cortex.complete("Hi", worker="openai_compatible")).text == "fine"
            assert trio.current_time() - begin < 0.01


async def test_the_fields_of_a_caller_are_the_callers(autojump_clock: object) -> None:
    """What the caller has set himself is not left out, and changes nothing for other calls."""
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(status=400, error_body=json.dumps(USAGE["openai"][1])))
        async with gateway(sim) as cortex:
            with pytest.raises(ProviderError):
                await cortex.complete("Hi", extra_body={"stream_options": {"include_obfuscation": False}})
            sim["openai"].behave(Behaviour(text="fine"))
            await cortex.complete("Hi")
        assert sim["openai"].requests[-1].body["stream_options"] == {"include_usage": True}


async def test_a_reload_forgets_it(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai_compatible", without("stream_options", USAGE["azure"]))
        async with gateway(sim) as cortex:
            await cortex.complete("Hi")
            provider.behave(Behaviour(text="newer"))
            await cortex.reload(Config(workers={provider.name: provider.worker(timeout=7)}))
            assert (await cortex.complete("Hi")).text == "newer"
        assert "stream_options" in bodies(sim)[-1]


@pytest.mark.parametrize("name", ["mistral", "fastapi"])
def test_a_message_names_the_place_that_pydantic_names(name: str) -> None:
    status, body = USAGE[name]
    message = classify(status, {}, json.dumps(body).encode()).message
    assert message.endswith(": Extra inputs are not permitted")
    assert message.startswith("stream_options")


async def test_models_of_one_worker_may_know_different_fields(autojump_clock: object) -> None:
    """What one model does not know is remembered for that model only."""

    def answer(request: SimRequest) -> Behaviour:
        field = "max_tokens" if request.body["model"] == "new" else "max_completion_tokens"
        status, error = refusals(field)["openai"]
        return (
            Behaviour(status=status, error_body=json.dumps(error)) if field in request.body else Behaviour()
        )

    async with open_simulator() as sim:
        provider = sim.add("openai_compatible", answer, models=["old", "new"])
        async with gateway(sim) as cortex:
            for model in ("old", "new") * 4:
                await cortex.complete("Hi", model=model, max_tokens=7)
            assert len(provider.requests) == 9
            async with trio.open_nursery() as nursery:
                for model in ("old", "new") * 4:
                    nursery.start_soon(
                        partial(cortex.complete, "Hi", model=model, max_tokens=7, max_attempts=1)
                    )


async def test_calls_for_several_models_at_the_same_time(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        models = [f"model-{number}" for number in range(6)]
        sim.add("openai_responses", without("include", ENCRYPTED[0]), models=models)
        async with gateway(sim) as cortex, trio.open_nursery() as nursery:
            for model in models:
                nursery.start_soon(partial(cortex.complete, "Hi", model=model))


NESTED = [
    "Unknown parameter: 'messages[0].stream_options'.",
    "metadata.stream_options: Extra inputs are not permitted",
    "Extra inputs are not permitted, field: 'foo', value: 'see stream_options'",
]


@pytest.mark.parametrize("text", NESTED)
async def test_an_error_about_another_part_changes_nothing_for_other_calls(
    autojump_clock: object, text: str
) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai", Behaviour(status=400, error_body=json.dumps(openai(text))))
        async with gateway(sim) as cortex:
            with pytest.raises(ProviderError):
                await cortex.complete("Hi")
            provider.behave(Behaviour(text="fine"))
            await cortex.complete("Hi")
        assert "stream_options" in provider.requests[-1].body


async def test_a_repetition_that_must_wait_is_made_after_that(autojump_clock: object) -> None:
    """Another call is limited while the refusal is on its way."""
    async with open_simulator() as sim:

        def answer(request: SimRequest) -> Behaviour:
            if "limited" in str(request.body["messages"]):
                return Behaviour(status=429, retry_after=5)
            if "stream_options" in request.body:
                return Behaviour(status=400, error_body=json.dumps(USAGE["openai"][1]), first_token_after=1)
            return Behaviour(text="fine")

        sim.add("openai", answer)
        async with gateway(sim) as cortex, trio.open_nursery() as nursery:

            async def limited() -> None:
                await trio.sleep(0.5)
                with pytest.raises(CortexError):
                    await cortex.complete("limited", max_attempts=1, max_wait=0)

            nursery.start_soon(limited)
            assert (await cortex.complete("Hi")).text == "fine"


@pytest.mark.parametrize(
    ("loc", "kind"),
    [
        (["body", "ChatCompletionRequest", "model"], FailureKind.MODEL_NOT_FOUND),
        (["body", "tools", 0, "properties", "keyword", "description"], FailureKind.BAD_REQUEST),
    ],
)
def test_a_path_is_about_its_last_part(loc: list[str | int], kind: FailureKind) -> None:
    body = {"detail": [{"loc": loc, "msg": "the model gpt-9 does not exist"}]}
    assert classify(422, {}, json.dumps(body).encode()).kind is kind


async def test_a_hedge_that_fails_meanwhile_does_not_lose_the_repetition(autojump_clock: object) -> None:
    def answer(request: SimRequest) -> Behaviour:
        if "stream_options" in request.body:
            return Behaviour(status=400, error_body=json.dumps(USAGE["openai"][1]), first_token_after=2)
        return Behaviour(text="fine")

    async with open_simulator() as sim:
        sim.add("openai", answer)
        sim.add("anthropic", Behaviour(error=FailureKind.CREDENTIAL, first_token_after=2))
        async with gateway(sim) as cortex:
            reply = await cortex.complete("Hi", hedge_after=1)
        assert (reply.text, reply.worker) == ("fine", "openai")
        assert len(sim["anthropic"].requests) == 1
