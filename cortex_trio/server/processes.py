"""Several processes that serve one port: a supervisor of processes, restarted one for one. Serves nothing itself.

    cortex-trio serve --workers 2
    ├── store        what they share, unless they have a store of their own
    ├── worker-1     cortex-trio serve --listen-fd 3 --spare-fd 4
    └── worker-2     cortex-trio serve --listen-fd 4 --spare-fd 3

The supervisor opens a listening socket for each process, all with one port (SO_REUSEPORT), so that Linux gives each the
same share of the clients; a socket that all accept from gives them to the process that wakes first. Each
process inherits the sockets of all. A process that dies loses the requests that it had accepted and no others: clients
that wait at its socket are accepted by another process, as are those of a process that is busy or drains.

The supervisor holds the standard input of each process open: when the supervisor is gone, they drain. A process that
ends before it has listened ends them all: its configuration is that of the others, and no restart changes it.
"""

from __future__ import annotations

import logging
import math
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import final

import trio

from ..otp import Backoff, Child, DynamicSupervisor, Ref, Supervisor, Task, open_tree
from ..otp.nursery import open_flat_nursery
from .listener import listen
from .parent_store import ParentStore

log = logging.getLogger("cortex_trio.server")

BACKOFF = Backoff(first=0.2, most=10.0)
KILL_SECONDS = 2.0
"""After the grace: for a process to end."""
REAP_SECONDS = 5.0
"""For a process that was killed: one that waits for a disk ends later."""
START_SECONDS = 60.0
"""For all processes to listen."""
READY = b"listening on "
MOST_LINE = 10_000
"""Bytes of a line of output that are kept."""


class _Workers(DynamicSupervisor):
    """Stops its children at the same time: all of them drain together."""

    def __init__(self, children: Sequence[Child[Task[None]]]) -> None:
        super().__init__()
        self._listed = children

    async def init(self) -> None:
        for child in self._listed:
            await self.start_child(child)


