"""The exam for gateways with an endpoint, in each API that clients speak, in virtual time.

The primary speaks the client's API and the fallback another one, so an answer comes from either lane.
"""

import attrs
import pytest
import trio
import trio.testing
from api_clients import CHAT, GEMINI, MESSAGES, NAMES, RESPONSES, Client, RecordingExchange

from cortex_trio import Cortex
from cortex_trio.events import Finished, TextDelta
from cortex_trio.failures import Failure, FailureKind
from cortex_trio.lab.exam.outside import FALLBACK_MODEL, PRIMARY_MODEL, OutsideSetup, Received
from cortex_trio.lab.exam.outside_scenarios import OUTSIDE, OutsideScenario, run_outside
from cortex_trio.server.api.routes import ApiRoutes
from cortex_trio.simulator import open_gateway, open_simulator

CLIENTS = (CHAT, RESPONSES, MESSAGES, GEMINI)


@attrs.define(kw_only=True)
class ApiSetup(OutsideSetup):
    """Asks the routes in one API."""

    client: Client = CHAT
    streams: bool = True
    cortex: Cortex | None = None

    async def request(self) -> Received:
        assert self.cortex is not None
        began, exchange = trio.current_time(), RecordingExchange()
        request = self.client.request(model="auto", stream=self.streams)
        await ApiRoutes(self.cortex).answer(request, exchange, None)
        return self._received(exchange, trio.current_time() - began)

    def _received(self, exchange: RecordingExchange, seconds: float) -> Received:
        """Read it as a client of the API does: a stream without a last event or an error passes for whole."""
        model = exchange.headers.get("x-cortex-model")
        if exchange.status != 200 or b"promptFeedback" in exchange.body:  # Gemini's refusal has status 200
            return Received(exchange.status, "", False, model, exchange.body.decode()[:200], seconds)
        decoder = self.client.dialect.decoder()
        if self.streams:
            events = [*decoder.feed(exchange.body), *decoder.finish()]
        else:
            events = self.client.dialect.decode_reply(exchange.body)
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        last = events[-1]
        kind = last.kind if isinstance(last, Failure) else None
        assert kind is not None or isinstance(last, Finished)
        error = str(last) if kind not in (None, FailureKind.TRUNCATED) else None
        return Received(200, text, kind is FailureKind.PROTOCOL, model, error, seconds)


@pytest.mark.parametrize("client", CLIENTS, ids=NAMES[:4])
@pytest.mark.parametrize(
    "streams", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["stream", "whole"]
)
@pytest.mark.parametrize("scenario", OUTSIDE, ids=lambda scenario: scenario.number)
async def test_it_passes(
    scenario: OutsideScenario, client: Client, streams: bool, autojump_clock: trio.testing.MockClock
) -> None:
    if scenario.number == "S07" and not streams:
        pytest.skip("a whole answer has no first token")
    async with open_simulator() as sim:
        primary = sim.add("primary", provider=client.provider, models=[PRIMARY_MODEL])
        other = "anthropic" if client is not MESSAGES else "openai"
        fallback = sim.add("fallback", provider=other, models=[FALLBACK_MODEL])
        checks = 10 if scenario.number == "S33" else 0
        workers = {
            provider.name: provider.worker(priority=place, timeout=30)
            for place, provider in enumerate((primary, fallback))
        }
        async with open_gateway(sim, workers, health_check_interval=checks) as cortex:
            setup = ApiSetup("", primary, fallback, client=client, streams=streams, cortex=cortex)
            if not streams:
                setup.timeout += 120  # what is not streamed may take as long as its content
            assert await run_outside(scenario, setup) is None
