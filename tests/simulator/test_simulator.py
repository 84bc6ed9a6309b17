"""What a simulated provider does with each behaviour, seen by a real HTTP client."""

import httpcore
import pytest

from cortex_trio.simulator import Behaviour


async def test_without_a_behaviour_the_answer_is_good(any_sim, any_client):
    openai = any_sim.add("openai")
    answer = await any_client.post(openai)
    assert (answer.status, answer.text) == (200, "Hello from the simulator.")
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.body.endswith(b"\n\ndata: [DONE]\n\n")


async def test_a_status_comes_with_the_providers_own_body_and_hint(any_sim, any_client):
    openai = any_sim.add("openai", Behaviour(status=429, retry_after=2.0), Behaviour())
    first = await any_client.post(openai)
    assert (first.status, first.headers["retry-after"]) == (429, "2")
    assert first.json["error"]["code"] == "rate_limit_exceeded"
    assert "Please try again in 2s." in first.json["error"]["message"]
    assert (await any_client.post(openai)).status == 200


async def test_a_cut_ends_the_body_in_good_order_after_so_many_events(any_sim, any_client):
    openai = any_sim.add("openai", Behaviour(text="a b c d", cut_after=2))
    answer = await any_client.post(openai)
    assert answer.text == "a b"
    assert b"[DONE]" not in answer.body
    assert b'"finish_reason":"stop"' not in answer.body
    await any_client.post(openai)
    assert openai.connections_made == 1  # in good order: the connection lives


async def test_a_reset_breaks_the_connection_after_so_many_events(any_sim, any_client):
    openai = any_sim.add("openai", Behaviour(text="a b c d", reset_after=2))
    with pytest.raises(httpcore.ReadError):
        await any_client.read(openai)
    assert b'"content":" b"' in any_client.received
    assert b'"content":" c"' not in any_client.received
