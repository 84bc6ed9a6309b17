"""Plays a scenario of the oracle on our kernel and writes down what happened, in the oracle's terms.

It judges nothing: `test_oracle.py` compares. The language of scenarios is explained in `scenarios.terms`;
`Harness` is the counterpart of `oracle.erl`, but for its worker, which is `Actor`.
"""

import math
from collections import Counter
from collections.abc import Awaitable
from typing import Any

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from cortex_trio.otp import (
    BRUTAL_KILL,
    ActorExited,
    AlreadyPresent,
    AlreadyStarted,
    AutoShutdown,
    Child,
    DynamicSupervisor,
    GenServer,
    MaxRestartsExceeded,
    Monitor,
    NoProcess,
    NotFound,
    Ref,
    Report,
    ReportKind,
    Restart,
    Restarting,
    StartFailed,
    Strategy,
    Supervisor,
    run,
)

from .actor import Actor, in_words

FOREVER = 3600.0
"""Virtual seconds after which a scenario is stuck."""


@attrs.frozen
class Step:
    """What was done, and what it led to: `events` in order, `outcomes` in no particular one."""

    do: list[Any]
    events: list[Any]
    outcomes: list[Any]


async def play(scenario: dict[str, Any], defaults: dict[str, dict[str, Any]]) -> list[Step]:
    """Every step of a recorded scenario, done here. Needs a clock that jumps."""
    with trio.fail_after(FOREVER):
        async with trio.open_nursery() as nursery:
            harness = Harness(nursery, scenario["tree"], defaults)
            steps = [await harness.play_step(step["do"]) for step in scenario["steps"]]
            nursery.cancel_scope.cancel()  # no process should be left
    return steps


