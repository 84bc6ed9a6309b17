"""Names of models, aliases, lists, counts of tokens, embeddings, and what a virtual key allows."""

import base64
import json
import struct
from collections.abc import Sequence

import attrs
import pytest
from api_clients import CHAT, CLIENTS, GEMINI, IDENTITY, MESSAGES, MODEL, NAMES, Client, ask

from cortex_trio import CallStarted, Config, NoWorkersAvailable
from cortex_trio.server.exchange import Headers, ServedRequest
from cortex_trio.simulator import Behaviour, open_gateway, open_simulator

every_client = pytest.mark.parametrize("client", CLIENTS, ids=NAMES)
VERSION: Headers = (("anthropic-version", "2023-06-01"),)


def get(path: str, headers: Headers = ()) -> ServedRequest:
    return ServedRequest(id=IDENTITY, method="GET", path=path, query={}, headers=headers, body=b"")


@attrs.define
class Limits:
    """A virtual key."""

    models: Sequence[str]
    charged: list[int] = attrs.field(factory=list)
    dollars: list[float | None] = attrs.field(factory=list)
    name: str = "team-a"

    def allows(self, model: str) -> bool:
        return model in self.models

    def charge(self, *, tokens: int, usd: float | None) -> None:
        self.charged.append(tokens)
        self.dollars.append(usd)


# ------------------------------------------------------------------ names


@pytest.mark.parametrize(
    "name", ["", "auto", MODEL, f"second/{MODEL}", f"groq/{MODEL}", "fast", "second/unlisted"]
)
@pytest.mark.parametrize("client", [CHAT, MESSAGES], ids=["chat", "messages"])
async def test_a_model_has_many_names(client: Client, name: str) -> None:
    async with open_simulator() as sim:
        sim.add("openai", models=["other-1"])
        sim.add("second", provider="groq", models=[MODEL])
        async with open_gateway(sim, aliases={"fast": [f"second/{MODEL}"]}) as cortex:
            got = await ask(cortex, client.request(model=name))
    assert got.status == 200
    expected = ("openai", "other-1") if name in ("", "auto") else ("second", name.rpartition("/")[2])
    if name == "fast":
        expected = ("second", MODEL)
    assert (got.headers["x-cortex-worker"], got.headers["x-cortex-model"]) == expected
    assert got.json["model"] == expected[1]


@pytest.mark.parametrize("model", [None, "missing"])
async def test_a_missing_model_is_the_choice_of_the_strategy(model: str | None) -> None:
    request = CHAT.request()
    body = json.loads(request.body)
    body["model"] = model
    if model == "missing":
        del body["model"]
    async with open_simulator() as sim:
        sim.add("openai", models=["other-1"])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, attrs.evolve(request, body=json.dumps(body).encode()))
        assert sim["openai"].requests[0].body["model"] == "other-1"
    assert got.status == 200


@every_client
async def test_a_model_with_a_slash_is_no_worker(client: Client) -> None:
    async with open_simulator() as sim:
        sim.add("openai", models=["other-1"])
        sim.add("groq", models=["openai/gpt-oss"])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, client.request(model="openai/gpt-oss"))
    assert got.headers["x-cortex-worker"] == "groq"


@every_client
async def test_an_alias_is_asked_in_its_order(client: Client) -> None:
    """Also where the strategy would ask the other one first. It is one call, with the failover of any call."""
    calls: list[object] = []
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="last"), models=["gpt"])
        groq = sim.add("groq", Behaviour(status=404), models=["big"])
        alias = {"fast": ["groq/big", "openai/gpt"]}
        async with open_gateway(sim, on_event=calls.append, aliases=alias) as cortex:
            got = await ask(cortex, client.request(model="fast"))
    assert [request.body.get("model", "big") for request in groq.requests] == ["big"]
    assert (got.headers["x-cortex-worker"], got.headers["x-cortex-attempts"]) == ("openai", "2")
    assert len([event for event in calls if isinstance(event, CallStarted)]) == 1