@final
class Processes:
    """The processes of one server.

    Args:
        arguments: of `cortex-trio`, for each process.
        sockets: of each process, that listen.
        grace: seconds that a process has to end.
        store: serves what they share; None: they have a store of their own.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        sockets: Sequence[Sequence[socket.socket]],
        grace: float,
        store: Child[Task[None]] | None = None,
    ) -> None:
        self._arguments = arguments
        self._descriptors = [[one.fileno() for one in own] for own in sockets]
        self._refs: list[Ref[Task[None]]] = [Ref(f"worker-{index + 1}") for index in range(len(sockets))]
        self._grace = grace
        self._store = store
        self._running: dict[str, trio.Process] = {}
        self._listening: set[str] = set()  # those that listen now
        self._reloads = 0
        self._has_started = trio.Event()
        self._start_status = 0
        self.url = ""  # "" until a process listens

    def supervisor(self) -> Supervisor:
        """Return the root of the tree."""
        children = [self._child(ref, own) for ref, own in zip(self._refs, self._descriptors, strict=True)]
        workers = Child(ref=Ref("workers"), start=lambda: _Workers(children), shutdown=math.inf)
        return Supervisor([workers] if self._store is None else [self._store, workers])

    async def wait_started(self) -> int:
        """Wait until all processes listen. Returns 0, or the status of one that has ended before it listened."""
        await self._has_started.wait()
        return self._start_status

    def reload(self) -> None:
        """Let all processes read the configuration again. One that is starting does so as soon as it listens."""
        self._reloads += 1
        for name in self._listening:
            self._running[name].send_signal(signal.SIGHUP)

    def _child(self, ref: Ref[Task[None]], own: Sequence[int]) -> Child[Task[None]]:
        return Child(
            ref=ref, start=lambda: Task(self._run, ref.name, own), backoff=BACKOFF, shutdown=math.inf
        )

    async def _run(self, name: str, own: Sequence[int]) -> None:
        """Run one process until it ends. A stop of the tree drains it."""
        descriptors = [one for each in self._descriptors for one in each]
        sockets = [f"--{'listen' if one in own else 'spare'}-fd={one}" for one in descriptors]
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "cortex_trio", *self._arguments, *sockets],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=descriptors,
            start_new_session=True,  # Ctrl-C in a terminal is for the supervisor, which drains all of them
        )
        self._running[name] = process
        try:
            # Its output may end later: a program that it has started may hold that open.
            async with open_flat_nursery() as nursery:
                nursery.start_soon(self._read_output, name, process)
                status = await process.wait()
                nursery.cancel_scope.cancel()
            # Below 0 a signal has ended it, and it may listen when it is started again.
            if name not in self._listening and status > 0 and not self._has_started.is_set():
                self._start_status = status
                self._has_started.set()
            log.error("%s has ended with status %d", name, status)
        finally:
            del self._running[name]
            is_listening = name in self._listening
            self._listening.discard(name)
            with trio.move_on_after(self._grace + KILL_SECONDS, shield=True):
                await _drain(process, is_listening=is_listening)
            with trio.move_on_after(REAP_SECONDS, shield=True):
                await _kill(process)

    async def _read_output(self, name: str, process: trio.Process) -> None:
        assert process.stdout is not None
        line, reloads = b"", self._reloads
        async for data in process.stdout:
            *lines, line = (line + data).split(b"\n")
            for ready in (each for each in lines if each.startswith(READY)):
                self.url = ready.removeprefix(READY).decode()
                self._listening.add(name)
                if reloads != self._reloads:
                    process.send_signal(signal.SIGHUP)
                if len(self._listening) == len(self._refs):
                    self._has_started.set()
            line = line[:MOST_LINE]


async def _drain(process: trio.Process, *, is_listening: bool) -> None:
    """Wait for a process to drain. The end of its input means that all of them do, a signal that it does alone."""
    if process.stdin is not None:
        await trio.aclose_forcefully(process.stdin)
    if process.returncode is None:
        if not is_listening:
            process.terminate()
        await process.wait()


async def _kill(process: trio.Process) -> None:
    """End a process that has not ended by itself, and close its pipes."""
    if process.returncode is None:
        process.kill()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            await trio.aclose_forcefully(stream)
    await process.wait()


def listen_for(host: str, port: int, number: int) -> Sequence[Sequence[socket.socket]]:
    """Open the listening sockets of so many processes, see `listen`."""
    # At first not shared: the clients of a server that listens there already must stay its own.
    unshared = listen(host, port)
    bound: int = unshared[0].getsockname()[1]
    for one in unshared:
        one.close()
    return [listen(host, bound, is_shared=True) for _ in range(number)]


async def supervise(
    arguments: Sequence[str],
    *,
    host: str,
    port: int,
    number: int,
    grace: float,
    signals: Sequence[int],
    has_store: bool = False,
) -> int:
    """Run the processes until one of `signals`; SIGHUP is passed on to them.

    Returns 0; if one ends before it has listened its status; if not all listen in time, 1.

    Args:
        arguments: of `cortex-trio`, for each process.
        host: of the server.
        port: 0: one that is free.
        number: of processes.
        grace: seconds that a process has to end.
        signals: that end all of them.
        has_store: whether they have a store of their own; otherwise they share through the memory of this process.
    """
    # The receiver is left last: signals that it has not returned are delivered again then, and end this process.
    with trio.open_signal_receiver(signal.SIGHUP, *signals) as received, ExitStack() as stack:
        sockets = listen_for(host, port, number)
        for one in chain.from_iterable(sockets):
            stack.enter_context(one)
        store = None
        if not has_store:
            shared = stack.enter_context(ParentStore())
            shared.listen()
            arguments, store = [*arguments, "--store-socket", shared.path], shared.child()
        processes = Processes(arguments, sockets, grace, store)
        async with open_flat_nursery() as outer:
            until_stopped, status = trio.CancelScope(), 0
            outer.start_soon(_receive_signals, received, processes, signals, until_stopped)
            async with open_tree(processes.supervisor()):
                with until_stopped:
                    status = await _announce(processes)
                    if status == 0:
                        await trio.sleep_forever()
            outer.cancel_scope.cancel()
    return status


async def _receive_signals(
    received: AsyncIterator[int], processes: Processes, signals: Sequence[int], scope: trio.CancelScope
) -> None:
    """Cancel `scope` at one of `signals`, which changes nothing the second time; reload at SIGHUP."""
    async for caught in received:
        if caught in signals:
            scope.cancel()
        else:
            processes.reload()


async def _announce(processes: Processes) -> int:
    """Print the address when all processes listen. Returns 0, or the status to end with if they do not."""
    status = 1
    with trio.move_on_after(START_SECONDS) as limit:
        status = await processes.wait_started()
    if limit.cancelled_caught:
        log.error("not all processes listen after %g s", START_SECONDS)
    elif status == 0:
        print(f"listening on {processes.url}", flush=True)
    return status
