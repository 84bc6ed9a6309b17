"""How a gateway ends when it is interrupted, or when a transport of the user cannot be closed."""

from contextlib import suppress

import httpx
import pytest
import trio
import trio.testing

from cortex_trio import FailureKind, ProviderError, WorkerConfig, WorkerStatusChanged, open_cortex
from cortex_trio.simulator import Behaviour, open_simulator


async def test_an_interrupt_in_an_actor_is_raised_as_itself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def interrupt(event: object) -> None:
        if isinstance(event, WorkerStatusChanged):  # emitted by the worker's actor
            raise KeyboardInterrupt

    async with open_simulator() as sim:
        sim.add("openai", Behaviour(error=FailureKind.CREDENTIAL))

        async def run() -> None:
            async with open_cortex(sim.config(), http_transport=sim.transport, on_event=interrupt) as cortex:
                with suppress(ProviderError):
                    await cortex.complete("Hi")
                await trio.sleep_forever()

        with pytest.raises(KeyboardInterrupt):
            await run()
        assert not sim["openai"].open_connections


async def test_a_transport_that_cannot_be_closed_does_not_keep_others_open(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    closed: list[str] = []

    class Stubborn(httpx.MockTransport):
        def __init__(self, worker: WorkerConfig) -> None:
            super().__init__(lambda request: httpx.Response(500))
            self.model = worker.models[0]

        async def aclose(self) -> None:
            closed.append(self.model)
            if self.model == "first":
                raise OSError("no")

    workers = {name: {"provider": "ollama", "models": [name]} for name in ("first", "second")}
    async with open_cortex(workers, http_transport=Stubborn):
        pass
    assert closed == ["first", "second"]
    assert "could not be closed" in caplog.text
