"""Keys of clients over real sockets: which are accepted, what they may use, what is answered when it is used up."""

import base64
import gc
import json
import sys
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import pytest
import trio.testing
from served import WORKER, Client, StandIn, open_served, request

from cortex_trio import ConfigError, open_cortex
from cortex_trio.cluster import Claim, MemoryStore
from cortex_trio.gateway.sharing.limits import SharedLimits
from cortex_trio.server.admission import KeyRefused, KeyRing, KeyUse
from cortex_trio.server.counters import MemoryCounters, SharedCounters, end_of_period
from cortex_trio.server.limits_protocol import ErrorKind
from cortex_trio.server.serving import open_server
from cortex_trio.server.virtual_keys import Budget, VirtualKey, new_key, sha256_of, virtual_keys_from

KEY = "sk-cortex-test"


def virtual(**fields: object) -> dict[str, object]:
    return {"name": "team-a", "key_sha256": sha256_of(KEY), **fields}


BEARER = [("Authorization", f"Bearer {KEY}")]
BASIC = "Basic " + base64.b64encode(f"any:{KEY}".encode()).decode()


@pytest.mark.parametrize(
    "header",
    [
        ("Authorization", f"Bearer {KEY}"),
        ("authorization", f"bearer  {KEY} "),
        ("Authorization", BASIC),
        ("x-api-key", KEY),
        ("X-Goog-Api-Key", KEY),
        ("api-key", KEY),
    ],
)
async def test_a_key_is_accepted_in_each_header(header: tuple[str, str]) -> None:
    async with open_served(keys=[KEY]) as (server, _, _):
        assert (await (await Client.to(server)).post("/echo", b"x", [header])).status == 200


async def test_a_key_is_accepted_in_the_query() -> None:
    async with open_served(keys=["another", KEY]) as (server, _, _):
        assert (await (await Client.to(server)).post(f"/echo?key={KEY}", b"x")).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "Bearer wrong")],
        [("Authorization", "Bearer ")],
        [("Authorization", KEY)],
        [("Authorization", "Basic ???")],
        [("x-api-key", sha256_of(KEY))],
        [("x-api-key", KEY[:-1])],
        [("x-api-key", "\xe4\xff")],
        [("api-key", KEY.upper())],
    ],
)
async def test_no_key_and_a_wrong_key_are_401(headers: list[tuple[str, str]]) -> None:
    async with open_served(keys=[KEY]) as (server, api, _):
        client = await Client.to(server)
        answer = await client.post("/echo", b"x", headers)
        assert (answer.status, answer.error) == (401, "BAD_KEY")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert KEY not in answer.body.decode()
        assert (await client.post("/echo", b"x", BEARER)).status == 200
        assert len(api.requests) == 1


