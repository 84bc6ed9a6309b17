"""Every field of Behaviour, seen by a real HTTP client, in memory and over sockets."""

import json
import re

import attrs
import httpcore
import pytest
import trio
from sim_client import headers

from cortex_trio.failures import FailureKind
from cortex_trio.simulator import Behaviour, open_gateway


async def test_without_a_behaviour_the_answer_is_good(any_sim, any_client):
    openai = any_sim.add("openai")
    answer = await any_client.post(openai)
    assert (answer.status, answer.text) == (200, "Hello from the simulator.")
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.body.endswith(b"\n\ndata: [DONE]\n\n")


async def test_two_runs_give_the_same_bytes(sim, client):
    one, other = sim.add("one", provider="openai"), sim.add("other", provider="openai")
    assert (await client.post(one)).body == (await client.post(other)).body


async def test_exact_tokens_are_sent_one_by_one(sim, client):
    openai = sim.add("openai", Behaviour(text="never seen", tokens=["He", "", "llo"]))
    deltas = [
        choice["delta"].get("content")
        for chunk in (await client.post(openai)).chunks
        for choice in chunk["choices"]
    ]
    assert deltas == ["", "He", "", "llo", None]


# ------------------------------------------------------------------ errors before the stream


async def test_a_status_comes_with_the_providers_own_body_and_hint(any_sim, any_client):
    openai = any_sim.add("openai", Behaviour(status=429, retry_after=2.0), Behaviour())
    first = await any_client.post(openai)
    assert (first.status, first.headers["retry-after"]) == (429, "2")
    assert first.json["error"]["code"] == "rate_limit_exceeded"
    assert "Please try again in 2s." in first.json["error"]["message"]
    assert (await any_client.post(openai)).status == 200


async def test_without_a_hint_there_is_no_retry_after(sim, client):
    for kind in ("openai", "xai"):
        answer = await client.post(sim.add(kind, Behaviour(status=429)))
        assert "retry-after" not in answer.headers
        assert b"try again in" not in answer.body


@pytest.mark.parametrize(
    ("given", "header"), [(0.25, "0.25"), ("Thu, 01 Jan 2026 00:00:05 GMT",) * 2, ("soon",) * 2]
)
async def test_a_hint_is_sent_as_it_was_given(sim, client, given, header):
    answer = await client.post(sim.add("openai", Behaviour(status=503, retry_after=given)))
    assert answer.headers["retry-after"] == header


async def test_a_status_overrides_the_usual_one_of_a_kind(sim, client):
    openai = sim.add("openai", Behaviour(error=FailureKind.OVERLOADED, status=529))
    answer = await client.post(openai)
    assert answer.status == 529
    assert "overloaded" in answer.json["error"]["message"]


async def test_an_error_body_and_headers_can_be_given_exactly(sim, client):
    behaviour = Behaviour(
        status=401,
        error_body="key sk-1 is <b>bad</b>",
        content_type="text/plain",
        headers={"X-Request-Id": "r-1", "retry-after-ms": "1500"},
    )
    answer = await client.post(sim.add("openai", behaviour))
    assert (answer.status, answer.body) == (401, b"key sk-1 is <b>bad</b>")
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["x-request-id"] == "r-1"
    assert answer.headers["retry-after-ms"] == "1500"


@pytest.mark.parametrize("kind", [FailureKind.CONNECTION, FailureKind.STALLED, FailureKind.EMPTY])
def test_a_kind_that_no_provider_sends_names_the_fields_to_use_instead(kind):
    with pytest.raises(ValueError, match=r"no provider sends .*; use "):
        Behaviour(error=kind)


@pytest.mark.parametrize(
    ("field", "value"),
    [("cut_after", -1), ("first_token_after", -0.1), ("tokens_per_second", 0), ("pings", 0)],
)
def test_a_number_out_of_range_is_rejected(field, value):
    with pytest.raises(ValueError, match=rf"Behaviour\.{field}: "):
        Behaviour(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"), [("text", None), ("reasoning", None), ("refusal", "I will not.")]
)
def test_a_value_of_a_wrong_type_is_rejected(field, value):
    with pytest.raises(ValueError, match=rf"Behaviour\.{field}: a (str|bool) is needed"):
        Behaviour(**{field: value})


