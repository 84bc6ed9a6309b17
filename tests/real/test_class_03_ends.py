"""No state without an end: one 404, 403, 401 or spent quota costs minutes, and nothing costs more than an hour."""

from contextlib import suppress
from itertools import pairwise

import pytest
import trio
from raw_bytes import MODEL, TEXT, error, http, said
from raw_server import Play, World, play

from cortex_trio import Cortex, CortexError

MINUTE, HOUR = 60.0, 3600.0
NO_MODEL = error(f"The model `{MODEL}` does not exist", "invalid_request_error", "model_not_found")
NO_REGION = error(
    "Country, region, or territory not supported",
    "request_forbidden",
    "unsupported_country_region_territory",
)
NO_KEY = error("Incorrect API key provided", "invalid_request_error", "invalid_api_key")
NO_CREDIT = error(
    "You exceeded your current quota, please check your plan", "insufficient_quota", "insufficient_quota"
)
REFUSALS: dict[str, Play] = {
    "404 model not found": play(http(404, NO_MODEL)),
    "410 gone": play(http(410, error("This model was removed"))),
    "403 permission": play(http(403, error("This key may not use the model", "permission_error"))),
    "403 region": play(http(403, NO_REGION)),
    "401 key": play(http(401, NO_KEY)),
    "401 without a word": play(http(401)),
    "402 quota": play(http(402, error("Payment required"))),
    "429 quota": play(http(429, NO_CREDIT)),
}
LONG = {"401 key", "401 without a word", "402 quota", "429 quota"}
"""These rest for 15 minutes where another worker can serve; the others for one."""
EVERY = [pytest.param(case, id=name) for name, case in REFUSALS.items()]


async def seconds_until_served(cortex: Cortex, step: float, most: float, worker: str | None = None) -> float:
    """Ask every `step` seconds until `worker` (None: any) serves; more than `most` is a failure."""
    start = trio.current_time()
    while trio.current_time() - start <= most:
        with suppress(CortexError):
            reply = await cortex.complete("Hi")
            assert reply.text == TEXT
            if worker in (None, reply.worker):
                return trio.current_time() - start
        await trio.sleep(step)
    raise AssertionError(f"not served by {worker or 'its only worker'} within {most:g} s")


@pytest.mark.parametrize("refusal", EVERY)
async def test_a_lone_worker_is_tried_again_after_a_minute_and_serves(
    memory: World, refusal: Play, autojump_clock: object
) -> None:
    server = memory.server(chat=[refusal])
    async with memory.gateway() as cortex:
        with pytest.raises(CortexError):
            await cortex.complete("Hi")
        await seconds_until_served(cortex, 10, 2 * MINUTE)
        first, second = server.asked_at
        assert second - first >= MINUTE
        for _ in range(3):
            assert (await cortex.complete("Hi")).text == TEXT


@pytest.mark.parametrize(
    "provider", ["anthropic", "gemini", "cohere", "groq", "xai", "openai_responses", "ollama"]
)
@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_lone_worker_is_served_again_within_minutes_in_every_dialect(
    memory: World, provider: str, status: int, autojump_clock: object
) -> None:
    memory.server(provider, chat=[play(http(status, error("refused for a moment")))])
    async with memory.gateway() as cortex:
        with suppress(CortexError):
            await cortex.complete("Hi")
        await seconds_until_served(cortex, 10, 2 * MINUTE)


@pytest.mark.parametrize("refusal", EVERY)
async def test_the_first_error_says_when_it_may_be_asked_again(
    memory: World, refusal: Play, autojump_clock: object
) -> None:
    memory.server(then_chat=refusal)
    async with memory.gateway() as cortex:
        for _ in range(2):
            with pytest.raises(CortexError) as caught:
                await cortex.complete("Hi")
        retry_after = getattr(caught.value, "retry_after", None)
        assert retry_after is not None
        assert 0 < retry_after <= HOUR


@pytest.mark.parametrize("refusal", EVERY)
async def test_it_is_asked_at_once_after_a_requested_check(
    memory: World, refusal: Play, autojump_clock: object
) -> None:
    memory.server(chat=[refusal])
    async with memory.gateway() as cortex:
        with pytest.raises(CortexError):
            await cortex.complete("Hi")
        await cortex.check_health()
        begin = trio.current_time()
        assert (await cortex.complete("Hi")).text == TEXT
        assert trio.current_time() - begin < 1


@pytest.mark.parametrize("refusal", EVERY)
async def test_it_is_asked_at_once_after_a_reload_of_the_same_configuration(
    memory: World, refusal: Play, autojump_clock: object
) -> None:
    server = memory.server(chat=[refusal])
    async with memory.gateway() as cortex:
        with pytest.raises(CortexError):
            await cortex.complete("Hi")
        await cortex.reload(memory.config(server))
        begin = trio.current_time()
        assert (await cortex.complete("Hi")).text == TEXT
        assert trio.current_time() - begin < 1


@pytest.mark.parametrize("name", REFUSALS)
async def test_beside_another_worker_it_is_used_again_when_its_cooldown_is_over(
    memory: World, name: str, autojump_clock: object
) -> None:
    first, second = memory.server(chat=[REFUSALS[name]]), memory.server()
    async with memory.gateway() as cortex:
        assert (await cortex.complete("Hi")).worker == second.name
        most = 16 * MINUTE if name in LONG else 1.5 * MINUTE
        await seconds_until_served(cortex, 10, most, first.name)
        begin, again = first.asked_at[:2]
        assert again - begin >= (15 * MINUTE if name in LONG else MINUTE)


async def test_a_round_of_checks_that_lists_the_model_ends_its_cooldown(
    memory: World, autojump_clock: object
) -> None:
    first, second = memory.server(chat=[REFUSALS["404 model not found"]]), memory.server()
    async with memory.gateway(health_check_interval=10) as cortex:
        assert (await cortex.complete("Hi")).worker == second.name
        await seconds_until_served(cortex, 1, 25, first.name)


@pytest.mark.slow
@pytest.mark.parametrize("refusal", EVERY)
async def test_however_often_it_refuses_it_is_tried_every_hour(
    memory: World, refusal: Play, autojump_clock: object
) -> None:
    server = memory.server(then_chat=refusal)
    async with memory.gateway() as cortex:
        for _ in range(12 * 60):
            with suppress(CortexError):
                await cortex.complete("Hi")
            await trio.sleep(MINUTE)
        asked = server.asked_at
        gaps = [after - before for before, after in pairwise(asked)]
        assert max(gaps, default=13 * HOUR) <= HOUR * 1.1 + 2 * MINUTE
        assert len(asked) < 60, "a worker that refuses is not asked every minute"
        server.then["chat"] = play(said())
        await seconds_until_served(cortex, MINUTE, HOUR * 1.1 + 2 * MINUTE)


async def test_one_refused_key_beside_a_good_one_does_not_change_the_status(
    memory: World, autojump_clock: object
) -> None:
    memory.server(chat=[REFUSALS["401 key"]])
    keys = ["sk-raw-first-0123456789", "sk-raw-other-0123456789"]
    async with memory.gateway(worker={"api_keys": keys}) as cortex:
        for _ in range(4):
            assert (await cortex.complete("Hi")).text == TEXT
