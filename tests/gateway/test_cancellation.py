"""Cancelling at any checkpoint leaves nothing behind: no task, no socket, no key on loan, no permit.

Each test walks: the first run is cancelled when its task is about to be scheduled for the first time, the next one
at the second time, and so on, until a run completes before its turn. What is true after every one of them is true
of every checkpoint there is.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from at_rest import gateway, leftovers, nobody_is_connected, settle, worker_of

from cortex_trio import Config, Cortex, CortexError, FailureKind
from cortex_trio.gateway.request.admission import check_out
from cortex_trio.gateway.routing.eligibility import Candidate
from cortex_trio.gateway.runtime import Runtime
from cortex_trio.gateway.startup import open_runtime
from cortex_trio.gateway.workers.worker import Refusal
from cortex_trio.simulator import Behaviour, Simulator, open_simulator

GOOD = Behaviour(text="One two three four.")
BAD = Behaviour(text="Five six seven eight.")
MANY = 2_000
"""Checkpoints no run here comes near: a walk that has not ended by then is going in circles."""
DIALECTS = ("openai", "anthropic", "gemini", "cohere", "ollama")

Run = Callable[[Cortex], Awaitable[None]]


class CancelAt(trio.abc.Instrument):
    """Cancels `scope` the n-th time the task that armed it is about to go on; at once for n = 0."""

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None
        self._scope = trio.CancelScope()
        self._left = 0

    def arm(self, scope: trio.CancelScope, turn: int) -> None:
        self._task, self._scope, self._left = trio.lowlevel.current_task(), scope, turn
        if not turn:
            scope.cancel()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._left -= 1
            if not self._left:
                self._scope.cancel()


async def walk(sim: Simulator, run: Run, *, pause: float = 0, **settings: Any) -> int:
    """Cancel `run` at every checkpoint in turn, `pause` seconds apart; return how many there were."""
    async with gateway(sim, **settings) as cortex:
        return await walk_through(cortex, sim, run, pause)


async def walk_through(cortex: Cortex, sim: Simulator, run: Run, pause: float) -> int:
    """As `walk`, with a gateway that is open already."""
    instrument = CancelAt()
    trio.lowlevel.add_instrument(instrument)
    try:
        quiet = await tasks_beside(sim)
        for turn in range(MANY):
            await trio.sleep(pause)
            with trio.CancelScope() as scope:
                instrument.arm(scope, turn)
                await run(cortex)
            assert await settle(lambda: not leftovers(cortex)), (turn, leftovers(cortex))
            if sim.network is not None:
                assert await tasks_beside(sim) == quiet, f"a task survived turn {turn}"
            if not scope.cancel_called:
                return turn
    finally:
        trio.lowlevel.remove_instrument(instrument)
    raise AssertionError("it never completed")


async def tasks_beside(sim: Simulator) -> int:
    """Tasks of the whole run but for those that serve a connection which is kept for the next request."""
    await trio.testing.wait_all_tasks_blocked()
    kept = sum(provider.open_connections for provider in sim.providers.values())
    return trio.lowlevel.current_statistics().tasks_living - kept


# ------------------------------------------------------------------ a request that goes well


async def chat(cortex: Cortex) -> None:
    async with cortex.chat("Hi") as answer:
        assert "".join([piece async for piece in answer.text()]) == GOOD.text


async def complete(cortex: Cortex) -> None:
    assert (await cortex.complete("Hi")).text == GOOD.text


async def leave_early(cortex: Cortex) -> None:
    async with cortex.chat("Hi") as answer:
        assert await anext(answer)


@pytest.mark.parametrize("run", [chat, complete, leave_early], ids=lambda run: run.__name__)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_request_that_is_cancelled_anywhere_leaves_nothing(
    autojump_clock: trio.testing.MockClock, dialect: str, run: Run
) -> None:
    async with open_simulator() as sim:
        provider = sim.add(dialect, GOOD)
        assert await walk(sim, run) > 10
        assert len(provider.requests) > 3


@pytest.mark.parametrize("run", [chat, complete], ids=lambda run: run.__name__)
async def test_nor_over_a_real_socket(run: Run) -> None:
    async with open_simulator(sockets=True) as sim:
        sim.add("openai", GOOD)
        assert await walk(sim, run) > 10


async def test_a_caller_that_is_cancelled_already_sends_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai", GOOD)
        async with gateway(sim) as cortex:
            for run in (chat, complete, embed, listed, checked):
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await run(cortex)
                assert scope.cancelled_caught, run.__name__
        assert not provider.requests


async def embed(cortex: Cortex) -> None:
    assert await cortex.embed("Hi")


async def listed(cortex: Cortex) -> None:
    assert await cortex.models(worker="openai")


async def checked(cortex: Cortex) -> None:
    assert (await cortex.check_health()).total_workers


@pytest.mark.parametrize("run", [embed, listed, checked], ids=lambda run: run.__name__)
async def test_the_same_holds_for_all_that_asks_a_provider(
    autojump_clock: trio.testing.MockClock, run: Run
) -> None:
    async with open_simulator() as sim:
        sim.add("openai", GOOD)
        assert await walk(sim, run) > 3


# ------------------------------------------------------------------ a request that fails over

FAULTS = {
    "refused": Behaviour(refuse=True),
    "an error that is retried": Behaviour(error=FailureKind.SERVER),
    "a rate limit": Behaviour(error=FailureKind.RATE_LIMIT, retry_after=20),
    "silence": Behaviour(silent=True),
    "cut before the answer": Behaviour(cut_after=0),
    "reset": Behaviour(reset_after=0),
    "cut in the answer": Behaviour(text=BAD.text, cut_after=2),
    "stalled in the answer": Behaviour(text=BAD.text, stall_after=2),
}


def patient(on_interrupt: str, hedge_after: float | None = None) -> Run:
    async def run(cortex: Cortex) -> None:
        options: dict[str, Any] = {"first_token_timeout": 5, "idle_timeout": 5, "hedge_after": hedge_after}
        async with cortex.chat("Hi", on_interrupt=on_interrupt, **options) as answer:
            reply = await answer.collect()
        assert reply.text.endswith(GOOD.text)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("on_interrupt", ["buffer", "restart", "continue"])
async def test_a_call_can_be_cancelled_at_every_checkpoint_of_a_failover(
    autojump_clock: trio.testing.MockClock, fault: str, on_interrupt: str
) -> None:
    async with open_simulator() as sim:
        sim.add("openai", FAULTS[fault])
        sim.add("anthropic", GOOD)
        # Longer than any cooldown: the same course every time.
        assert await walk(sim, patient(on_interrupt), pause=130) > 15


@pytest.mark.parametrize(
    "slow", [Behaviour(silent=True), Behaviour(text=GOOD.text, first_token_after=2)], ids=str
)
async def test_nor_is_hedging(autojump_clock: trio.testing.MockClock, slow: Behaviour) -> None:
    async with open_simulator() as sim:
        sim.add("openai", slow)
        sim.add("anthropic", GOOD)
        assert await walk(sim, patient("raise", hedge_after=1), pause=130) > 3


async def test_failing_over_between_real_sockets() -> None:
    async with open_simulator(sockets=True) as sim:
        sim.add("openai", Behaviour(refuse=True))
        sim.add("anthropic", GOOD)
        assert await walk(sim, patient("buffer")) > 10


# ------------------------------------------------------------------ inside the calls to the actors


def checking_out(runtime: Runtime, disturb: Callable[[Cortex], None]) -> Run:
    """Get a permit and a key, and give them back; `disturb` happens before the actors have answered."""

    async def run(cortex: Cortex) -> None:
        state = runtime.table.workers["openai"]
        disturb(cortex)
        admission = await check_out(runtime, Candidate(state, state.models[0]))
        assert not isinstance(admission, Refusal)
        assert admission.key is not None
        admission.settle_unsent(runtime)

    return run


DISTURBANCES: dict[str, Callable[[Cortex], None]] = {
    "nothing": lambda cortex: None,
    "the key manager dies": lambda cortex: cortex.actor("keys").kill(),
    "the worker dies": lambda cortex: cortex.actor("openai").kill(),
}


@pytest.mark.parametrize("disturbance", DISTURBANCES)
async def test_a_call_that_is_cancelled_while_it_asks_for_a_key_holds_none(
    autojump_clock: trio.testing.MockClock, disturbance: str
) -> None:
    async with open_simulator() as sim:
        workers = {"openai": worker_of(sim.add("openai", GOOD), max_concurrency=1)}
        config = Config(workers=workers, health_check_interval=0)
        async with open_runtime(config, http_transport=sim.transport) as runtime:
            run = checking_out(runtime, DISTURBANCES[disturbance])
            assert await walk_through(Cortex(runtime), sim, run, pause=10) > 1


@pytest.mark.parametrize("change", ["add_worker", "remove_worker"])
async def test_changing_the_pool_can_be_cancelled_and_tried_again(
    autojump_clock: trio.testing.MockClock, change: str
) -> None:
    """Cancelled or not, in the end the worker is there as a whole or not at all, and either can be undone."""
    async with open_simulator() as sim:
        sim.add("openai", GOOD)
        second = worker_of(sim.add("anthropic", GOOD))

        async def run(cortex: Cortex) -> None:
            if change == "add_worker":
                await cortex.add_worker("second", second)
            else:
                await cortex.remove_worker("second")

        async with gateway(sim, {"first": worker_of(sim["openai"])}) as cortex:
            instrument = CancelAt()
            trio.lowlevel.add_instrument(instrument)
            for turn in range(MANY):
                await bring(cortex, second, there=change == "remove_worker")
                with trio.CancelScope() as scope:
                    instrument.arm(scope, turn)
                    await run(cortex)
                await trio.testing.wait_all_tasks_blocked()
                names = [info.name for info in await cortex.list_workers()]
                assert ("second" in names) == ("second" in cortex.tree()), (turn, names, cortex.tree())
                if not scope.cancel_called:
                    break
            trio.lowlevel.remove_instrument(instrument)
            assert turn > 2
    assert await settle(lambda: nobody_is_connected(sim))


async def bring(cortex: Cortex, second: Any, *, there: bool) -> None:
    """Have the second worker, or not, whatever was left half done."""
    names = [info.name for info in await cortex.list_workers()]
    if there and "second" not in names:
        await cortex.add_worker("second", second)
    elif not there and "second" in names:
        await cortex.remove_worker("second")
    if there:
        assert (await cortex.complete("Hi", worker="second")).text == GOOD.text
    else:
        with pytest.raises(CortexError, match="no worker 'second'"):
            await cortex.complete("Hi", worker="second")
