"""The raw server itself, before it judges anything: it plays its script on every carrier."""

from contextlib import suppress

import pytest
import trio
from raw_bytes import TEXT, embedding_list, http, said
from raw_server import Do, World, open_world, play

from cortex_trio import CortexError

PROVIDERS = ("openai", "openai_responses", "anthropic", "gemini", "cohere", "groq", "xai", "ollama")


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_its_answers_are_understood_in_every_dialect(
    memory: World, provider: str, autojump_clock: object
) -> None:
    server = memory.server(provider)
    async with memory.gateway() as cortex:
        assert (await cortex.complete("Hi")).text == TEXT
        assert "m-1" in (await cortex.models(worker=server.name))[0]
    assert [request.method for request in server.requests] == ["POST", "GET"]


@pytest.mark.parametrize("carrier", ["sockets", "tls"])
async def test_it_serves_over_sockets_and_keeps_the_connection(carrier: str) -> None:
    async with open_world(carrier) as world:  # type: ignore[arg-type]
        server = world.server()
        async with world.gateway() as cortex:
            for _ in range(3):
                assert (await cortex.complete("Hi")).text == TEXT
        assert (server.connections, len(server.asked)) == (1, 3)


async def test_a_wait_in_a_script_takes_virtual_time(memory: World, autojump_clock: object) -> None:
    memory.server(chat=[play(7.0, said())])
    async with memory.gateway() as cortex:
        start = trio.current_time()
        await cortex.complete("Hi")
        assert 7 <= trio.current_time() - start < 7.1


async def test_embeddings_have_a_script_of_their_own(memory: World, autojump_clock: object) -> None:
    memory.server(embeds=[play(http(200, embedding_list(2, 3)))])
    async with memory.gateway() as cortex:
        assert [len(vector) for vector in await cortex.embed(["a", "b"], model="m-1")] == [3, 3]


@pytest.mark.parametrize("carrier", ["memory", "sockets"])
@pytest.mark.parametrize("step", [Do.RESET, Do.CLOSE])
async def test_an_end_is_noticed_by_the_other_side(carrier: str, step: Do) -> None:
    async with open_world(carrier) as world:  # type: ignore[arg-type]
        server = world.server(then_chat=play(step))
        async with world.gateway(max_attempts=1) as cortex:
            with pytest.raises(CortexError, match="reset" if step is Do.RESET else "hung up|closed|ended"):
                await cortex.complete("Hi")
        assert len(server.asked) == 1


@pytest.mark.parametrize("carrier", ["memory", "sockets"])
async def test_a_host_that_refuses_is_not_asked_and_listens_again_on_the_same_port(carrier: str) -> None:
    async with open_world(carrier) as world:  # type: ignore[arg-type]
        server = world.server()
        server.refuse(0.1)
        async with world.gateway() as cortex:
            with trio.fail_after(10):
                with suppress(CortexError):
                    await cortex.complete("Hi", max_attempts=1)
                assert server.asked == []
                while not server.asked:
                    with suppress(CortexError):
                        await cortex.complete("Hi")
