"""Mistakes of users: each is one clear error that says where it is, what is wrong, and what is allowed."""

import inspect
import socket
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from at_rest import gateway, worker_of

from cortex_trio import (
    AllWorkersFailed,
    ChatOptions,
    ConfigError,
    Cortex,
    CortexError,
    FailureKind,
    Image,
    InvalidRequest,
    Message,
    NoWorkersAvailable,
    ProviderError,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    WorkerConfig,
    assistant,
    open_cortex,
    tool,
    user,
)
from cortex_trio.simulator import Behaviour, open_simulator

# ------------------------------------------------------------------ unknown names


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"worker": "opneai"}, "there is no worker 'opneai'; there are: openai, local"),
        ({"provider": "anthropic"}, "there is no provider 'anthropic'; there are: openai, ollama"),
        ({"model": "gpt-6.1"}, "there is no model 'gpt-6.1'; there are: gpt-6.1-terra, qwen3:4b"),
        ({"worker": "local", "provider": "openai"}, "local: is not of the provider 'openai'"),
        ({"model": "open"}, "there is no model 'open'"),
        ({"worker": "openai", "provider": "open"}, "there is no provider 'open'"),
    ],
)
async def test_an_error_about_an_unknown_name_lists_the_existing_ones(
    asked: dict[str, str], expected: str
) -> None:
    async with open_simulator() as sim:
        openai = sim.add("openai")
        local = sim.add("local", provider="ollama")
        async with gateway(sim) as cortex:
            for call in (cortex.complete("Hi", **asked), read(cortex, **asked)):
                with pytest.raises(NoWorkersAvailable) as caught:
                    await call
                assert expected in str(caught.value)
                assert caught.value.retry_after is None
        assert not openai.requests
        assert not local.requests


async def read(cortex: Cortex, **options: Any) -> None:
    async with cortex.chat("Hi", **options) as answer:
        await answer.collect()


async def test_an_option_that_does_not_exist_is_a_mistake_in_the_program() -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        async with gateway(sim) as cortex:
            misspelt: dict[str, Any] = {"temprature": 0.5}
            with pytest.raises(TypeError, match=r"no option 'temprature'; there are: model, .*max_attempts"):
                await cortex.complete("Hi", **misspelt)
            with pytest.raises(TypeError, match="no option 'temprature'"):
                cortex.explain("Hi", **misspelt)
            with pytest.raises(TypeError, match="temprature"):
                cortex.chat("Hi", **misspelt)


@pytest.mark.parametrize("method", [Cortex.chat, Cortex.complete, Cortex.explain])
def test_the_options_stand_in_one_list(method: Callable[..., object]) -> None:
    options = inspect.signature(method).parameters["options"]
    assert options.kind is options.VAR_KEYWORD
    assert options.annotation == f"Unpack[{ChatOptions.__name__}]"


async def test_a_model_the_provider_does_not_have_is_its_own_answer() -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(error=FailureKind.MODEL_NOT_FOUND))
        async with gateway(sim) as cortex:
            with pytest.raises(ProviderError) as refused:
                await cortex.complete("Hi", provider="openai", model="gpt-99")
            assert refused.value.failure.kind is FailureKind.MODEL_NOT_FOUND
            with pytest.raises(NoWorkersAvailable, match=r"model_not_found .model 'gpt-99'"):
                await cortex.complete("Hi", provider="openai", model="gpt-99")
            sim["openai"].behave(Behaviour(text="Still here."))
            assert (await cortex.complete("Hi")).text == "Still here."


@pytest.mark.parametrize("asked", [{"model": ["a"]}, {"provider": {}}, {"model": ""}, {"dimensions": 0}])
async def test_embeddings_are_not_asked_for_by_what_is_no_name(asked: dict[str, Any]) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        async with gateway(sim) as cortex:
            with pytest.raises(InvalidRequest, match=f"^{next(iter(asked))}: "):
                await cortex.embed("Hi", **asked)