async def test_an_alias_does_not_wait_for_its_first_model() -> None:
    async with open_simulator() as sim:
        sim.add("groq", Behaviour(status=429, retry_after=20), models=["big"])
        sim.add("openai", models=["gpt"])
        async with open_gateway(sim, aliases={"fast": ["groq/big", "openai/gpt"]}) as cortex:
            for _ in range(2):
                got = await ask(cortex, CHAT.request(model="fast"))
                assert got.headers["x-cortex-worker"] == "openai"


async def test_an_error_of_the_request_ends_an_alias() -> None:
    async with open_simulator() as sim:
        sim.add("groq", Behaviour(status=400), models=["big"])
        openai = sim.add("openai", models=["gpt"])
        async with open_gateway(sim, aliases={"fast": ["groq/big", "openai/gpt"]}) as cortex:
            got = await ask(cortex, CHAT.request(model="fast"))
    assert (got.status, openai.requests) == (400, [])


async def test_a_reload_changes_the_aliases() -> None:
    async with open_simulator() as sim:
        sim.add("openai", models=["a", "b"])
        async with open_gateway(sim, aliases={"fast": ["openai/a"]}) as cortex:
            workers = {"openai": sim["openai"].worker()}
            await cortex.reload(
                Config(workers=workers, health_check_interval=0, aliases={"new": ["openai/b"]})
            )
            old = await ask(cortex, CHAT.request(model="fast"))
            new = await ask(cortex, CHAT.request(model="new"))
            listed = await ask(cortex, get("/v1/models"))
    assert (old.status, new.headers["x-cortex-model"]) == (404, "b")
    assert [entry["id"] for entry in listed.json["data"]] == ["new", "a", "b"]


@pytest.mark.parametrize("name", ["groq/a\r\nset-cookie: b", "groq/\ud800", "groq/\x00"])
async def test_a_name_that_no_header_can_hold_is_unknown(name: str) -> None:
    async with open_simulator() as sim:
        groq = sim.add("groq", models=["big"])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, CHAT.request(model=name))
    assert (got.status, groq.requests) == (404, [])


async def test_a_header_shows_a_name_in_ascii() -> None:
    async with open_simulator() as sim:
        sim.add("groq", models=["big"])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, CHAT.request(model="groq/bé"))
    assert got.headers["x-cortex-model"] == "b?"


# ------------------------------------------------------------------ lists


