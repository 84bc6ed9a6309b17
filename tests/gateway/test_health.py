"""Health checks: free requests, each bounded, and what their answers prove."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from cortex_trio import Config, Failure, FailureKind, HealthStatus, open_cortex
from cortex_trio.gateway.health import MAX_CONCURRENT_CHECKS, suspicion_of
from cortex_trio.simulator import Behaviour, Simulator, open_gateway, open_simulator

K = FailureKind


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with open_simulator() as simulator:
        yield simulator


def statuses(status: HealthStatus) -> dict[str, tuple[str, FailureKind | None]]:
    return {name: (info.status, info.reason) for name, info in status.workers.items()}


# ------------------------------------------------------------------ what a failed check means

PROVES_NOTHING = {
    K.CANCELLED,
    K.UNKNOWN,
    K.MODEL_NOT_FOUND,
    K.BAD_REQUEST,
    K.PROTOCOL,
    K.CONTENT_POLICY,
    K.EDGE,
}


@pytest.mark.parametrize("kind", list(K))
def test_a_failed_check_is_a_suspicion_or_proves_nothing(kind: FailureKind) -> None:
    expected = None if kind in PROVES_NOTHING else kind
    assert suspicion_of(Failure(kind), answers_are_arriving=False) is expected
    assert suspicion_of(Failure(kind, ours=True), answers_are_arriving=False) is None


@pytest.mark.parametrize(
    ("failure", "arriving", "expected"),
    [
        # OpenAI's 401 "Missing scopes": such a key may not list models, and still chats.
        (Failure(K.PERMISSION, status=401), False, None),
        (Failure(K.PERMISSION, status=403), False, K.PERMISSION),
        (Failure(K.SERVER, status=501), False, None),
        (Failure(K.SERVER, status=500), False, K.SERVER),
        (Failure(K.EDGE, status=403), False, None),
        (Failure(K.EDGE, status=502), False, K.EDGE),
        (Failure(K.STALLED), True, None),
        (Failure(K.CONNECTION), True, K.CONNECTION),
    ],
)
def test_status_and_traffic_decide_what_a_failed_check_means(
    failure: Failure, arriving: bool, expected: FailureKind | None
) -> None:
    assert suspicion_of(failure, answers_are_arriving=arriving) is expected


# ------------------------------------------------------------------ one round of checks


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (Behaviour(), ("available", None)),
        (Behaviour(error=K.CREDENTIAL), ("quota_exceeded", K.CREDENTIAL)),
        (Behaviour(error=K.QUOTA), ("quota_exceeded", K.QUOTA)),
        (Behaviour(error=K.RATE_LIMIT), ("rate_limited", K.RATE_LIMIT)),
        (Behaviour(status=503), ("unavailable", K.OVERLOADED)),
        (Behaviour(status=500), ("unavailable", K.SERVER)),
        (Behaviour(refuse=True), ("unavailable", K.CONNECTION)),
        (Behaviour(silent=True), ("unavailable", K.STALLED)),
        (Behaviour(endless_headers=True), ("available", None)),
        (Behaviour(status=404), ("available", None)),
        (Behaviour(status=405), ("available", None)),
        (Behaviour(status=501), ("available", None)),
        (Behaviour(body=b"<html>Welcome</html>"), ("available", None)),
    ],
)
async def test_the_status_after_a_check_is_what_the_provider_answered(
    sim: Simulator, behaviour: Behaviour, expected: tuple[str, FailureKind | None], autojump_clock: object
) -> None:
    sim.add("openai", *[behaviour] * behaviour.refuse).behave_health(behaviour)
    async with open_gateway(sim) as cortex:
        assert statuses(await cortex.check_health()) == {"openai": expected}


async def test_checks_that_hang_time_out_together_and_make_their_workers_unavailable(
    sim: Simulator, autojump_clock: object
) -> None:
    for name in ("openai", "groq", "gemini"):
        sim.add(name)
    sim["openai"].behave_health(Behaviour(silent=True))
    sim["gemini"].behave_health(Behaviour(silent=True))
    async with open_gateway(sim, health_check_timeout=2.0) as cortex:
        start = trio.current_time()
        found = statuses(await cortex.check_health())
        assert trio.current_time() - start == pytest.approx(2.0)  # both at once
        assert found == {
            "openai": ("unavailable", K.STALLED),
            "groq": ("available", None),
            "gemini": ("unavailable", K.STALLED),
        }
        assert [sim[name].in_flight for name in ("openai", "gemini")] == [0, 0]


async def test_requests_are_served_while_a_check_hangs(sim: Simulator, autojump_clock: object) -> None:
    sim.add("openai").behave_health(Behaviour(silent=True))
    async with open_gateway(sim, health_check_interval=1.0, health_check_timeout=100.0) as cortex:
        await trio.sleep(5)
        assert sim["openai"].in_flight == 1  # the check
        start = trio.current_time()
        assert (await cortex.complete("hi")).worker == "openai"
        assert (await cortex.health_status()).system_health == "healthy"
        assert trio.current_time() == start


async def test_a_check_is_never_a_completion(sim: Simulator, autojump_clock: object) -> None:
    """Other gateways check with completions, which are billed."""
    free = {
        "openai": "/models",
        "anthropic": "/v1/models",
        "groq": "/models",
        "gemini": "/models",
        "xai": "/api-key",
        "cohere": "/v1/models",
        "ollama": "/api/tags",
    }
    for name in free:
        sim.add(name)
    async with open_gateway(sim) as cortex:
        assert (await cortex.check_health()).system_health == "healthy"
    for name, path in free.items():
        (request,) = sim[name].requests
        assert request.method == "GET"
        assert request.path.endswith(path)
        assert not request.body


async def test_an_ollama_without_the_configured_model_is_unavailable(
    sim: Simulator, autojump_clock: object
) -> None:
    sim.add("ollama", models=("gemma3:4b",))
    config = sim.config()
    config["ollama"]["models"] = ["llama9:1b"]
    async with open_cortex(Config.from_mapping(config), http_transport=sim.transport) as cortex:
        assert statuses(await cortex.check_health()) == {"ollama": ("unavailable", K.MODEL_NOT_FOUND)}


@pytest.mark.parametrize(("there", "wanted"), [("gemma3:4b", "gemma3:4b"), ("gemma3:latest", "gemma3")])
async def test_an_ollama_with_the_configured_model_is_available(
    sim: Simulator, there: str, wanted: str, autojump_clock: object
) -> None:
    sim.add("ollama", models=(there,))
    config = sim.config()
    config["ollama"]["models"] = [wanted]
    async with open_cortex(Config.from_mapping(config), http_transport=sim.transport) as cortex:
        assert statuses(await cortex.check_health()) == {"ollama": ("available", None)}


async def test_a_list_of_models_that_cannot_be_decoded_proves_nothing(
    sim: Simulator, autojump_clock: object
) -> None:
    sim.add("ollama").behave_health(Behaviour(body=b"<html>"))
    async with open_gateway(sim) as cortex:
        assert statuses(await cortex.check_health()) == {"ollama": ("available", None)}


@pytest.mark.slow
@pytest.mark.parametrize(
    "health",
    [Behaviour(status=status) for status in (401, 403, 404, 405, 429, 500, 501, 503)]
    + [Behaviour(silent=True), Behaviour(body=b"<html>"), Behaviour(refuse=True)],
    ids=str,
)
async def test_the_only_worker_is_asked_even_if_its_check_failed(
    sim: Simulator, health: Behaviour, autojump_clock: object
) -> None:
    sim.add("openai").behave_health(health)
    async with open_gateway(sim, health_check_interval=10.0) as cortex:
        for _ in range(30):
            await trio.sleep(60)
            assert len((await cortex.complete("hi")).attempts) == 1


async def test_a_worker_that_failed_its_check_is_asked_last(sim: Simulator, autojump_clock: object) -> None:
    sim.add("openai").behave_health(Behaviour(status=500))
    sim.add("ollama")
    async with open_gateway(sim) as cortex:
        assert (await cortex.complete("hi")).worker == "openai"
        await trio.sleep(1)
        await cortex.check_health()
        assert (await cortex.complete("hi")).worker == "ollama"
        sim["ollama"].behave(Behaviour(status=401))
        assert (await cortex.complete("hi")).worker == "openai"
        sim["ollama"].behave(Behaviour())
        await cortex.check_health()
        assert (await cortex.complete("hi", worker="openai")).worker == "openai", "a named one is asked"
        assert (await cortex.complete("hi")).worker == "openai", "real traffic outweighs the check"


async def test_the_number_of_concurrent_checks_is_limited(sim: Simulator, autojump_clock: object) -> None:
    workers: dict[str, Any] = {}
    provider = sim.add("openai")
    provider.behave_health(Behaviour(first_token_after=1.0))
    for number in range(3 * MAX_CONCURRENT_CHECKS):
        workers[f"w{number}"] = Config.from_mapping(sim.config()).workers["openai"]
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, provider.in_flight)
            await trio.sleep(0.05)

    async with open_cortex(
        Config(workers=workers, health_check_interval=0), http_transport=sim.transport
    ) as cortex:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            status = await cortex.check_health()
            nursery.cancel_scope.cancel()
    assert status.available_workers == len(workers)
    assert most == MAX_CONCURRENT_CHECKS


async def test_missing_scopes_prove_nothing(sim: Simulator, autojump_clock: object) -> None:
    body = b'{"error":{"message":"You have insufficient permissions. Missing scopes: api.model.read."}}'
    sim.add("openai").behave_health(Behaviour(status=401, error_body=body))
    async with open_gateway(sim) as cortex:
        assert statuses(await cortex.check_health()) == {"openai": ("available", None)}
        assert (await cortex.complete("hi")).worker == "openai"


# ------------------------------------------------------------------ regular rounds


async def test_an_idle_worker_is_checked_in_every_interval(sim: Simulator, autojump_clock: object) -> None:
    sim.add("openai")
    async with open_gateway(sim, health_check_interval=10.0) as cortex:
        await trio.sleep(105)
        assert 9 <= len(sim["openai"].requests) <= 11
        assert (await cortex.health_status()).last_health_check is not None


async def test_with_an_interval_of_zero_there_are_no_checks(sim: Simulator, autojump_clock: object) -> None:
    sim.add("openai")
    async with open_gateway(sim, health_check_interval=0) as cortex:
        await trio.sleep(1000)
        assert sim["openai"].requests == []
        assert (await cortex.health_status()).last_health_check is None


async def test_a_worker_that_has_served_a_request_is_not_checked(
    sim: Simulator, autojump_clock: object
) -> None:
    sim.add("openai")
    sim.add("groq")
    async with open_gateway(sim, health_check_interval=10.0) as cortex:
        for _ in range(20):
            await cortex.complete("hi", worker="openai")
            await trio.sleep(5)
    checks = {name: [r for r in sim[name].requests if r.method == "GET"] for name in ("openai", "groq")}
    assert checks["openai"] == []
    assert len(checks["groq"]) >= 8


async def test_a_worker_that_has_recovered_becomes_available_after_a_check(
    sim: Simulator, autojump_clock: object
) -> None:
    sim.add("openai").behave_health(Behaviour(status=500), Behaviour())
    async with open_gateway(sim) as cortex:
        assert statuses(await cortex.check_health()) == {"openai": ("unavailable", K.SERVER)}
        assert statuses(await cortex.check_health()) == {"openai": ("available", None)}


async def test_a_refused_key_is_used_again_after_a_check_with_it_succeeded(
    sim: Simulator, autojump_clock: object
) -> None:
    provider = sim.add("openai", Behaviour(error=K.CREDENTIAL), Behaviour(text="welcome back"))
    async with open_gateway(sim) as cortex:
        with pytest.raises(Exception, match="credential"):
            await cortex.complete("hi")
        assert statuses(await cortex.health_status()) == {"openai": ("quota_exceeded", K.CREDENTIAL)}
        await cortex.check_health()
        assert (await cortex.complete("hi")).text == "welcome back"
        assert len(provider.requests) == 3


async def test_of_several_refused_keys_each_is_checked_in_some_round(
    sim: Simulator, autojump_clock: object
) -> None:
    provider = sim.add("openai")
    config = sim.config()
    config["openai"]["api_keys"] = ["sk-sim-first-0001", "sk-sim-second-0002"]
    provider.valid_keys = set()
    options = Config(workers=Config.from_mapping(config).workers, health_check_interval=10.0)
    async with open_cortex(options, http_transport=sim.transport) as cortex:
        with pytest.raises(Exception, match="credential"):
            await cortex.complete("hi")
        provider.valid_keys = {"sk-sim-second-0002"}
        await trio.sleep(400)
        assert (await cortex.complete("hi")).attempts[-1].failure is None
