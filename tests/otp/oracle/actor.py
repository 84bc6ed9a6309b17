"""The worker of the oracle's scenarios: it behaves as in its spec and logs the requests it gets.

It knows nothing of its tree. Counterpart: the gen_server callbacks in `oracle.erl`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from cortex_trio.otp import (
    CallingSelf,
    Crashed,
    Deferred,
    ExitReason,
    GenServer,
    Ignore,
    Killed,
    MaxRestartsExceeded,
    Normal,
    Shutdown,
    StartFailed,
    Stop,
)

if TYPE_CHECKING:
    from .replay import Harness


class Failure(Exception):
    """The crash the oracle calls `word`."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


class Actor(GenServer):
    """Its spec has what it does in init, handle_continue and terminate; its messages have the other actions."""

    def __init__(self, harness: Harness, spec: dict[str, Any]) -> None:
        self.harness = harness
        self.spec = spec
        self.deferred: Deferred[str] = Deferred()

    async def init(self) -> None:
        incarnation = self.harness.count_incarnation(self.ref.name)
        self.harness.events.append(["init", self.ref.name])
        script = self.spec["init"]
        await self._init_as(script[min(incarnation, len(script)) - 1])

    async def _init_as(self, manner: Any) -> None:
        match manner:
            case "crash":
                raise Failure("bad_init")
            case "ignore":
                raise Ignore
            case ["stop", reason]:
                await self.leave(reason)
            case ["takes", ms, then]:
                await trio.sleep(ms / 1000)
                await self._init_as(then)

    async def handle_continue(self) -> None:
        match self.spec["continue"]:
            case "crash":
                raise Failure("crash")
            case ["takes", ms]:
                await trio.sleep(ms / 1000)
                self.harness.events.append(["continued", self.ref.name])

    async def receive(self, message: str) -> object:
        self.harness.events.append(["handled", self.ref.name, message])
        match message:
            case "hold":
                await self.harness.wait_released(self.ref.name)
                return "released"
            case "hold_then_crash":
                await self.harness.wait_released(self.ref.name)
                raise Failure("crash")
            case "crash":
                raise Failure("crash")
            case "stop":
                raise Stop(Normal())
            case "stop_with_reply":
                raise Stop(Normal(), reply="bye")
            case "defer":
                return self.deferred
            case "settle":
                self.deferred.reply("settled")
                return "ok"
            case "call_yourself":
                try:
                    await self.ref.call(Actor.receive, "anything")
                except CallingSelf:
                    return "calling_self"
        return message

    async def note(self, message: str) -> None:
        await self.receive(message)

    async def leave(self, reason: Any) -> None:
        match reason:
            case "normal":
                raise Stop(Normal())
            case "shutdown":
                raise Stop(Shutdown())
            case ["shutdown", info]:
                raise Stop(Shutdown(info))
            case "crash":
                raise Failure("crash")

    async def terminate(self, reason: ExitReason) -> None:
        self.harness.events.append(["terminate", self.ref.name, in_words(reason)])
        match self.spec["terminate"]:
            case "crash":
                raise Failure("bad_cleanup")
            case "normal":
                raise Stop(Normal())
            case ["takes", ms]:
                await trio.sleep(ms / 1000)
                self.harness.events.append(["cleaned_up", self.ref.name])


def in_words(reason: ExitReason) -> object:
    """An exit reason as the oracle writes it."""
    match reason:
        case Normal():
            return "normal"
        case Shutdown(info=None | MaxRestartsExceeded()):
            return "shutdown"
        case Shutdown(info):
            return ["shutdown", info]
        case Killed():
            return "killed"
        case Crashed(Failure() as failure):
            return failure.word
        case Crashed(StartFailed() as error):
            return ["failed_to_start_child", error.child]
        case Crashed(error):
            return f"unexpected {error!r}"
