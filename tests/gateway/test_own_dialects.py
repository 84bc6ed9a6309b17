"""A dialect may be a user's own, and have a bug anywhere: it fails that attempt and nothing else."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import httpx
import pytest
import trio
import trio.testing
from at_rest import gateway, leftovers, worker_of

from cortex_trio import (
    AllWorkersFailed,
    Config,
    Cortex,
    FailureKind,
    ProviderError,
    StreamInterrupted,
    TextDelta,
    WorkerConfig,
    open_cortex,
)
from cortex_trio.messages import ChatRequest
from cortex_trio.providers import PROVIDERS, Provider
from cortex_trio.simulator import Behaviour, SimulatedProvider, open_simulator
from cortex_trio.wire.codec import Decoder, HttpRequest

SOUND = PROVIDERS["openai"].dialect
GOOD = Behaviour(text="An answer.")


class Evil:
    """OpenAI's dialect, but for `hook`, which does `what` instead."""

    def __init__(self, hook: str, what: Any) -> None:
        self.hook, self.what = hook, what

    def _at(self, hook: str, sound: Any, *args: Any) -> Any:
        return self.what() if hook == self.hook else sound(*args)

    @property
    def name(self) -> str:
        return str(self._at("name", lambda: "evil"))

    def encode(self, request: ChatRequest, provider: str, model: str) -> HttpRequest:
        return self._at("encode", SOUND.encode, request, provider, model)

    def decoder(self) -> Decoder:
        return self._at("decoder", lambda: EvilDecoder(self, SOUND.decoder()))

    def decode_reply(self, body: bytes) -> list[Any]:
        return self._at("decode_reply", SOUND.decode_reply, body)

    def encode_embed(
        self, texts: Sequence[str], provider: str, model: str, dimensions: int | None
    ) -> HttpRequest:
        return self._at("encode_embed", SOUND.encode_embed, texts, provider, model, dimensions)

    def decode_embed(self, body: bytes) -> Sequence[Sequence[float]]:
        return self._at("decode_embed", SOUND.decode_embed, body)

    def decode_models(self, body: bytes) -> Sequence[str]:
        return self._at("decode_models", SOUND.decode_models, body)


class EvilDecoder:
    def __init__(self, evil: Evil, sound: Decoder) -> None:
        self._evil, self._sound = evil, sound

    @property
    def done(self) -> bool:
        return self._sound.done

    def feed(self, data: bytes) -> Any:
        return self._evil._at("feed", self._sound.feed, data)

    def finish(self) -> Any:
        return self._evil._at("finish", self._sound.finish)


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


def raising(kind: type[BaseException], *args: Any) -> Any:
    def throw() -> Any:
        raise kind(*args)

    return throw


EVILS = {
    "raises": raising(KeyError, "oops"),
    "raises StopIteration": raising(StopIteration),
    "raises a group": raising(ExceptionGroup, "two", [ValueError("one"), KeyError("two")]),
    "raises what cannot be printed": raising(Unprintable),
    "runs out of stack": raising(RecursionError, "maximum recursion depth exceeded"),
    "runs out of memory": raising(MemoryError),
    "returns nothing": lambda: None,
    "returns a number": lambda: 7,
}
HOOKS = ("encode", "decoder", "feed", "finish", "decode_reply")
TRUNCATED = Behaviour(body=b'data: {"choices": []}\n\n', content_type="text/event-stream")
WHOLE = Behaviour(body=b'{"choices": []}', content_type="application/json")
REACHES = {"finish": TRUNCATED, "decode_reply": WHOLE}


def evil(hook: str, what: Any, **changes: Any) -> Provider:
    changes = {"name": "evil_inc", "embed_model": "text-embedding-3-small", **changes}
    return attrs.evolve(PROVIDERS["openai"], dialect=Evil(hook, what), **changes)


def mine_of(provider: SimulatedProvider, kind: Provider) -> WorkerConfig:
    return attrs.evolve(worker_of(provider, priority=1), provider=kind)


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


async def nothing_else_broke(cortex: Cortex) -> None:
    """No actor died of it, and nothing is held."""
    await trio.testing.wait_all_tasks_blocked()
    assert not leftovers(cortex)
    assert [info.restarts for info in await cortex.list_workers()] == [0] * len(await cortex.list_workers())
    assert "restart" not in cortex.tree()


