"""OpenAI and xAI by the Responses API, as users of the gateway meet them: configured, failing over, thinking on."""

import attrs
import pytest
from at_rest import gateway

from cortex_trio import Config, ProviderError, WorkerConfig
from cortex_trio.failures import FailureKind
from cortex_trio.messages import Message, Opaque, Reasoning, Tool, ToolCall, ToolResult, user
from cortex_trio.providers import PROVIDERS
from cortex_trio.simulator import Behaviour, open_simulator
from cortex_trio.wire.responses.dialect import Responses

PAIRS = (("openai", "openai_responses"), ("xai", "xai_responses"))
NAMES = ("openai_responses", "xai_responses")
NOW = Tool("now", "The time", {})
CALLS = Behaviour(text="", reasoning="What time is it?", tool_calls=(ToolCall("c1", "now", "{}"),))


@pytest.mark.parametrize("name", NAMES)
def test_a_worker_of_it_is_configured_by_name(name: str) -> None:
    worker = WorkerConfig(provider=name, api_keys=("sk-0123456789",))
    assert worker.provider == name
    assert Config.from_mapping({name: {"api_keys": ["sk-0123456789"]}}).workers[name].provider == name


def test_one_key_in_the_environment_makes_one_worker() -> None:
    keys = {"OPENAI_API_KEY": "sk-0123456789", "XAI_API_KEY": "xai-0123456789", "OLLAMA_MODEL": "m"}
    assert not {*Config.from_env(keys).workers} & {*NAMES}
    own = {
        "OPENAI_RESPONSES_API_KEY": "sk-0123456789",
        "OPENAI_RESPONSES_MODEL": "gpt-5",
        "OLLAMA_MODEL": "m",
    }
    workers = Config.from_env(own).workers
    assert workers["openai_responses"].models == ("gpt-5",)
    assert "openai" not in workers


@pytest.mark.parametrize("name", NAMES)
async def test_reasoning_goes_back_to_the_api_it_came_from_and_to_no_other(
    autojump_clock: object, name: str
) -> None:
    async with open_simulator() as sim:
        for kind in PROVIDERS:
            sim.add(kind, CALLS, Behaviour(text="Noon."))
        async with gateway(sim) as cortex:
            history = [user("What time is it?")]
            first = await cortex.complete(history, worker=name, tools=[NOW])
            [thought] = [part for part in first.message.parts if isinstance(part, Reasoning)]
            history += [first.message, Message("tool", (ToolResult("c1", "12:00"),))]
            for kind in PROVIDERS:
                sim[kind].behave(Behaviour(text="Noon."))
                assert (await cortex.complete(history, worker=kind, tools=[NOW])).text == "Noon."
    assert (thought.origin or "").startswith(f"{name}/")
    for kind in PROVIDERS:
        told = str(sim[kind].requests[-1].body)
        assert (str(thought.encrypted) in told) == (kind == name)
        assert (str(thought.signature) in told) == (kind == name)


@pytest.mark.parametrize(("parent", "name"), PAIRS)
async def test_each_of_the_two_apis_stands_in_for_the_other(
    autojump_clock: object, parent: str, name: str
) -> None:
    for first, second in ((parent, name), (name, parent)):
        async with open_simulator() as sim:
            failing = sim.add(first, Behaviour(error=FailureKind.OVERLOADED))
            sim.add(second, Behaviour(text="Here."))
            workers = {kind: sim[kind].worker(priority=n) for n, kind in enumerate((first, second))}
            async with gateway(sim, workers) as cortex:
                reply = await cortex.complete("Hi")
        assert (reply.text, reply.worker) == ("Here.", second)
        assert failing.requests


IN_STREAM = (FailureKind.RATE_LIMIT, FailureKind.QUOTA, FailureKind.SERVER, FailureKind.CONTEXT_LENGTH)


@pytest.mark.parametrize("kind", IN_STREAM, ids=lambda kind: kind.value)
@pytest.mark.parametrize("name", NAMES)
async def test_an_error_that_is_the_first_event_under_200_is_read_as_its_kind(
    autojump_clock: object, name: str, kind: FailureKind
) -> None:
    async with open_simulator() as sim:
        sim.add(name, Behaviour(error=kind, error_after=0))
        async with gateway(sim, max_attempts=1) as cortex:
            with pytest.raises(ProviderError) as caught:
                await cortex.complete("Hi")
    assert caught.value.failure.kind is kind


async def test_a_worker_without_stop_sequences_is_skipped(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        silent = sim.add("openai_responses")
        sim.add("openai")
        workers = {
            kind: sim[kind].worker(priority=n) for n, kind in enumerate(("openai_responses", "openai"))
        }
        async with gateway(sim, workers) as cortex:
            reply = await cortex.complete("Hi", stop=["END"])
        assert (reply.worker, silent.requests) == ("openai", [])


async def test_a_summary_comes_where_the_provider_is_set_to_ask_for_it(autojump_clock: object) -> None:
    kind = PROVIDERS["openai_responses"]
    assert isinstance(kind.dialect, Responses)
    asking = attrs.evolve(kind, dialect=attrs.evolve(kind.dialect, summary="auto"))
    async with open_simulator() as sim:
        provider = sim.add("openai_responses", Behaviour(text="Four.", reasoning="First.\n\nSecond."))
        worker = attrs.evolve(provider.worker(), provider=asking)
        async with gateway(sim, {"openai_responses": worker}) as cortex:
            first = await cortex.complete("Two and two?")
            await cortex.complete([user("Two and two?"), first.message, user("Sure?")])
    assert first.reasoning == "First.\n\nSecond."
    [_, thought, *_] = provider.requests[-1].body["input"]
    assert [part["text"] for part in thought["summary"]] == ["First.", "Second."]


async def test_a_search_of_the_servers_own_goes_back_to_it_after_the_reasoning_that_led_to_it(
    autojump_clock: object,
) -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    body = (
        b'{"status":"completed","output":['
        b'{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAAAAB1"},'
        b'{"type":"web_search_call","id":"ws_1","status":"completed"},'
        b'{"type":"message","content":[{"type":"output_text","text":"Found."}]}]}'
    )
    async with open_simulator() as sim:
        provider = sim.add("openai_responses", Behaviour(body=body), Behaviour(text="Yes."))
        async with gateway(sim) as cortex:
            tools = {"tools": [{"type": "web_search"}]}
            first = await cortex.complete("Search", extra_body=tools)
            again = await cortex.complete([user("Search"), first.message, user("Sure?")], extra_body=tools)
    assert [type(part).__name__ for part in first.message.parts] == ["Reasoning", "Opaque", "Text"]
    assert isinstance(first.message.parts[1], Opaque)
    assert again.text == "Yes."
    assert provider.requests[-1].body["input"][2] == search