def test_an_error_inside_the_stream_needs_its_kind():
    with pytest.raises(ValueError, match=r"Behaviour\.error_after: error="):
        Behaviour(error_after=2)


# ------------------------------------------------------------------ connections that fail


async def test_a_refused_connection_uses_up_its_step(sim, client):
    openai = sim.add("openai", Behaviour(refuse=True), Behaviour())
    with pytest.raises(httpcore.ConnectError, match="refused"):
        await client.post(openai)
    assert (await client.post(openai)).status == 200
    assert (openai.connections_refused, openai.connections_made, len(openai.requests)) == (1, 1, 1)


async def test_over_sockets_a_refusal_is_a_reset(any_sim, any_client):
    openai = any_sim.add("openai", Behaviour(refuse=True), Behaviour())
    broken = (httpcore.ConnectError, httpcore.ReadError, httpcore.WriteError, httpcore.RemoteProtocolError)
    with pytest.raises(broken):
        await any_client.post(openai)
    assert (await any_client.post(openai)).status == 200


async def test_a_kept_connection_of_a_refusing_provider_is_reset(any_sim, any_client):
    openai = any_sim.add("openai", Behaviour(), Behaviour(refuse=True))
    await any_client.post(openai)
    with pytest.raises(httpcore.ReadError):
        await any_client.post(openai)
    assert openai.connections_made == 1


async def test_a_reset_breaks_the_connection_after_so_many_events(any_sim, any_client):
    openai = any_sim.add("openai", Behaviour(text="a b c d", reset_after=2))
    with pytest.raises(httpcore.ReadError):
        await any_client.read(openai)
    assert b'"content":" b"' in any_client.received
    assert b'"content":" c"' not in any_client.received


async def test_a_reset_can_come_before_any_content(any_sim, any_client):
    openai = any_sim.add("openai", Behaviour(reset_after=0))
    with pytest.raises(httpcore.ReadError):
        await any_client.read(openai)
    assert b'"role":"assistant"' in any_client.received


async def test_a_silent_provider_accepts_the_request_and_sends_nothing(sim, client, autojump_clock):
    openai = sim.add("openai", Behaviour(silent=True))
    with trio.move_on_after(120) as scope:
        await client.post(openai)
    assert scope.cancelled_caught
    assert len(openai.requests) == 1
    assert openai.bytes_sent == 0


async def test_headers_can_be_endless(any_sim, any_client):
    openai = any_sim.add("openai", Behaviour(endless_headers=True))
    with pytest.raises(httpcore.RemoteProtocolError):
        await any_client.post(openai)


async def test_an_idle_connection_can_be_closed_unannounced(any_sim, any_client):
    openai = any_sim.add("openai", Behaviour(close_idle=True))
    answer = await any_client.post(openai)
    assert "connection" not in answer.headers
    await any_client.post(openai)
    assert openai.connections_made == 2


async def test_a_connection_can_be_closed_when_it_is_reused(any_sim, any_client):
    openai = any_sim.add("openai", Behaviour(close_on_reuse=True), Behaviour())
    await any_client.post(openai)
    with pytest.raises((httpcore.RemoteProtocolError, httpcore.ReadError, httpcore.WriteError)):
        await any_client.post(openai)
    assert len(openai.requests) == 1
    assert (await any_client.post(openai)).status == 200


async def test_a_connection_is_accepted_as_late_as_scripted(sim, client, autojump_clock):
    openai = sim.add("openai", Behaviour(connect_after=3))
    start = trio.current_time()
    await client.post(openai)
    assert trio.current_time() - start == 3


async def test_connecting_can_time_out(sim, autojump_clock):
    openai = sim.add("openai", Behaviour(connect_after=10))
    with pytest.raises(httpcore.ConnectTimeout):
        await sim.network.connect_tcp(re.sub(r"http://|/v1", "", openai.url), 80, timeout=5)


# ------------------------------------------------------------------ bodies that fail


async def test_a_cut_ends_the_body_in_good_order_after_so_many_events(any_sim, any_client):
    openai = any_sim.add("openai", Behaviour(text="a b c d", cut_after=2))
    answer = await any_client.post(openai)
    assert answer.text == "a b"
    assert b"[DONE]" not in answer.body
    assert b'"finish_reason":"stop"' not in answer.body
    await any_client.post(openai)
    assert openai.connections_made == 1  # an orderly end: the connection stays open