@pytest.mark.parametrize("name", ["", 5, None, ["a"], {}])
async def test_a_worker_needs_a_name(name: Any) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        async with gateway(sim) as cortex:
            with pytest.raises(ConfigError, match="a worker's name is 1 to 100 printable characters"):
                await cortex.add_worker(name, {"provider": "openai"})


async def test_embeddings_that_no_worker_makes_are_refused_with_the_reason() -> None:
    async with open_simulator() as sim:
        sim.add("anthropic")
        async with gateway(sim) as cortex:
            with pytest.raises(NoWorkersAvailable, match=r"anthropic: has no .*embeddings"):
                await cortex.embed("Hi")
            with pytest.raises(InvalidRequest, match="texts"):
                await cortex.embed([])


# ------------------------------------------------------------------ no server at the address


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.mark.slow
async def test_an_address_without_a_listener_is_one_clear_error() -> None:
    address = f"http://127.0.0.1:{closed_port()}/v1"
    worker = {"api_keys": ["sk-test-0123456789"], "base_url": address}
    async with open_cortex({"openai": worker}) as cortex:
        with pytest.raises(AllWorkersFailed, match="could not connect") as refused:
            await cortex.complete("Hi")
        failure = refused.value.primary.failure
        assert (failure.kind, failure.phase) == (FailureKind.CONNECTION, "connect")
        assert {attempt.worker for attempt in refused.value.attempts} == {"openai"}
        with pytest.raises(ProviderError, match="could not connect"):
            await cortex.models(worker="openai")
        assert (await cortex.check_health()).system_health == "unhealthy"


@pytest.mark.slow
async def test_a_host_that_does_not_exist_is_no_different() -> None:
    worker = {"models": ["m"], "provider": "openai_compatible", "base_url": "http://no-such-host.invalid:1"}
    async with open_cortex({"nowhere": worker}) as cortex:
        with pytest.raises(AllWorkersFailed) as refused:
            await cortex.complete("Hi")
        assert refused.value.primary.failure.kind is FailureKind.CONNECTION


async def test_unreachable_workers_cost_time_but_no_attempts() -> None:
    """However many remotes are down: the local model still answers."""
    async with open_simulator() as sim:
        for number in range(6):
            sim.add(f"down-{number}", Behaviour(refuse=True), provider="openai")
        sim.add("local", Behaviour(text="Here."), provider="ollama")
        async with gateway(sim) as cortex:
            reply = await cortex.complete("Hi", max_attempts=1)
    assert (reply.worker, reply.text, len(reply.attempts)) == ("local", "Here.", 7)


# ------------------------------------------------------------------ messages and options