@pytest.mark.parametrize(
    ("path", "headers", "names"),
    [
        ("/v1/models", (), lambda body: [entry["id"] for entry in body["data"]]),
        ("/v1/models", VERSION, lambda body: [e["id"] for e in body["data"] if e["type"] == "model"]),
        ("/v1/models", (("x-goog-api-client", "g"),), lambda body: [e["name"][7:] for e in body["models"]]),
        ("/v1beta/models", (), lambda body: [entry["name"].removeprefix("models/") for entry in body["models"]]),
    ],
)  # fmt: skip
async def test_models_are_listed_in_the_callers_api(path: str, headers: Headers, names: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", models=["a", "b"])
        sim.add("groq", models=["b", "c/d"])
        async with open_gateway(sim, aliases={"fast": ["openai/a"]}) as cortex:
            got = await ask(cortex, get(path, headers))
            own = await ask(cortex, get(path, headers), client=Limits(["fast"]))
    assert names(got.json) == ["fast", "a", "b", "c/d"]  # type: ignore[operator]
    assert names(own.json) == ["fast"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("path", "headers", "field", "value"),
    [
        ("/v1/models/c/d", (), "id", "c/d"),
        ("/v1/models/fast", VERSION, "id", "fast"),
        ("/v1beta/models/fast", (), "name", "models/fast"),
    ],
)
async def test_one_model_is_described(path: str, headers: Headers, field: str, value: str) -> None:
    async with open_simulator() as sim:
        sim.add("openai", models=["a", "c/d"])
        async with open_gateway(sim, aliases={"fast": ["openai/a"]}) as cortex:
            got = await ask(cortex, get(path, headers))
            missing = await ask(cortex, get(path + "x", headers))
    assert (got.status, got.json[field]) == (200, value)
    assert missing.status == 404


# ------------------------------------------------------------------ counts and embeddings


def count(model: str = MODEL) -> ServedRequest:
    request = MESSAGES.request(model=model, messages=[{"role": "user", "content": "word " * 40}])
    body = json.loads(request.body)
    del body["max_tokens"]
    return attrs.evolve(request, path="/v1/messages/count_tokens", body=json.dumps(body).encode())


async def test_tokens_are_counted_by_a_worker_that_can() -> None:
    async with open_simulator() as sim:
        sim.add("openai", models=[MODEL])
        anthropic = sim.add("anthropic", models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, count())
        assert [request.path for request in anthropic.requests] == ["/v1/messages/count_tokens"]
        assert sim["openai"].requests == []
    assert (got.status, got.json) == (200, {"input_tokens": 41})
    assert got.headers["x-cortex-worker"] == "anthropic"
    assert "x-cortex-estimate" not in got.headers


@pytest.mark.parametrize("kind", ["openai", "broken"])
async def test_without_one_tokens_are_estimated_and_it_says_so(kind: str, autojump_clock: object) -> None:
    async with open_simulator() as sim:
        if kind == "broken":
            sim.add("anthropic", models=[MODEL]).behave_health(Behaviour(status=500))
        else:
            sim.add("openai", models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, count())
    assert got.headers["x-cortex-estimate"] == "true"
    assert 30 <= got.json["input_tokens"] <= 60


@pytest.mark.parametrize("packed", [False, True])
async def test_embeddings(packed: bool) -> None:
    body = {"model": "e-1", "input": ["a", "b"], "dimensions": 4}
    if packed:
        body["encoding_format"] = "base64"
    request = attrs.evolve(CHAT.request(), path="/v1/embeddings", body=json.dumps(body).encode())
    async with open_simulator() as sim:
        sim.add("openai", models=["e-1"])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, request)
            expected = await cortex.embed(["a", "b"], model="e-1", dimensions=4)
    found = [entry["embedding"] for entry in got.json["data"]]
    if packed:
        found = [struct.unpack("<4f", base64.b64decode(text)) for text in found]
    assert [list(vector) for vector in found] == [pytest.approx(list(vector)) for vector in expected]
    assert got.json["usage"]["total_tokens"] > 0
    assert (got.headers["x-cortex-worker"], got.json["model"]) == ("openai", "e-1")


def embed(given: object, model: str = "e-1") -> ServedRequest:
    body = json.dumps({"model": model, "input": given, "encoding_format": "base64"}).encode()
    return attrs.evolve(CHAT.request(), path="/v1/embeddings", body=body)


@pytest.mark.parametrize(
    ("given", "count"), [([1, 2, 3], 1), ([[1, 2], [3]], 2)], ids=["one text", "several"]
)
async def test_embeddings_of_tokens_are_those_of_a_worker_of_the_same_api(given: object, count: int) -> None:
    """LangChain's OpenAIEmbeddings sends tokens unless it is told otherwise."""
    limits = Limits(["fast"])
    async with open_simulator() as sim:
        gemini = sim.add("gemini", models=["e-1"])
        openai = sim.add("openai", models=["e-2"])
        async with open_gateway(sim, aliases={"fast": ["gemini/e-1", "openai/e-2"]}) as cortex:
            got = await ask(cortex, embed(given, "fast"), client=limits)
    assert (got.status, gemini.requests) == (200, [])
    assert openai.requests[0].body == {"model": "e-2", "input": given, "encoding_format": "base64"}
    assert [type(entry["embedding"]) for entry in got.json["data"]] == [str] * count
    assert got.headers["x-cortex-worker"] == "openai"
    assert limits.charged == [got.json["usage"]["total_tokens"]]


@pytest.mark.parametrize("given", [[1, "a"], [["a"]], [[1], "a"], [True], [[1.5]]], ids=range(5))
async def test_what_is_no_text_and_no_token_is_refused(given: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", models=["e-1"])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, embed(given))
    assert (got.status, got.json["error"]["code"]) == (400, "invalid_type")


async def test_embeddings_of_tokens_without_such_a_worker_are_refused_with_a_reason() -> None:
    async with open_simulator() as sim:
        gemini = sim.add("gemini", models=["e-1"])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, embed([1, 2, 3]))
    assert (got.status, got.json["error"]["type"], gemini.requests) == (400, "invalid_request_error", [])
    assert "gemini does not support token arrays; send the texts" in got.json["error"]["message"]