class Harness:
    """One scenario while it is played: its tree, its clients, and what they all did in this step."""

    def __init__(self, nursery: trio.Nursery, tree: dict[str, Any], defaults: dict[str, Any]) -> None:
        self.nursery = nursery
        self.tree = tree
        self.defaults = defaults
        self.events: list[Any] = []
        self.outcomes: list[Any] = []
        self.root_scope = trio.CancelScope()
        self.root_ended = trio.Event()
        self._incarnations: Counter[str] = Counter()
        self._refs: dict[str, Ref[Any]] = {}
        self._holds: dict[str, trio.Event] = {}

    async def play_step(self, do: list[Any]) -> Step:
        self.events, self.outcomes = [], []
        await self._answer("driver", do)
        await wait_all_tasks_blocked()
        return Step(do, self.events, self.outcomes)

    def count_incarnation(self, name: str) -> int:
        self._incarnations[name] += 1
        return self._incarnations[name]

    async def wait_released(self, name: str) -> None:
        self._holds[name] = trio.Event()
        await self._holds[name].wait()

    # ---------------------------------------------------------------- steps

    async def _answer(self, who: str, do: list[Any]) -> None:
        answer = await self._perform(do)
        if answer is not None:
            self.outcomes.append(["answer", who, answer])

    async def _perform(self, do: list[Any]) -> object:
        match do:
            case ["client", who, step]:
                self.nursery.start_soon(self._answer, who, step)
            case ["wait", ms]:
                await trio.sleep(ms / 1000)
            case ["exit", name, reason]:
                self._ref(name).cast(Actor.leave, reason)
            case ["kill", name]:
                self._ref(name).kill()
            case ["release", name]:
                self._holds[name].set()
            case ["start"]:
                return await self._start()
            case ["stop", _]:
                self.root_scope.cancel()
                await self.root_ended.wait()
                return "shutdown"
            case ["call", name, message]:
                return await self._call(name, message)
            case ["cast", name, message]:
                self._ref(name).cast(Actor.note, message)
                return "ok"
            case ["which_children", supervisor]:
                infos = await self._ref(supervisor).call(Supervisor.which_children)
                kinds = {True: "supervisor", False: "worker"}
                return [[info.id, str(info.state), kinds[info.is_supervisor]] for info in infos]
            case [request, supervisor, subject]:
                return await self._request(request, self._ref(supervisor), subject)
        return None

    async def _start(self) -> object:
        try:
            root = self._supervisor(self.tree)
        except ValueError as error:
            (twice,) = [word for word in str(error).split("'") if word in self._refs]
            return ["duplicate_child_name", twice]
        try:
            await self.nursery.start(self._run_root, root)
        except StartFailed as error:
            return ["failed_to_start_child", error.child]
        return "ok"

    async def _run_root(self, root: Supervisor, task_status: trio.TaskStatus[Ref[Supervisor]]) -> None:
        """How `run` ends is how the root exits: orderly, having given up, or not having started."""
        reason: object = "shutdown"
        try:
            with self.root_scope:
                await run(root, ref=self._ref(self.tree["id"]), task_status=task_status)
        except MaxRestartsExceeded:
            pass  # OTP's reason is shutdown then, too
        except StartFailed as error:
            reason = ["failed_to_start_child", error.child]
            raise
        finally:
            self.outcomes.append(["exit", self.tree["id"], reason])
            self.root_ended.set()

    async def _call(self, name: str, message: str) -> object:
        try:
            return await self._ref(name).call(Actor.receive, message)
        except NoProcess:
            return ["exit", "noproc"]
        except ActorExited as error:
            return ["exit", in_words(error.reason)]

    async def _request(self, request: str, supervisor: Ref[Any], subject: Any) -> object:
        match request:
            case "start_child":
                child = self._child(subject)
                return await ask(supervisor.call(Supervisor.start_child, child), child.ref, "already_started")
            case "start_instance":
                child = self._child(self._template_of(supervisor.name) | subject)
                return await ask(
                    supervisor.call(DynamicSupervisor.start_child, child), child.ref, "already_started"
                )
            case "terminate_instance":
                return await ask(supervisor.call(DynamicSupervisor.terminate_child, self._ref(subject)))
            case "restart_child":
                return await ask(supervisor.call(Supervisor.restart_child, subject), self._ref(subject))
            case "terminate_child":
                return await ask(supervisor.call(Supervisor.terminate_child, subject))
            case "delete_child":
                return await ask(supervisor.call(Supervisor.delete_child, subject))
            case _:
                raise ValueError(f"unknown step {request!r}")

    # ---------------------------------------------------------------- the tree

    def _ref(self, name: str) -> Ref[Any]:
        return self._refs.setdefault(name, Ref(name))

    def _child(self, spec: dict[str, Any]) -> Child[Any]:
        ref = self._ref(spec["id"])
        is_supervisor = "children" in spec
        spec = self.defaults["supervisor" if is_supervisor else "worker"] | spec

        def start() -> GenServer:  # runs in the new process
            self.nursery.start_soon(self._watch, ref.monitor())
            return self._supervisor(spec) if is_supervisor else Actor(self, spec)

        return Child(
            ref=ref,
            start=start,
            restart=Restart(spec["restart"]),
            shutdown=seconds_of(spec["shutdown"]),
            significant=spec["significant"],
        )

    def _supervisor(self, spec: dict[str, Any]) -> Any:
        spec = self.defaults["supervisor"] | spec
        limits = {"max_restarts": spec["intensity"], "max_seconds": spec["period"]}
        if spec["strategy"] == "simple_one_for_one":
            return DynamicSupervisor(**limits, report=self._on_report)
        return Supervisor(
            [self._child(child) for child in spec["children"]],
            strategy=Strategy(spec["strategy"]),
            auto_shutdown=AutoShutdown(spec["auto_shutdown"]),
            report=self._on_report,
            **limits,
        )

    def _template_of(self, name: str) -> dict[str, Any]:
        """The child spec of a simple_one_for_one supervisor, which stands right below the root."""
        template: dict[str, Any]
        (template,) = next(spec["children"] for spec in self.tree["children"] if spec["id"] == name)
        return template

    # ---------------------------------------------------------------- watching

    async def _watch(self, monitor: Monitor) -> None:
        down = await monitor.down()
        assert down.reason is not None  # the monitor was made inside the process
        self.outcomes.append(["exit", down.ref.name, in_words(down.reason)])

    def _on_report(self, report: Report) -> None:
        subject = [report.supervisor, report.child]
        match report.kind:
            case ReportKind.PROGRESS:
                self.events.append(["report", "progress", *subject])
            case ReportKind.MAX_RESTARTS:  # OTP names this report and its reason differently
                self.events.append(["report", "shutdown", *subject, "reached_max_restart_intensity"])
            case kind:
                assert report.reason is not None
                self.events.append(["report", str(kind), *subject, in_words(report.reason)])


async def ask(
    request: Awaitable[object], started: Ref[Any] | None = None, running: str = "running"
) -> object:
    """The answer of a supervisor in OTP's terms; `started` is the child the request was to start."""
    try:
        await request
    except NotFound:
        return "not_found"
    except AlreadyPresent:
        return "already_present"
    except Restarting:
        return "restarting"
    except AlreadyStarted:
        return running
    except StartFailed as error:
        return ["start_failed", in_words(error.reason)]
    return "ok" if started is None or started.alive else "ignored"


def seconds_of(shutdown: int | str) -> float | None:
    match shutdown:
        case "infinity":
            return math.inf
        case "brutal_kill":
            return BRUTAL_KILL
        case ms:
            return int(ms) / 1000