async def test_a_cut_beyond_the_end_comes_before_the_finish(sim, client):
    answer = await client.post(sim.add("openai", Behaviour(text="a b", cut_after=40)))
    assert answer.text == "a b"
    assert b'"finish_reason":"stop"' not in answer.body


async def test_a_cut_can_fall_into_a_chunk(any_sim, any_client):
    openai = any_sim.add("openai", Behaviour(text="a b c d", cut_mid_chunk=2))
    with pytest.raises(httpcore.RemoteProtocolError, match="incomplete chunked read"):
        await any_client.read(openai)
    whole, _, half = any_client.received.rpartition(b"\n\n")
    assert b'"content":" b"' in whole
    assert half.startswith(b"data: {")
    assert not half.endswith(b"}")


async def test_a_stall_is_silence_between_two_events(sim, client, autojump_clock):
    openai = sim.add("openai", Behaviour(text="a b c", stall_after=2, stall_for=30))
    start = trio.current_time()
    with trio.move_on_after(29):
        await client.read(openai)
    assert b'"content":" b"' in client.received
    assert b'"content":" c"' not in client.received
    assert (await client.post(openai)).text == "a b c"
    assert trio.current_time() - start == 29 + 30


async def test_a_stall_can_last_without_end_from_the_first_event_on(sim, client, autojump_clock):
    openai = sim.add("openai", Behaviour(stall_after=0))
    with trio.move_on_after(3600):
        await client.read(openai)
    assert b'"role":"assistant"' in client.received
    assert b'"content":"Hello"' not in client.received


async def test_a_malformed_event_is_followed_by_the_other_events(sim, client):
    answer = await client.post(sim.add("openai", Behaviour(text="a b c", garble_after=1)))
    events = [line.removeprefix("data: ") for line in answer.body.decode().split("\n\n") if line]
    broken = [event for event in events[:-1] if not event.endswith("}")]
    assert len(broken) == 1
    assert events[events.index(broken[0]) - 1].find('"content":"a"') > 0
    assert events[-1] == "[DONE]"


async def test_an_error_inside_the_stream_ends_it(sim, client):
    groq = sim.add("groq", Behaviour(text="a b", error=FailureKind.OVERLOADED, error_after=1))
    answer = await client.post(groq)
    assert answer.status == 200
    last = answer.body.decode().split("\n\n")[-2]
    assert last.startswith('event: error\ndata: {"error":{"message":')
    assert json.loads(last.partition("data: ")[2])["error"]["status_code"] == 498


async def test_the_terminal_marker_can_be_missing(sim, client):
    answer = await client.post(sim.add("openai", Behaviour(no_terminal=True)))
    assert b'"finish_reason":"stop"' in answer.body
    assert b"[DONE]" not in answer.body


async def test_a_whole_answer_can_be_cut_in_its_middle(any_sim, any_client):
    openai = any_sim.add("openai", Behaviour(cut_after=1), Behaviour())
    cut = await any_client.post(openai, stream=False)
    whole = await any_client.post(openai, stream=False)
    assert 0 < len(cut.body) < len(whole.body)
    assert whole.json["choices"][0]["message"]["content"] == "Hello from the simulator."


# ------------------------------------------------------------------ timing


async def test_tokens_are_sent_at_the_given_rate(sim, client, autojump_clock):
    openai = sim.add("openai", Behaviour(text="a b c", first_token_after=5, tokens_per_second=2))
    start = trio.current_time()
    seen = {}
    async with client.stream(openai) as response:
        async for data in response.aiter_stream():
            for token in (b'"role"', b'"a"', b'" b"', b'" c"'):
                if token in data:
                    seen[token.decode()] = trio.current_time() - start
    assert seen == {'"role"': 0, '"a"': 5, '" b"': 5.5, '" c"': 6}


async def test_ollama_sends_not_even_headers_before_the_first_token(sim, client, autojump_clock):
    ollama = sim.add("ollama", Behaviour(first_token_after=5))
    start = trio.current_time()
    async with client.stream(ollama, "/api/chat"):
        assert trio.current_time() - start == 5