@pytest.mark.parametrize(
    ("messages", "path"),
    [
        ([], "messages"),
        (None, "messages"),
        (5, "messages"),
        ([5], r"messages\[0\]"),
        ([{"content": "Hi"}], r"messages\[0\].role"),
        ([{"role": "king", "content": "Hi"}], r"messages\[0\].role: one of system, user, assistant, tool"),
        ([{"role": "user", "content": 7}], r"messages\[0\]"),
        (["Hi"], r"messages\[0\]"),
        ([{"role": "user", "content": [{"type": "sound"}]}], r"messages\[0\].content\[0\]"),
        ([{"role": "user", "content": "Hi"}, {"role": "tool", "content": "x"}], r"messages\[1\]"),
    ],
)
async def test_messages_that_make_no_sense_are_refused_with_their_index(messages: Any, path: str) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai")
        async with gateway(sim) as cortex:
            with pytest.raises(InvalidRequest, match=path):
                cortex.chat(messages)
            with pytest.raises(InvalidRequest, match=path):
                cortex.explain(messages)
            with pytest.raises(InvalidRequest, match=path):
                await cortex.complete(messages)
        assert not provider.requests


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"first_token_timeout": -1}, "first_token_timeout"),
        ({"idle_timeout": 0}, "idle_timeout"),
        ({"hedge_after": "soon"}, "hedge_after"),
        ({"max_attempts": 1.5}, "max_attempts"),
        ({"max_attempts": 33}, "max_attempts: at most 32 are allowed, not 33"),
        ({"on_interrupt": "panic"}, "on_interrupt: one of 'raise', 'restart', 'continue', 'buffer'"),
        ({"tools": [{"description": "x"}]}, r"tools\[0\].name"),
        ({"tools": {"name": "x"}}, "tools: a sequence"),
        ({"tools": 5}, "tools"),
        ({"tool_choice": "hammer"}, "tool_choice"),
        ({"stop": [1]}, "stop"),
        ({"response_schema": "json"}, "response_schema"),
        ({"reasoning": -5}, "reasoning"),
        ({"documents": ["text"]}, "documents"),
        ({"extra_body": "x"}, "extra_body"),
        ({"model": ""}, "model"),
        ({"worker": 7}, "worker"),
    ],
)
async def test_an_option_that_makes_no_sense_is_refused_by_its_name(
    options: dict[str, Any], path: str
) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai")
        async with gateway(sim) as cortex:
            with pytest.raises(InvalidRequest, match=path) as refused:
                cortex.chat("Hi", **options)
            assert isinstance(refused.value, CortexError)
            assert isinstance(refused.value, ValueError)
        assert not provider.requests


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"extra_body": {"seed": object()}}, "seed: there is no JSON for it"),
        ({"extra_body": {"seed": float("nan")}}, "seed: there is no JSON for it"),
        ({"extra_body": {b"seed": 1}}, "extra_body: its keys must be str"),
        ({"tools": [Tool("f", "", {"x": b"y"})]}, "tools: there is no JSON for it"),
        ({"response_schema": {"x": {1, 2}}}, "there is no JSON for it"),
    ],
)
async def test_a_value_without_json_is_refused_before_anything_is_sent(
    options: dict[str, Any], expected: str
) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai")
        async with gateway(sim) as cortex:
            with pytest.raises(InvalidRequest, match=expected):
                await cortex.complete("Hi", **options)
        assert not provider.requests


def test_parts_that_make_no_sense_are_refused_where_they_are_made() -> None:
    with pytest.raises(InvalidRequest, match="exactly one of"):
        Image()
    with pytest.raises(InvalidRequest, match="media_type"):
        Image(data=b"x")
    assert assistant(Text("fine")).text == "fine"


async def test_a_request_that_a_dialect_cannot_express_goes_to_another_worker() -> None:
    picture = Image(url="https://example.com/cat.png")
    async with open_simulator() as sim:
        blind = sim.add("ollama")
        seeing = sim.add("openai", Behaviour(text="A cat."))
        async with gateway(sim) as cortex:
            assert (await cortex.complete(user("What is it?", picture))).text == "A cat."
            assert "ollama does not support an image by URL" in cortex.explain(user("What is it?", picture))
            with pytest.raises(InvalidRequest, match="ollama does not support an image by URL"):
                await cortex.complete(user("What is it?", picture), worker="ollama")
        assert not blind.requests
        assert len(seeing.requests) == 1


# ------------------------------------------------------------------ the pool


async def test_a_worker_that_cannot_be_added_says_why_and_leaves_no_trace() -> None:
    async with open_simulator() as sim:
        first = worker_of(sim.add("openai", Behaviour(text="First.")))
        async with gateway(sim, {"first": first}) as cortex:
            for name, mapping, expected in (
                ("first", first, r"\$\.first: the name is taken"),
                ("second", {"provider": "opnai", "api_keys": ["k"]}, r"\$\.second\.provider"),
                ("second", {"api_keys": ["sk-1234567890"]}, r"\$\.second"),
                ("openai", {"api_keys": []}, r"\$\.openai"),
                ("openai", {"api_keys": ["sk-12\n34"]}, r"\$\.openai\.api_keys\[0\]"),
                ("openai", {"api_keys": ["sk-1234567890"], "timeout": "soon"}, r"\$\.openai\.timeout"),
                ("openai", {"api_keys": ["sk-1234567890"], "priotity": 1}, r"\$\.openai\.priotity"),
                ("openai", "sk-1234567890", r"\$\.openai"),
            ):
                with pytest.raises(ConfigError, match=expected) as refused:
                    await cortex.add_worker(name, mapping)  # type: ignore[arg-type]
                assert "sk-12" not in str(refused.value)
            assert [info.name for info in await cortex.list_workers()] == ["first"]
            assert (await cortex.complete("Hi")).text == "First."


