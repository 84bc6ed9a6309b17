"""Random trees, random crashes and requests, against a plain model of the rules.

The model knows no tasks, messages or time-outs: it computes what the tree must look like once
nothing happens any more.
"""

import random
from typing import Any

import attrs
import pytest
import trio
from harness import Actor, Bang, Harness, Tree, settle
from trio.testing import MockClock

from cortex_trio.otp import (
    ActorError,
    ActorExited,
    AlreadyStarted,
    Child,
    MaxRestartsExceeded,
    NotFound,
    Restart,
    StartFailed,
    Strategy,
    Supervisor,
)

SEEDS = range(20)
STEPS = 500  # for each seed: 10 000 in all
PERIOD = 5.0


@attrs.define(eq=False)
class Node:
    """A child in the model: a leaf, or a supervisor with children."""

    id: str
    restart: Restart
    strategy: Strategy = Strategy.ONE_FOR_ONE
    max_restarts: int = 0
    specs: "list[Node] | None" = None  # None: a leaf
    parent: "Node | None" = None
    running: bool = False
    incarnations: int = 0
    failures: int = 0  # how many of the next starts will fail
    members: "list[Node]" = attrs.field(factory=list)
    window: list[float] = attrs.field(factory=list)


class Model:
    """The rules."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self.now = 0.0
        self.start(root)

    def start(self, node: Node) -> bool:
        node.incarnations += 1
        if node.specs is None:
            node.running = node.failures == 0
            node.failures = max(0, node.failures - 1)
            return node.running
        node.members, node.window, node.running = list(node.specs), [], True
        for child in node.specs:
            if not self.start(child):
                self.stop(node)
                return False
        return True

    def stop(self, node: Node) -> None:
        if node.running:
            for child in reversed(node.members):
                self.stop(child)
            node.running = False

    def exited(self, node: Node, *, abnormal: bool) -> None:
        """It has exited: by itself, or because it was killed."""
        self.stop(node)
        parent = node.parent
        if parent is None:
            return
        if node.restart is Restart.TEMPORARY:
            parent.members.remove(node)
        elif node.restart is Restart.PERMANENT or abnormal:
            self.restart(parent, node)

    def restart(self, parent: Node, node: Node) -> None:
        while True:
            parent.window = [then for then in parent.window if then >= self.now - PERIOD] + [self.now]
            if len(parent.window) > parent.max_restarts:
                self.exited(parent, abnormal=False)
                return
            for other in reversed(self.group(parent, node)):
                if other is not node:
                    self.stop(other)
                    self.settle(other)
            failed = next((n for n in self.group(parent, node) if not n.running and not self.start(n)), None)
            if failed is None:
                return
            node = failed

    def group(self, parent: Node, node: Node) -> list[Node]:
        match parent.strategy:
            case Strategy.ONE_FOR_ONE:
                return [node]
            case Strategy.ONE_FOR_ALL:
                return list(parent.members)
            case Strategy.REST_FOR_ONE:
                return parent.members[parent.members.index(node) :]

    def settle(self, node: Node) -> None:
        if node.restart is Restart.TEMPORARY:
            assert node.parent is not None
            node.parent.members.remove(node)

    def request(self, supervisor: Node, method: str, node: Node) -> type[ActorError] | None:
        """What the answer to a request must be, None for done."""
        if node not in supervisor.members:
            return NotFound
        if method == "terminate_child":
            self.stop(node)
            self.settle(node)
        elif node.running:
            return AlreadyStarted
        elif method == "delete_child":
            supervisor.members.remove(node)
        elif not self.start(node):
            return StartFailed
        return None


class Experiment:
    """One random tree and the same tree as a model, kept in step."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.harness = Harness()
        self.nodes: list[Node] = []
        root = self.random_node("root", depth=0)
        self.model = Model(root)
        self.broken: dict[str, int] = {}  # how many of the next starts of a leaf fail

    def random_node(self, name: str, depth: int) -> Node:
        node = Node(name, self.dice.choice(list(Restart)))
        self.nodes.append(node)
        if depth == 0 or (depth < 3 and self.dice.random() < 0.4):
            node.strategy = self.dice.choice(list(Strategy))
            node.max_restarts = self.dice.randint(1, 6)
            node.specs = [self.random_node(f"{name}.{i}", depth + 1) for i in range(self.dice.randint(1, 4))]
            for child in node.specs:
                child.parent = node
        return node

    def supervisor(self, node: Node) -> Supervisor:
        assert node.specs is not None
        return Supervisor(
            [self.child(spec) for spec in node.specs],
            strategy=node.strategy,
            max_restarts=node.max_restarts,
            max_seconds=PERIOD,
        )

    def child(self, node: Node) -> Child[Any]:
        async def fail_if_due(actor: Actor) -> None:
            if self.broken.get(node.id, 0):
                self.broken[node.id] -= 1
                raise Bang(node.id)

        if node.specs is None:
            return self.harness.child(node.id, on_init=fail_if_due, restart=node.restart)
        return Child(ref=self.harness[node.id], start=lambda: self.supervisor(node), restart=node.restart)

    async def run(self, steps: int) -> int:
        """Take up to `steps` steps; a root that gives up ends the tree. Returns how many were taken."""
        tree = Tree()
        tree.ref = self.harness["root"]
        async with trio.open_nursery() as nursery:
            await nursery.start(tree.run, self.supervisor(self.model.root))
            for step in range(steps):
                what = await self.step()
                await settle()
                self.compare(tree, what)
                if tree.ended.is_set():
                    return step + 1
            tree.scope.cancel()
        return steps

    async def step(self) -> str:
        self.model.now = trio.current_time()
        node = self.dice.choice(self.nodes)
        leaf = self.dice.choice([n for n in self.nodes if n.specs is None])
        match self.dice.choice(
            ["crash", "crash", "leave", "kill", "call", "break", "request", "request", "wait"]
        ):
            case "crash" if leaf.running:
                self.harness[leaf.id].cast(Actor.crash)
                self.model.exited(leaf, abnormal=True)
                return f"crash {leaf.id}"
            case "leave" if leaf.running:
                self.harness[leaf.id].cast(Actor.leave)
                self.model.exited(leaf, abnormal=False)
                return f"leave {leaf.id}"
            case "kill" if node.running and node.parent is not None:
                self.harness[node.id].kill()
                self.model.exited(node, abnormal=True)
                return f"kill {node.id}"
            case "call" if leaf.running:
                with pytest.raises(ActorExited):
                    await self.harness[leaf.id].call(Actor.crash)
                self.model.exited(leaf, abnormal=True)
                return f"call and crash {leaf.id}"
            case "break":
                leaf.failures = self.broken[leaf.id] = self.dice.randint(1, 3)
                return f"break {leaf.id}"
            case "request" if node.parent is not None and node.parent.running:
                return await self.request(node.parent, node)
        seconds = self.dice.choice([0.5, 2.0, 7.0])
        await trio.sleep(seconds)
        return f"wait {seconds}"

    async def request(self, supervisor: Node, node: Node) -> str:
        method = self.dice.choice(["terminate_child", "restart_child", "restart_child", "delete_child"])
        answer: type[Exception] | None = None
        try:
            await self.harness[supervisor.id].call(getattr(Supervisor, method), node.id)
        except ActorError as error:
            answer = type(error)
        expected = self.model.request(supervisor, method, node)
        assert answer is expected, f"{method} {node.id}"
        return f"{method} {node.id}"

    def compare(self, tree: Tree, what: str) -> None:
        """Check that the tree is as in the model."""
        assert tree.ended.is_set() == (not self.model.root.running), what
        assert (tree.error is None) == self.model.root.running, what
        assert isinstance(tree.error, MaxRestartsExceeded | None), what
        for node in self.nodes:
            assert self.harness[node.id].alive == node.running, f"{what}: {node.id}"
            if node.specs is None:
                assert self.harness.incarnations.get(node.id, 0) == node.incarnations, f"{what}: {node.id}"
            elif node.running:
                children = self.harness[node.id].process.server.children  # type: ignore[union-attr]
                listed = [(info.id, str(info.state)) for info in children]
                assert listed == [(m.id, "running" if m.running else "stopped") for m in node.members], what


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_tree_does_what_the_model_does(seed: int) -> None:
    async def main() -> None:
        dice = random.Random(seed)
        left = STEPS
        while left > 0:
            left -= await Experiment(dice).run(left)

    trio.run(main, clock=MockClock(autojump_threshold=0))
