"""How the function of a tool is called: a sync one in a thread, an async one in the task, both with their context."""

import functools
import threading
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest
import trio
import trio.testing

from cortex_trio import Tool, ToolAbort, ToolCall, run_tools
from cortex_trio.conversation.calling import is_async
from cortex_trio.conversation.toolbox import Toolbox
from cortex_trio.simulator import Behaviour, open_gateway, open_simulator

USER: ContextVar[str] = ContextVar("user", default="none")


async def result_of(tool: Callable[..., Any] | Tool, arguments: str = "{}") -> Any:
    toolbox = Toolbox([tool])
    call = ToolCall("call_1", toolbox.tools[0].name, arguments)
    return (await toolbox.result_of(call, was_cut=False)).content


async def test_a_sync_tool_that_blocks_does_not_block_other_tasks() -> None:
    entered, left = threading.Event(), threading.Event()

    def wait() -> str:
        """Block until another task of the same event loop goes on."""
        entered.set()
        return "free" if left.wait(10) else "the event loop was blocked"

    async def release() -> None:
        while not entered.is_set():
            await trio.lowlevel.checkpoint()
        left.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(release)
        assert await result_of(wait) == "free"


async def test_sync_tools_of_one_round_run_side_by_side() -> None:
    both = threading.Barrier(2, timeout=10)

    def meet() -> str:
        """Wait for the other call."""
        both.wait()
        return "met"

    two = [ToolCall("call_1", "meet", "{}"), ToolCall("call_2", "meet", "{}")]
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="", tool_calls=two), Behaviour(text="Done."))
        async with open_gateway(sim) as cortex:
            reply = await run_tools(cortex, "Hi", [meet])
    assert [result.content for result in reply.rounds[0].results] == ["met", "met"]


@pytest.mark.parametrize("is_sync", [True, False])
async def test_a_tool_sees_the_context_variables_of_its_caller(is_sync: bool) -> None:
    def sync_tool() -> str:
        return USER.get()

    async def async_tool() -> str:
        return USER.get()

    token = USER.set("ada")
    try:
        assert await result_of(sync_tool if is_sync else async_tool) == "ada"
    finally:
        USER.reset(token)


async def test_virtual_time_stands_still_while_a_sync_tool_works(
    autojump_clock: trio.testing.MockClock,
) -> None:
    work = threading.Event()

    def compute() -> str:
        """Take real time."""
        work.wait(0.05)
        return "done"

    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep, 60)  # what the clock would jump to
        assert await result_of(compute) == "done"
        assert trio.current_time() == started
        nursery.cancel_scope.cancel()


async def test_virtual_time_goes_on_while_an_async_tool_waits(autojump_clock: trio.testing.MockClock) -> None:
    async def pause() -> str:
        await trio.sleep(60)
        return "done"

    assert await result_of(pause) == "done"
    assert trio.current_time() >= 60


async def test_cancelling_does_not_wait_for_a_sync_tool() -> None:
    entered, left = threading.Event(), threading.Event()

    def hang() -> None:
        entered.set()
        left.wait(10)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(result_of, hang)
        while not entered.is_set():
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert not left.is_set()
    left.set()


async def test_cancelling_with_a_virtual_clock_does_not_wait_either(
    autojump_clock: trio.testing.MockClock,
) -> None:
    left = threading.Event()
    with trio.CancelScope() as scope:

        def hang() -> None:
            trio.from_thread.run_sync(scope.cancel)
            left.wait(10)

        await result_of(hang)
    assert scope.cancelled_caught
    left.set()


@pytest.mark.parametrize("virtual", [True, False])
async def test_what_a_sync_tool_raises_comes_out_as_it_is(
    virtual: bool, request: pytest.FixtureRequest
) -> None:
    if virtual:
        request.getfixturevalue("autojump_clock")

    def stop() -> None:
        raise ToolAbort("stop")

    def fail() -> None:
        raise LookupError("no such city")

    with pytest.raises(ToolAbort, match="stop"):
        await result_of(stop)
    assert await result_of(fail) == "LookupError: no such city"


async def test_a_custom_tool_that_is_sync_runs_in_a_thread_too() -> None:
    tool = Tool("run", "", kind="custom", function=lambda text: threading.current_thread().name)
    call = ToolCall("call_1", "run", "1 + 1", kind="custom")
    name = (await Toolbox([tool]).result_of(call, was_cut=False)).content
    assert name != threading.current_thread().name


class Search:
    async def __call__(self, query: str) -> str:
        return query

    async def method(self, query: str) -> str:
        return query

    def sync(self, query: str) -> str:
        return query


def logged(function: Callable[..., Awaitable[str]]) -> Callable[..., Awaitable[str]]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Awaitable[str]:
        return function(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (Search(), True),
        (Search().method, True),
        (functools.partial(Search().method, "x"), True),
        (functools.partial(functools.partial(Search()), "x"), True),
        (logged(Search().method), True),
        (Search().sync, False),
        (functools.partial(Search().sync, "x"), False),
        (len, False),
    ],
)
def test_an_async_function_is_recognised_in_every_form(function: Callable[..., Any], expected: bool) -> None:
    assert is_async(function) is expected


async def test_an_async_tool_runs_in_the_task_of_its_caller() -> None:
    async def where() -> str:
        return threading.current_thread().name

    assert await result_of(where) == threading.current_thread().name