async def test_two_tasks_that_add_the_same_name_get_one_worker_and_one_error() -> None:
    async with open_simulator() as sim:
        worker = worker_of(sim.add("openai", Behaviour(text="Hi.")))
        other = worker_of(sim.add("anthropic", Behaviour(text="No.")))
        async with gateway(sim, {"other": other}) as cortex:
            refused: list[ConfigError] = []

            async def add() -> None:
                try:
                    await cortex.add_worker("twin", worker)
                except ConfigError as error:
                    refused.append(error)

            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(add)
            assert [error.path for error in refused] == ["$.twin"] * 2
            assert [info.name for info in await cortex.list_workers()] == ["other", "twin"]
            assert (await cortex.complete("Hi", worker="twin")).text == "Hi."


async def test_removing_an_unknown_worker_is_a_key_error() -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        async with gateway(sim) as cortex:
            with pytest.raises(KeyError, match="unknown"):
                await cortex.remove_worker("unknown")
            await cortex.remove_worker("openai")
            with pytest.raises(KeyError, match="openai"):
                await cortex.remove_worker("openai")
            with pytest.raises(NoWorkersAvailable, match="no worker available: there are none"):
                await cortex.complete("Hi")
            assert (await cortex.health_status()).system_health == "unhealthy"


async def test_a_removed_worker_ends_its_streams_first_and_takes_no_new_ones(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_simulator() as sim:
        slow = sim.add("openai", Behaviour(text="One two three four.", tokens_per_second=1))
        sim.add("anthropic", Behaviour(text="The other."))
        async with gateway(sim) as cortex:
            async with trio.open_nursery() as nursery, cortex.chat("Hi") as answer:
                nursery.start_soon(cortex.remove_worker, "openai")
                await trio.sleep(0.5)
                assert (await cortex.complete("Hi")).worker == "anthropic"
                assert (await answer.collect()).text == "One two three four."
            assert [info.name for info in await cortex.list_workers()] == ["anthropic"]
            assert len(slow.requests) == 1
            assert slow.open_connections == 0


async def test_a_stream_that_outlasts_the_drain_is_ended(autojump_clock: trio.testing.MockClock) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="One two three four.", stall_after=1))
        async with gateway(sim) as cortex:
            async with cortex.chat("Hi") as answer:
                assert await anext(answer)
                start = trio.current_time()
                await cortex.remove_worker("openai", drain=5)
                assert trio.current_time() - start == pytest.approx(5, abs=0.1)
                with pytest.raises(CortexError):
                    await answer.collect()


# ------------------------------------------------------------------ keys that are of no use


@pytest.mark.parametrize("kind", [FailureKind.CREDENTIAL, FailureKind.QUOTA, FailureKind.PERMISSION])
async def test_with_all_keys_refused_each_is_tried_once_and_then_no_request_is_sent(
    autojump_clock: trio.testing.MockClock, kind: FailureKind
) -> None:
    keys = [f"sk-key-number-{number}-abcdefgh" for number in range(3)]
    async with open_simulator() as sim:
        provider = sim.add("openai", Behaviour(error=kind))
        workers = {"openai": WorkerConfig(provider="openai", api_keys=keys, base_url=provider.url)}
        async with gateway(sim, workers) as cortex:
            with pytest.raises(AllWorkersFailed) as failed:
                await cortex.complete("Hi")
            assert failed.value.primary.failure.kind is kind
            assert sorted(request.key or "" for request in provider.requests) == keys
            with pytest.raises(NoWorkersAvailable, match=kind.value):
                await cortex.complete("Hi")
            assert len(provider.requests) == 3
            status = (await cortex.health_status()).workers["openai"]
            assert (status.status, status.reason) == ("quota_exceeded", kind)