async def test_a_wrong_key_is_refused_before_the_body_is_sent() -> None:
    async with open_served(keys=[KEY]) as (server, _, _):
        client = await Client.to(server)
        await client.send(b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n")
        assert (await client.answer()).status == 401


async def test_the_rate_of_requests_is_limited() -> None:
    async with open_served(keys=[virtual(requests_per_minute=2)]) as (server, _, _):
        client = await Client.to(server)
        first = await client.post("/echo", b"x", BEARER)
        assert first.headers["x-ratelimit-limit-requests"] == "2"
        assert first.headers["x-ratelimit-remaining-requests"] == "1"
        assert first.headers["x-ratelimit-reset-requests"].endswith("s")
        assert (await client.post("/echo", b"x", BEARER)).status == 200
        third = await client.post("/echo", b"x", BEARER)
        assert (third.status, third.error) == (429, "RATE_LIMITED")
        assert 1 <= int(third.headers["retry-after"]) <= 30
        assert third.headers["x-ratelimit-remaining-requests"] == "0"


async def test_the_rate_of_tokens_is_limited() -> None:
    async with open_served(keys=[virtual(tokens_per_minute=100)]) as (server, _, _):
        client = await Client.to(server)
        answer = await client.post("/charge", b'{"tokens": 150}', BEARER)
        assert answer.status == 200
        refused = await client.post("/echo", b"x", BEARER)
        assert refused.status == 429
        assert refused.headers["x-ratelimit-remaining-tokens"] == "0"
        assert 20 <= int(refused.headers["retry-after"]) <= 32


async def test_a_budget_is_402() -> None:
    async with open_served(keys=[virtual(budget={"usd": 1.5})]) as (server, _, _):
        client = await Client.to(server)
        for usd in ("null", "1", "0.5"):
            assert (await client.post("/charge", b'{"usd": %b}' % usd.encode(), BEARER)).status == 200
        answer = await client.post("/echo", b"x", BEARER)
        assert (answer.status, answer.error) == (402, "INSUFFICIENT_QUOTA")


async def test_a_budget_of_several_processes_is_not_spent_as_long_as_others_may_have_some() -> None:
    class NoTotals:
        def count(self, name: str, amount: float) -> None: ...

    limits = SharedLimits(lambda: None)
    (key,) = virtual_keys_from([virtual(budget={"usd": 10})], "$keys")
    use = KeyUse(key, SharedCounters(limits, NoTotals()))
    use.charge(tokens=0, usd=3)
    refused = use.admit()
    assert isinstance(refused, KeyRefused)
    assert (refused.kind, refused.retry_after) == (ErrorKind.RATE_LIMITED, 1)
    (limit,) = limits.active()
    limit.was_given(Claim(0, 3600, "1"), 3.5, trio.current_time())
    spent = use.admit()
    assert isinstance(spent, KeyRefused)
    assert spent.kind is ErrorKind.INSUFFICIENT_QUOTA


async def test_concurrency_is_limited() -> None:
    async with open_served(keys=[virtual(max_concurrency=1)]) as (server, api, _):
        client, other = await Client.to(server), await Client.to(server)
        await client.send(request("POST", "/wait", b"", BEARER))
        await api.started.wait()
        refused = await other.post("/echo", b"x", BEARER)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        server.reload(keys=[virtual(max_concurrency=1, requests_per_minute=100)])
        assert (await other.post("/echo", b"x", BEARER)).status == 429
        api.go.set()
        assert (await client.answer()).status == 200
        assert (await other.post("/echo", b"x", BEARER)).status == 200


async def test_keys_are_replaced_while_the_server_runs() -> None:
    async with open_served(keys=[virtual(requests_per_minute=2)]) as (server, _, _):
        client = await Client.to(server)
        await client.post("/echo", b"x", BEARER)
        server.reload(keys=["new", virtual(requests_per_minute=3)])
        answer = await client.post("/echo", b"x", BEARER)
        assert answer.headers["x-ratelimit-remaining-requests"] == "1"
        assert (await client.post("/echo", b"x", [("x-api-key", "new")])).status == 200
        with pytest.raises(ConfigError):
            server.reload(keys=[{"name": "x"}])
        assert (await client.post("/echo", b"x", [("x-api-key", "new")])).status == 200
        server.reload(keys=["new"])
        assert (await client.post("/echo", b"x", BEARER)).status == 401


async def test_a_server_for_other_machines_needs_a_key() -> None:
    with pytest.raises(ConfigError, match="needs an API key"):
        async with open_served(host="0.0.0.0"):
            pass
    async with open_served(host="0.0.0.0", keys=[KEY]) as (server, _, _):
        with pytest.raises(ConfigError, match="needs an API key"):
            server.reload(keys=[])


async def test_limits_are_shared_by_gateways_with_one_store() -> None:
    store, keys = MemoryStore(), [virtual(requests_per_minute=3, budget={"usd": 1})]
    async with (
        open_cortex(WORKER, store=store) as first,
        open_cortex(WORKER, store=store) as second,
        open_server(first, api=StandIn(), keys=keys) as one,
        open_server(second, api=StandIn(), keys=keys) as other,
    ):
        statuses: list[int] = []
        for server in (one, other) * 4:
            client = await Client.to(server)
            statuses.append((await client.post("/charge", b'{"usd": 0.01}', BEARER)).status)
            await client.stream.aclose()
            await trio.testing.wait_all_tasks_blocked()
        assert 3 <= statuses.count(200) <= 5  # a request for each process more at most
        assert set(statuses[5:]) == {429}
    Client.made.clear()


# ------------------------------------------------------------------ values


async def test_models_may_have_patterns() -> None:
    keys = virtual_keys_from([virtual(models=["fast", "openai/*"]), "other"])
    ring = KeyRing(keys, MemoryCounters())
    use, other = ring.find(KEY), ring.find("other")
    assert use is not None
    assert other is not None
    assert [use.allows(name) for name in ("fast", "openai/gpt-5", "slow", "auto", "")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert other.allows("")


async def test_a_budget_starts_anew_with_its_period() -> None:
    now = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
    counters = MemoryCounters(now=lambda: now)
    counter = counters.budget("a", Budget(10, "month"))
    counter.charge(10)
    assert counter.seconds_until(1) == 1800
    now = datetime(2026, 2, 1, tzinfo=UTC)
    assert counter.seconds_until(1) == 0
    assert counter.remaining == 10


def test_the_ends_of_calendar_periods() -> None:
    now = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)  # a Thursday
    ends = {per: end_of_period(per, now) for per in ("hour", "day", "week", "month", "total")}
    new_year = datetime(2027, 1, 1, tzinfo=UTC)
    assert ends == {
        "hour": new_year,
        "day": new_year,
        "week": datetime(2027, 1, 4, tzinfo=UTC),
        "month": new_year,
        "total": None,
    }


WRONG = {
    "$.keys[0].name": virtual(name=""),
    "$.keys[0].key_sha256": virtual(key_sha256="sk-not-a-hash"),
    "$.keys[0].models": virtual(models="fast"),
    "$.keys[0].requests_per_minute": virtual(requests_per_minute=0),
    "$.keys[0].tokens_per_minute": virtual(tokens_per_minute="1"),
    "$.keys[0].max_concurrency": virtual(max_concurrency=True),
    "$.keys[0].budget": virtual(budget=5),
    "$.keys[0].budget.usd": virtual(budget={"usd": -1}),
    "$.keys[0].budget.per": virtual(budget={"usd": 1, "per": "decade"}),
    "$.keys[0]": virtual(model=["fast"]),
}


@pytest.mark.parametrize(("place", "key"), WRONG.items(), ids=WRONG)
def test_a_mistake_is_named_with_its_place(place: str, key: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        virtual_keys_from([key])
    assert caught.value.path == place
    assert "sk-not-a-hash" not in str(caught.value)


@pytest.mark.parametrize("key", ["", " ", "sk-schlüssel", "sk-\x00", "sk-\udcff", "sk-a\nb"])
def test_a_key_that_clients_cannot_send_alike_is_refused(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        virtual_keys_from(["sk-good", key])
    assert caught.value.path == "$.keys[1]"
    assert "sk-" not in str(caught.value)


def test_the_hash_of_a_value_is_checked() -> None:
    [key] = virtual_keys_from([VirtualKey(name="a", key_sha256=sha256_of(KEY).upper())])
    assert key.key_sha256 == sha256_of(KEY)
    with pytest.raises(ConfigError, match=r"keys\[0\].key_sha256"):
        virtual_keys_from([VirtualKey(name="a", key_sha256=KEY)])


def steps_of(ring: KeyRing, presented: str | None) -> list[tuple[str, int]]:
    """The lines of Python that a lookup runs."""
    steps = []

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        steps.append((event, frame.f_lineno))
        return trace

    before = sys.gettrace()
    gc.disable()  # what runs when garbage is collected does not belong to the lookup
    sys.settrace(trace)
    try:
        ring.find(presented)
    finally:
        sys.settrace(before)
        gc.enable()
    return steps


def test_the_work_for_a_key_depends_on_no_key() -> None:
    """On nothing that a client can choose but the length; the hashes that are compared have a secret in them."""
    keys = [f"{KEY}-{number}" for number in range(1000)]
    one, many = (KeyRing(virtual_keys_from(some), MemoryCounters()) for some in (keys[:1], keys))
    presented = [None, "", "x", KEY, keys[0][:-1], keys[0] + "x", keys[0], keys[999]]
    worked = {tuple(steps_of(ring, key)) for ring in (one, many) for key in presented}
    assert len(worked) == 1
    assert [many.find(key) is not None for key in presented] == [False] * 6 + [True] * 2
    assert set(one._uses) & set(many._uses) == set()


def test_two_keys_must_differ() -> None:
    with pytest.raises(ConfigError, match=r"keys\[1\].name"):
        virtual_keys_from([virtual(), virtual(key_sha256="0" * 64)])
    with pytest.raises(ConfigError, match=r"keys\[1\].key_sha256"):
        virtual_keys_from([KEY, KEY])


def test_plain_keys_get_names_that_are_free() -> None:
    first = virtual_keys_from(["one"])
    both = virtual_keys_from(["two", *first, virtual(name="key-2"), "three"])
    assert [key.name for key in both] == ["key-3", "key-1", "key-2", "key-4"]


def test_a_key_shows_no_hash() -> None:
    assert sha256_of(KEY) not in repr(VirtualKey(name="a", key_sha256=sha256_of(KEY)))
    assert json.dumps(new_key()) != json.dumps(new_key())
    assert len(new_key()) > 40