async def test_an_answer_that_is_not_streamed_takes_as_long(sim, client, autojump_clock):
    openai = sim.add("openai", Behaviour(text="a b c d", first_token_after=5, tokens_per_second=2))
    start = trio.current_time()
    await client.post(openai, stream=False)
    assert trio.current_time() - start == 5 + 4 / 2


async def test_pings_come_while_waiting(sim, client, autojump_clock):
    openai = sim.add("openai", Behaviour(text="a", first_token_after=10, pings=3))
    times = []
    start = trio.current_time()
    async with client.stream(openai) as response:
        async for data in response.aiter_stream():
            times += [trio.current_time() - start] * data.count(b": keepalive\n\n")
    assert times == [3, 6, 9]


async def test_pings_go_on_through_a_stall(sim, client, autojump_clock):
    anthropic = sim.add("anthropic", Behaviour(stall_after=1, pings=10))
    message = {"stream": True, "max_tokens": 5}
    with trio.move_on_after(35):
        await client.read(anthropic, "/v1/messages", **message)
    assert client.received.endswith(b'event: ping\ndata: {"type": "ping"}\n\n' * 3)


# ------------------------------------------------------------------ how the bytes are cut


async def test_the_body_can_be_sliced_byte_by_byte(any_sim, any_client):
    openai = any_sim.add("openai", Behaviour(text="Grüße", slice_bytes=1), Behaviour(text="Grüße"))
    sliced = await any_client.post(openai)
    assert sliced.text == "Grüße"


async def test_each_slice_is_a_piece_of_its_own(sim, client):
    openai = sim.add("openai", Behaviour(slice_bytes=7))
    async with client.stream(openai) as response:
        pieces = [data async for data in response.aiter_stream()]
    assert {len(piece) for piece in pieces[:-1]} <= set(range(1, 8))
    assert max(len(piece) for piece in pieces) == 7


async def test_the_whole_body_can_come_in_one_block(sim, client):
    openai = sim.add("openai", Behaviour(one_block=True))
    async with client.stream(openai) as response:
        pieces = [data async for data in response.aiter_stream()]
    assert len(pieces) == 1
    assert pieces[0].endswith(b"data: [DONE]\n\n")


# ------------------------------------------------------------------ something else altogether


async def test_a_web_page_can_come_under_200(any_sim, any_client):
    answer = await any_client.post(any_sim.add("openai", Behaviour(html=True)))
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.body.startswith(b"<!DOCTYPE html>")


async def test_any_body_can_come(any_sim, any_client):
    behaviour = Behaviour(body=b"\x1f\x8bzip", content_type="x/y", headers={"content-encoding": "gzip"})
    answer = await any_client.post(any_sim.add("openai", behaviour))
    assert (answer.body, answer.headers["content-type"]) == (b"\x1f\x8bzip", "x/y")
    assert answer.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize(
    "behaviour", [Behaviour(), Behaviour(error_body="none"), Behaviour(slice_bytes=1, cut_after=0)]
)
async def test_statuses_without_a_body_have_none_and_the_connection_stays_open(
    any_sim, any_client, status, behaviour
):
    openai = any_sim.add("openai", attrs.evolve(behaviour, status=status), Behaviour(text="next"))
    answer = await any_client.post(openai)
    assert (answer.status, answer.body) == (status, b"")
    assert not {"content-length", "transfer-encoding"} & answer.headers.keys()
    assert (await any_client.post(openai)).text == "next"
    assert [request.connection for request in openai.requests] == [1, 1]


async def test_a_head_request_gets_headers_and_no_body(any_sim, any_client):
    openai = any_sim.add("openai")
    head = await any_client.pool.request("HEAD", f"{openai.url}/models", headers=headers())
    assert head.content == b""
    assert int(dict(head.headers)[b"content-length"]) > 0
    assert (await any_client.post(openai)).status == 200
    assert [request.connection for request in openai.requests] == [1, 1]


async def test_a_status_without_a_body_is_a_failure_to_the_gateway_and_no_crash(sim, autojump_clock):
    for status in (204, 304):
        sim.add(f"openai {status}", Behaviour(status=status), provider="openai")
    sim.add("ollama", Behaviour(text="Served."))
    async with open_gateway(sim) as cortex:
        reply = await cortex.complete("Hi")
        assert (reply.worker, reply.text) == ("ollama", "Served.")
        assert [attempt.failure.kind for attempt in reply.attempts[:-1] if attempt.failure]
