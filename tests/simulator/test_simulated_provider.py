"""Scripts, API keys and counters of one provider, and when its tasks end."""

import httpx
import pytest
import trio
from sim_client import KEY, Client
from trio.testing import wait_all_tasks_blocked

from cortex_trio.gateway.settings.config import Config
from cortex_trio.simulator import Behaviour, SimRequest, open_simulator
from cortex_trio.simulator.script import script_of


async def test_requests_take_the_steps_of_the_script_and_the_last_repeats(sim, client):
    openai = sim.add("openai", Behaviour(status=500), Behaviour(text="a"), Behaviour(text="b"))
    answers = [await client.post(openai) for _ in range(4)]
    assert [answer.status for answer in answers] == [500, 200, 200, 200]
    assert [answer.text for answer in answers[1:]] == ["a", "b", "b"]


async def test_a_function_decides_by_the_request(sim, client):
    openai = sim.add("openai")
    openai.behave(lambda request: Behaviour(text=request.body["messages"][0]["content"]))
    assert (await client.post(openai)).text == "Hi"


async def test_a_new_script_starts_at_its_beginning(sim, client):
    openai = sim.add("openai", Behaviour(status=500), Behaviour())
    await client.post(openai)
    openai.behave(Behaviour(status=503), Behaviour())
    assert (await client.post(openai)).status == 503


def test_a_script_of_both_kinds_is_rejected():
    with pytest.raises(TypeError, match="exactly one function"):
        script_of([Behaviour(), lambda request: Behaviour()])


async def test_requests_are_recorded(sim, client, autojump_clock):
    openai = sim.add("openai")
    await client.post(openai)
    await trio.sleep(7)
    await client.post(openai, model="m-2")
    first, second = openai.requests
    assert (first.method, first.path, first.body["model"]) == ("POST", "/v1/chat/completions", "m-1")
    assert (second.when - first.when, second.number, second.connection) == (7, 2, 1)
    assert first.key == KEY
    assert KEY not in repr(first)


async def test_an_invalid_key_is_rejected_and_uses_no_step(sim, client):
    openai = sim.add("openai", Behaviour(text="first"))
    openai.valid_keys = {"sk-other"}
    declined = await client.post(openai)
    assert (declined.status, declined.json["error"]["code"]) == (401, "invalid_api_key")
    openai.valid_keys.add(KEY)
    assert (await client.post(openai)).text == "first"


async def test_one_key_can_be_limited(sim, client):
    openai = sim.add("openai")
    openai.limit_key(KEY, Behaviour(status=429))
    assert (await client.post(openai)).status == 429
    openai.limit_key(KEY, None)
    assert (await client.post(openai)).status == 200


async def test_health_has_a_script_of_its_own(sim, client):
    openai = sim.add("openai", Behaviour(text="first"))
    openai.behave_health(Behaviour(status=401), Behaviour())
    assert (await client.get(openai, "/models")).status == 401
    assert (await client.get(openai, "/models")).status == 200
    assert (await client.post(openai)).text == "first"


async def test_a_hanging_health_check_does_not_delay_chats(sim, client, autojump_clock):
    openai = sim.add("openai")
    openai.behave_health(Behaviour(silent=True))
    with trio.move_on_after(60) as scope:
        await client.get(openai, "/models")
    assert scope.cancelled_caught
    assert (await client.post(openai)).status == 200


async def test_connections_and_requests_are_counted_while_they_last(any_sim, any_client):
    openai = any_sim.add("openai", Behaviour(stall_after=1))
    async with any_client.stream(openai):
        assert (openai.open_connections, openai.in_flight, openai.connections_made) == (1, 1, 1)
        assert openai.bytes_sent > 0


async def test_a_closed_connection_is_seen_at_once(sim, client):
    openai = sim.add("openai", Behaviour(stall_after=1))
    async with client.stream(openai):
        assert openai.open_connections == 1
    assert openai.open_connections == 0


async def test_a_client_that_leaves_ends_its_request_only(any_sim, any_client):
    openai = any_sim.add("openai", Behaviour(stall_after=1), Behaviour())
    async with any_client.stream(openai):
        pass
    with trio.fail_after(5):
        while openai.in_flight:
            await wait_all_tasks_blocked(0.01)
    assert (await any_client.post(openai)).status == 200


async def test_leaving_the_simulator_stops_everything_at_once(autojump_clock):
    async with open_simulator() as sim:
        openai = sim.add("openai", Behaviour(silent=True))
        client = Client(sim)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.post, openai)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        start = trio.current_time()
    assert trio.current_time() == start
    await client.pool.aclose()


async def test_an_exception_of_the_block_is_raised_unchanged():
    with pytest.raises(ZeroDivisionError):
        async with open_simulator():
            _ = 1 / 0


async def test_an_exception_of_a_script_function_is_raised():
    def broken(request: SimRequest) -> Behaviour:
        raise ZeroDivisionError

    async def ask() -> None:
        async with open_simulator() as sim:
            await Client(sim).post(sim.add("openai", broken))

    with pytest.raises(ZeroDivisionError):
        await ask()


async def test_a_name_is_taken_once(sim):
    sim.add("openai")
    with pytest.raises(ValueError, match="'openai' already"):
        sim.add("openai")


async def test_a_dialect_must_exist(sim):
    with pytest.raises(ValueError, match=r"provider: one of openai, .*anthropic, .*not 'mistral'"):
        sim.add("mistral")


async def test_a_gateway_accepts_the_configuration(any_sim):
    any_sim.add("openai")
    any_sim.add("Big Llama!", provider="ollama", models=["llama-9"])
    config = Config.from_mapping(any_sim.config(priority=3))
    llama = config.workers["Big Llama!"]
    assert (llama.provider, tuple(llama.models), llama.priority) == ("ollama", ("llama-9",), 3)
    assert config.workers["openai"].base_url == any_sim["openai"].url
    assert [key.reveal() for key in config.workers["openai"].api_keys] == ["sk-sim-openai-0001"]


async def test_the_gateways_transport_reaches_the_provider(any_sim):
    openai = any_sim.add("openai")
    [worker] = Config.from_mapping(any_sim.config()).workers.values()
    transport = any_sim.transport(worker)
    async with httpx.AsyncClient(transport=transport) as client:
        response = await client.get(f"{openai.url}/models", headers={"authorization": f"Bearer {KEY}"})
    assert response.status_code == 200