@pytest.mark.parametrize("what", EVILS)
@pytest.mark.parametrize("hook", HOOKS)
async def test_a_bug_costs_one_attempt_and_the_next_worker_answers(
    hook: str, what: str, autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai", REACHES.get(hook, GOOD))
        sim.add("anthropic", GOOD)
        workers = {
            "mine": mine_of(provider, evil(hook, EVILS[what])),
            "anthropic": worker_of(sim["anthropic"], priority=2),
        }
        async with gateway(sim, workers) as cortex:
            for _ in range(3):
                assert (await cortex.complete("Hi")).text == "An answer."
            with pytest.raises(ProviderError) as caught:
                await cortex.complete("Hi", worker="mine")
            await nothing_else_broke(cortex)
        failure = caught.value.failure
        assert failure.kind is FailureKind.CRASHED
        assert f"a bug in the dialect of evil_inc: {hook} " in failure.message
        assert isinstance(caught.value.__cause__, Exception)
        [logged] = complaints(caplog)
        assert "Traceback" in logged
        assert f"evil_inc raised in {hook}" in logged


@pytest.mark.parametrize(("hook", "phase"), [("encode", "connect"), ("feed", "stream")])
async def test_a_bug_in_a_response_counts_as_an_attempt_also_without_a_key(
    hook: str, phase: str, autojump_clock: object
) -> None:
    """What fails before the response costs none of `max_attempts`; a worker without keys was taken for that."""
    provider = attrs.evolve(PROVIDERS["ollama"], name="evil_inc", dialect=Evil(hook, EVILS["raises"]))
    config = Config(workers={"mine": WorkerConfig(provider=provider, models=("m",))}, health_check_interval=0)
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=b"data: {}\n\n"))
    async with open_cortex(config, http_transport=lambda worker: transport) as cortex:
        with pytest.raises(ProviderError) as caught:
            await cortex.complete("Hi")
    assert (caught.value.failure.kind, caught.value.failure.phase) == (FailureKind.CRASHED, phase)