async def test_one_good_key_among_bad_ones_is_enough_and_is_found_once() -> None:
    keys = [f"sk-key-number-{number}-abcdefgh" for number in range(3)]
    async with open_simulator() as sim:
        provider = sim.add("openai", Behaviour(text="In."))
        provider.valid_keys = {keys[2]}
        workers = {"openai": WorkerConfig(provider="openai", api_keys=keys, base_url=provider.url)}
        async with gateway(sim, workers) as cortex:
            assert (await cortex.complete("Hi")).text == "In."
            for _ in range(5):
                reply = await cortex.complete("Hi")
                assert (reply.text, len(reply.attempts)) == ("In.", 1)
    assert [request.key for request in provider.requests[2:]] == [keys[2]] * 6


# ------------------------------------------------------------------ histories

CALL = ToolCall("c", "search", "{}")
RESULT = ToolResult("c", "found")


@pytest.mark.parametrize(
    ("history", "problem"),
    [
        (
            [user("?"), assistant(CALL), user("And?")],
            r"messages\[1\]: the results of its tool calls are needed",
        ),
        ([user("?"), assistant(CALL)], r"messages\[1\]: the results of its tool calls are needed"),
        ([user("?"), assistant(CALL, attrs.evolve(CALL, id="d")), tool(RESULT)], r"after it: search \(d\)"),
        ([user("?"), assistant(CALL, CALL), tool(RESULT), user("And?")], r"messages\[1\]: the results"),
        ([user("?"), tool(RESULT)], r"messages\[1\]: there is no open tool call 'c'"),
        ([user("?"), assistant(CALL), tool(ToolResult("d", "found"))], r"no open tool call 'd'"),
        (
            [user("?"), assistant(CALL), tool(RESULT, RESULT)],
            r"messages\[2\]: there is no open tool call 'c'",
        ),
        ([user(RESULT)], r"messages\[0\]: there is no open tool call 'c'"),
    ],
)
async def test_calls_and_results_that_do_not_pair_are_refused_before_anything_is_sent(
    history: list[Message], problem: str
) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai")
        async with gateway(sim) as cortex:
            with pytest.raises(InvalidRequest, match=problem):
                await cortex.complete(history)
        assert not provider.requests


@pytest.mark.parametrize(
    "history",
    [
        [user("?"), assistant(CALL, CALL), tool(RESULT, RESULT)],
        [user("?"), assistant(CALL), tool(RESULT), assistant(CALL), tool(RESULT), user("And?")],
        [
            user("?"),
            assistant(CALL, attrs.evolve(CALL, id="d")),
            tool(attrs.evolve(RESULT, tool_call_id="d")),
            tool(RESULT),
        ],
        [user("?"), assistant("I search", ToolCall("c", "search", '{"q', complete=False)), user("Go on")],
    ],
)
async def test_calls_and_results_that_pair_are_sent(history: list[Message]) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        async with gateway(sim) as cortex:
            assert (await cortex.complete(history)).text


async def test_a_result_may_be_that_of_a_call_which_the_provider_keeps() -> None:
    async with open_simulator() as sim:
        sim.add("openai_responses")
        async with gateway(sim) as cortex:
            stored = {"store": True, "previous_response_id": "resp_1"}
            with pytest.raises(ProviderError):  # the simulator keeps none, and says so
                await cortex.complete([tool(RESULT)], extra_body=stored)
        assert len(sim["openai_responses"].requests) == 1