async def test_embeddings_are_those_of_the_worker_that_is_named() -> None:
    """Two servers of one provider, of which each has a model of its own under the same name."""
    body = json.dumps({"model": "second/e-1", "input": "a"}).encode()
    async with open_simulator() as sim:
        sim.add("first", provider="openai", models=["e-1"])
        sim.add("second", provider="openai", models=["e-1"])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, attrs.evolve(CHAT.request(), path="/v1/embeddings", body=body))
            assert (await cortex.embed("a", worker="second")).worker == "second"
            with pytest.raises(NoWorkersAvailable, match="there is no worker 'third'"):
                await cortex.embed("a", worker="third")
    assert (got.headers["x-cortex-worker"], got.headers["x-cortex-model"]) == ("second", "e-1")


@pytest.mark.parametrize("path", ["/v1/models/", "/v1beta/models/"])
async def test_a_list_of_models_may_end_with_a_slash(path: str) -> None:
    async with open_simulator() as sim:
        sim.add("openai", models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, get(path))
            expected = await ask(cortex, get(path.rstrip("/")))
    assert MODEL in got.body.decode()
    assert got.json.keys() == expected.json.keys()


# ------------------------------------------------------------------ virtual keys and observers


@every_client
async def test_a_virtual_key_names_its_models_and_is_charged(client: Client) -> None:
    limits = Limits([MODEL])
    async with open_simulator() as sim:
        sim.add("openai", models=[MODEL, "other-1"])
        async with open_gateway(sim) as cortex:
            denied = await ask(cortex, client.request(model="other-1"), client=limits)
            assert (denied.status, limits.charged) == (403, [])
            await ask(cortex, client.request(), client=limits)
            await ask(cortex, client.request(stream=True), client=limits)
    assert len(limits.charged) == 2
    assert min(limits.charged) > 0


async def test_observers_learn_the_id_of_the_request_and_the_client() -> None:
    started: list[CallStarted] = []
    async with open_simulator() as sim:
        sim.add("openai", models=[MODEL])

        def observe(event: object) -> None:
            if isinstance(event, CallStarted):
                started.append(event)

        async with open_gateway(sim, on_event=observe) as cortex:
            trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            await ask(cortex, CHAT.request(headers=(("traceparent", trace),)), client=Limits([MODEL]))
    [event] = started
    assert event.tags == {"request": IDENTITY, "client": "team-a", "traceparent": trace}


async def test_gemini_counts_tokens() -> None:
    request = attrs.evolve(GEMINI.request(), path=f"/v1beta/models/{MODEL}:countTokens")
    async with open_simulator() as sim:
        gemini = sim.add("gemini", models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, request)
        assert gemini.requests[0].path.endswith(":countTokens")
    assert got.json["totalTokens"] == 1


@pytest.mark.parametrize("batch", [False, True])
async def test_gemini_embeds(batch: bool) -> None:
    one = {"content": {"parts": [{"text": "a"}]}}
    body = {"requests": [{"model": "models/e-1", **one}]} if batch else one
    method = "batchEmbedContents" if batch else "embedContent"
    request = attrs.evolve(
        GEMINI.request(), path=f"/v1beta/models/e-1:{method}", body=json.dumps(body).encode()
    )
    async with open_simulator() as sim:
        sim.add("openai", models=["e-1"])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, request)
    assert got.json["embeddings"][0]["values"] if batch else got.json["embedding"]["values"]


async def test_a_header_that_cannot_be_forwarded_is_left_out() -> None:
    async with open_simulator() as sim:
        anthropic = sim.add("anthropic", models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, MESSAGES.request(headers=(("anthropic-beta", "bé"),)))
    assert (got.status, "anthropic-beta" in anthropic.requests[0].headers) == (200, False)