@pytest.mark.parametrize("what", EVILS)
@pytest.mark.parametrize("hook", ["encode_embed", "decode_embed"])
async def test_a_bug_about_embeddings_is_a_failure_too(
    hook: str, what: str, autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_simulator() as sim:
        workers = {"mine": mine_of(sim.add("openai"), evil(hook, EVILS[what]))}
        async with gateway(sim, workers) as cortex:
            with pytest.raises(ProviderError) as caught:
                await cortex.embed("Hi")
            await nothing_else_broke(cortex)
        assert f"a bug in the dialect of evil_inc: {hook} " in caught.value.failure.message
        assert len(complaints(caplog)) == 1


@pytest.mark.parametrize("what", EVILS)
async def test_a_bug_about_models_ends_neither_the_question_nor_the_health_checks(
    what: str, autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    mine = evil("decode_models", EVILS[what], health_lists_models=True)
    async with open_simulator() as sim:
        workers = {
            "mine": mine_of(sim.add("openai"), mine),
            "anthropic": worker_of(sim.add("anthropic")),
        }
        async with gateway(sim, workers, health_check_interval=30.0) as cortex:
            with pytest.raises(
                ProviderError, match="a bug in the dialect of evil_inc: decode_models "
            ) as caught:
                await cortex.models(worker="mine")
            assert caught.value.__cause__ is not None, "the author of the dialect sees where it raised"
            health = await cortex.check_health()
            assert health.workers["mine"].reason is FailureKind.CRASHED
            assert health.workers["anthropic"].status == "available"
            await trio.sleep(100)
            await nothing_else_broke(cortex)
            assert len(sim["anthropic"].requests) >= 3, "the rounds went on"
        assert len(complaints(caplog)) == 1


@pytest.mark.parametrize("what", EVILS)
async def test_a_bug_after_the_first_word_interrupts_the_answer(what: str, autojump_clock: object) -> None:
    class Late(Evil):
        pieces = 0

        def _at(self, hook: str, sound: Any, *args: Any) -> Any:
            events = sound(*args)
            if hook == "feed":
                self.pieces += sum(isinstance(event, TextDelta) for event in events)
                if self.pieces > 2:
                    return self.what()
            return events

    mine = attrs.evolve(PROVIDERS["openai"], name="evil_inc", dialect=Late("feed", EVILS[what]))
    async with open_simulator() as sim:
        workers = {
            "mine": mine_of(
                sim.add("openai", Behaviour(text="one two three four", tokens_per_second=1)), mine
            )
        }
        async with gateway(sim, workers) as cortex:
            with pytest.raises(StreamInterrupted) as caught:
                async with cortex.chat("Hi") as answer:
                    await answer.collect()
            await nothing_else_broke(cortex)
        assert caught.value.failure.kind is FailureKind.CRASHED
        assert caught.value.partial.text == "one two"


async def test_explain_names_a_bug_and_still_lists_the_other_workers(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        workers = {
            "mine": mine_of(sim.add("openai"), evil("encode", EVILS["raises"])),
            "anthropic": worker_of(sim.add("anthropic")),
        }
        async with gateway(sim, workers) as cortex:
            explanation = cortex.explain("Hi")
        assert "mine cannot be asked: a bug in the dialect of evil_inc: encode raised KeyError" in explanation
        assert "1. anthropic" in explanation


class Untamed(BaseException):
    """It is no Exception, so it passes through."""


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, Untamed])
@pytest.mark.parametrize("hook", HOOKS)
async def test_what_is_no_exception_goes_through_and_leaves_nothing(
    hook: str, error: type[BaseException], autojump_clock: object
) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai", REACHES.get(hook, GOOD))
        workers = {"mine": mine_of(provider, evil(hook, raising(error)))}
        async with gateway(sim, workers) as cortex:
            with pytest.raises(error):
                await cortex.complete("Hi")
            await nothing_else_broke(cortex)


@pytest.mark.parametrize("hook", HOOKS)
async def test_a_cancellation_is_no_bug(hook: str, autojump_clock: object) -> None:
    scope = trio.CancelScope()

    def cancel() -> Any:
        scope.cancel()
        raise KeyError("oops")

    async with open_simulator() as sim:
        sim.add("openai", REACHES.get(hook, GOOD))
        other = sim.add("anthropic", GOOD)
        workers = {
            "mine": mine_of(sim["openai"], evil(hook, cancel)),
            "anthropic": worker_of(other, priority=2),
        }
        async with gateway(sim, workers) as cortex:
            with scope:
                await cortex.complete("Hi")
            assert scope.cancelled_caught
            await nothing_else_broke(cortex)
        assert not other.requests


def keys_of(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield f"{error!r} {error.args!r}"
        error = error.__cause__ or error.__context__


async def test_a_bug_that_repeats_what_came_shows_no_key(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    """What a provider sends may hold the key, and the message and the frames of an error may hold what it sent."""
    seen: list[bytes] = []

    class Loud(Evil):
        def _at(self, hook: str, sound: Any, *args: Any) -> Any:
            if hook != "feed":
                return sound(*args)
            seen.extend(args)
            raise KeyError(args[0])

    mine = attrs.evolve(PROVIDERS["openai"], name="evil_inc", dialect=Loud("feed", None))
    async with open_simulator() as sim:
        provider = sim.add("openai")
        [key] = provider.api_keys = ("of-no-known-shape-0123456789-abcdefghijkl",)
        said = f"data: {key}\n\n".encode()
        provider.behave(Behaviour(body=said, content_type="text/event-stream", one_block=True))
        workers = {"mine": mine_of(provider, mine)}
        async with gateway(sim, workers) as cortex:
            with pytest.raises(ProviderError) as caught:
                await cortex.complete("Hi")
        assert key.encode() in b"".join(seen)
        assert key not in "".join([*complaints(caplog), *keys_of(caught.value)])
        assert "KeyError" in caught.value.failure.message


async def test_a_failure_is_never_taken_for_an_answer(autojump_clock: object) -> None:
    """A dialect whose stream ends without an end, though every event of it is valid, is truncated like any other."""
    async with open_simulator() as sim:
        workers = {
            "mine": mine_of(sim.add("openai", TRUNCATED), evil("finish", list)),
        }
        async with gateway(sim, workers) as cortex:
            with trio.fail_after(60), pytest.raises(AllWorkersFailed) as caught:
                await cortex.complete("Hi")
        assert caught.value.primary.failure.kind is FailureKind.TRUNCATED
