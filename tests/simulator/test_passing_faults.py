"""Faults that last for some time, connections that end early, compressed bodies: seen by a plain HTTP client."""

import gzip
import json
import zlib

import httpcore
import pytest
import trio
from sim_client import headers

from cortex_trio.failures import FailureKind
from cortex_trio.messages import Image
from cortex_trio.simulator import Behaviour

GOOD = Behaviour(text="Good.")
BROKEN = (httpcore.ReadError, httpcore.RemoteProtocolError)


# ------------------------------------------------------------------ steps that last


async def test_a_step_lasts_from_the_first_request_that_gets_it(sim, client, autojump_clock):
    openai = sim.add("openai", Behaviour(status=404, lasts=10), GOOD)
    await trio.sleep(100)
    for second in range(10):
        assert (second, (await client.post(openai)).status) == (second, 404)
        await trio.sleep(1)
    assert (await client.post(openai)).text == "Good."


async def test_connections_can_be_refused_for_a_time(sim, client, autojump_clock):
    openai = sim.add("openai", Behaviour(refuse=True, lasts=0.5), GOOD)
    for _ in range(5):
        with pytest.raises(httpcore.ConnectError, match="refused"):
            await client.post(openai)
        await trio.sleep(0.1)
    assert (await client.post(openai)).text == "Good."
    assert (openai.connections_refused, len(openai.requests)) == (5, 1)


async def test_over_sockets_connections_can_be_reset_for_a_time(any_sim, any_client):
    openai = any_sim.add("openai", Behaviour(refuse=True, lasts=0.05), GOOD)
    for pause in (0, 0.1):
        with pytest.raises((httpcore.ConnectError, httpcore.WriteError, *BROKEN)):
            await any_client.post(openai)
        await trio.sleep(pause)
    assert (await any_client.post(openai)).text == "Good."


async def test_steps_that_last_follow_each_other(sim, client, autojump_clock):
    """A step begins with the first request that gets it, however late."""
    script = (Behaviour(status=500, lasts=5), Behaviour(status=503, lasts=5), Behaviour(status=429), GOOD)
    openai = sim.add("openai", *script)
    seen = []
    for pause in (0, 4, 2, 4, 2, 0):
        await trio.sleep(pause)
        seen.append((await client.post(openai)).status)
    assert seen == [500, 500, 503, 503, 429, 200]


async def test_health_checks_have_steps_that_last_as_well(sim, client, autojump_clock):
    openai = sim.add("openai")
    openai.behave_health(Behaviour(status=404, lasts=60), Behaviour())
    assert (await client.get(openai, "/models")).status == 404
    await trio.sleep(60)
    assert (await client.get(openai, "/models")).status == 200


async def test_a_new_script_ends_a_step_that_lasts(sim, client, autojump_clock):
    openai = sim.add("openai", Behaviour(status=404, lasts=60), GOOD)
    assert (await client.post(openai)).status == 404
    openai.behave(GOOD)
    assert (await client.post(openai)).status == 200


async def test_the_last_step_of_a_script_repeats_and_cannot_end(sim):
    with pytest.raises(ValueError, match=r"Behaviour\.lasts: the last step"):
        sim.add("openai", GOOD, Behaviour(status=404, lasts=60))


# ------------------------------------------------------------------ connections that break early


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("at", ["request", "headers"])
async def test_a_connection_can_be_reset_before_any_body(any_sim, any_client, at, stream):
    openai = any_sim.add("openai", Behaviour(reset_at=at), GOOD)
    with pytest.raises(httpcore.ReadError):
        await any_client.read(openai, stream=stream)
    assert any_client.received == b""
    assert len(openai.requests) == 1
    assert (await any_client.post(openai)).text == "Good."


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("at", ["request", "headers"])
async def test_a_connection_can_be_closed_before_any_body(any_sim, any_client, at, stream):
    openai = any_sim.add("openai", Behaviour(cut_at=at), GOOD)
    with pytest.raises(httpcore.RemoteProtocolError) as broken:
        await any_client.read(openai, stream=stream)
    assert ("without sending a response" in str(broken.value)) == (at == "request")
    assert any_client.received == b""
    assert len(openai.requests) == 1
    assert (await any_client.post(openai)).text == "Good."


async def test_the_headers_have_arrived_before_the_connection_breaks(any_sim, any_client):
    openai = any_sim.add("openai", Behaviour(status=503, cut_at="headers", retry_after=1))
    async with any_client.stream(openai) as response:
        headers = dict(response.headers)
        assert (response.status, headers[b"retry-after"]) == (503, b"1")
        assert int(headers[b"content-length"]) > 0
        with pytest.raises(httpcore.RemoteProtocolError):
            await response.aread()


# ------------------------------------------------------------------ pages, packed bodies, hints


@pytest.mark.parametrize("status", [429, 503])
async def test_a_page_can_have_any_status_and_a_hint(any_sim, any_client, status):
    page = Behaviour(status=status, html=True, retry_after=1)
    answer = await any_client.post(any_sim.add("openai", page))
    assert (answer.status, answer.headers["retry-after"]) == (status, "1")
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.body.startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize(("packing", "unpack"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
async def test_an_error_can_be_packed_and_keeps_its_hint(any_sim, any_client, packing, unpack):
    plain = Behaviour(error=FailureKind.RATE_LIMIT, retry_after=1)
    packed = Behaviour(error=FailureKind.RATE_LIMIT, retry_after=1, packed=packing)
    openai = any_sim.add("openai", plain, packed)
    first, second = await any_client.post(openai), await any_client.post(openai)
    assert (second.status, second.headers["retry-after"]) == (429, "1")
    assert second.headers["content-encoding"] == packing
    assert unpack(second.body).startswith(first.body[:60])
    assert int(second.headers["content-length"]) == len(second.body)


async def test_a_page_and_a_whole_answer_can_be_packed(sim, client):
    openai = sim.add("openai", Behaviour(html=True, packed="gzip"), Behaviour(text="Hi.", packed="gzip"))
    assert gzip.decompress((await client.post(openai)).body).startswith(b"<!DOCTYPE html>")
    whole = json.loads(gzip.decompress((await client.post(openai, stream=False)).body))
    assert whole["choices"][0]["message"]["content"] == "Hi."


async def test_a_stream_is_never_packed(sim, client):
    answer = await client.post(sim.add("openai", Behaviour(text="Hi.", packed="gzip")))
    assert "content-encoding" not in answer.headers
    assert answer.text == "Hi."


async def test_a_wrong_content_encoding_can_be_sent(sim, client):
    openai = sim.add("openai", Behaviour(text="Hi.", headers={"content-encoding": "utf-8"}))
    answer = await client.post(openai, stream=False)
    assert answer.headers["content-encoding"] == "utf-8"
    assert answer.json["choices"][0]["message"]["content"] == "Hi."


async def test_a_good_answer_can_say_that_no_requests_are_left(sim, client):
    empty = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"}
    answer = await client.post(sim.add("openai", Behaviour(text="Hi.", headers=empty)))
    assert (answer.status, answer.text) == (200, "Hi.")
    assert answer.headers["x-ratelimit-reset-requests"] == "1s"


@pytest.mark.parametrize(("field", "value"), [("lasts", 0), ("lasts", -1)])
def test_a_step_lasts_for_some_time(field, value):
    with pytest.raises(ValueError, match=r"Behaviour\.lasts: must be more than 0"):
        Behaviour(**{field: value})


@pytest.mark.parametrize("field", ["reset_at", "cut_at", "packed"])
def test_an_unknown_value_is_rejected(field):
    with pytest.raises(ValueError, match=field):
        Behaviour(**{field: "somewhere"})


# ------------------------------------------------------------------ answers of megabytes

MEGABYTES = 3_000_000


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_can_have_megabytes(any_sim, any_client, stream):
    text = "x" * MEGABYTES
    answer = await any_client.post(any_sim.add("openai", Behaviour(text=text)), stream=stream)
    assert len(answer.body) > MEGABYTES
    assert (answer.text if stream else answer.json["choices"][0]["message"]["content"]) == text


async def test_an_image_of_megabytes_comes_in_one_event(sim, client):
    image = Image(data=bytes(MEGABYTES), media_type="image/png")
    gemini = sim.add("gemini", Behaviour(parts=[image]))
    body = json.dumps({"contents": [{"role": "user", "parts": [{"text": "Draw"}]}]}).encode()
    url = f"{gemini.url}/models/{gemini.models[0]}:streamGenerateContent?alt=sse"
    response = await client.pool.request("POST", url, headers=headers(), content=body)
    assert response.status == 200
    assert max(len(event) for event in response.content.split(b"\r\n\r\n")) > MEGABYTES


async def test_embeddings_can_have_megabytes(sim, client):
    openai = sim.add("openai")
    answer = await client.post(
        openai, "/embeddings", messages=None, stream=None, input=["text"] * 100, dimensions=1536
    )
    assert len(answer.body) > MEGABYTES // 2
    assert {len(item["embedding"]) for item in answer.json["data"]} == {1536}


# ------------------------------------------------------------------ lists of models


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [
        (Behaviour(status=404), 404),
        (Behaviour(status=405), 405),
        (Behaviour(status=500), 500),
        (Behaviour(status=501), 501),
        (Behaviour(html=True), 200),
    ],
    ids=["404", "405", "500", "501", "page"],
)
@pytest.mark.parametrize("kind", ["openai", "anthropic", "gemini", "cohere", "ollama"])
async def test_a_provider_without_a_list_of_models_can_answer(sim, client, kind, behaviour, status):
    paths = {"openai": "/models", "gemini": "/models", "ollama": "/api/tags"}
    provider = sim.add(kind)
    provider.behave_health(behaviour)
    for _ in range(3):
        assert (await client.get(provider, paths.get(kind, "/v1/models"))).status == status
    if kind == "openai":
        assert (await client.post(provider)).text == "Hello from the simulator."


async def test_a_list_of_models_can_be_slow(sim, client, autojump_clock):
    openai = sim.add("openai")
    openai.behave_health(Behaviour(first_token_after=20))
    start = trio.current_time()
    assert (await client.get(openai, "/models")).status == 200
    assert trio.current_time() - start == 20


async def test_a_small_server_answers_one_request_after_the_other(sim, client, autojump_clock):
    ollama = sim.add("ollama", Behaviour(text="a b c d", first_token_after=5, tokens_per_second=1))
    ollama.one_at_a_time = True
    ended = {}

    async def ask(what, path):
        await (client.get(ollama, path) if what == "list" else client.post(ollama, path))
        ended[what] = trio.current_time() - start

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "answer", "/api/chat")
        await trio.sleep(1)
        nursery.start_soon(ask, "list", "/api/tags")
    assert ended == {"answer": 8, "list": 8}
    assert len(ollama.requests) == 2


async def test_a_client_that_leaves_the_queue_takes_no_turn(sim, client, autojump_clock):
    openai = sim.add("openai", Behaviour(first_token_after=10))
    openai.one_at_a_time = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.post, openai)
        await trio.sleep(1)
        with trio.move_on_after(5) as scope:
            await client.post(openai)
        assert scope.cancelled_caught
        start = trio.current_time()
        await client.get(openai, "/models")
        assert trio.current_time() - start == 4
