"""Draw pictures of the pages: the supervision tree with the path of a request, and a failover.

The failover is a real run with simulated providers in virtual time, drawn from the attempts that the gateway reports.
The picture is therefore the same on every machine.

python docs/tools/pictures.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs
import trio
from svg import BLUE, GREEN, INK, PALE, PAPER, RED, SAND, box, line, picture, words
from trio.testing import MockClock

from cortex_trio import Attempt, FailureKind, open_cortex
from cortex_trio.simulator import Behaviour, open_simulator

FOLDER = Path(__file__).resolve().parents[1] / "pictures"

# ------------------------------------------------------------------ the tree, and a request beside it

BOX_WIDTH, BOX_HEIGHT, TREE_X = 150, 38, 470
ACTORS = (  # name, kind, depth, y
    ("cortex", "Supervisor", 0, 40),
    ("registry", "WorkerRegistry", 1, 95),
    ("keys", "KeyManager", 1, 150),
    ("workers", "Workers", 1, 205),
    ("openai", "Worker", 2, 260),
    ("ollama", "Worker", 2, 315),
    ("health", "HealthMonitor", 1, 370),
)
STEPS = (
    ("selection", "which workers, which order"),
    ("failover", "one worker after another"),
    ("attempt", "one worker, one API key"),
    ("dialect", "values to bytes and back"),
    ("transport", "the HTTP client"),
)


def tree_picture() -> str:
    """Draw the caller's task on the left, and the actors that it calls on the right."""
    return picture(
        860, 470, "The supervision tree and a request", *_tree(), *_request(), *_messages(), *_provider()
    )


def _tree() -> Iterator[str]:
    yield words(TREE_X, 26, "actors: each the only writer of its state", colour=PALE)
    tops = {depth: y for _, _, depth, y in ACTORS[:1]}
    for name, kind, depth, y in ACTORS:
        x = TREE_X + depth * 45
        if depth:
            stem = x - 25
            yield line(
                (stem, tops[depth - 1] + BOX_HEIGHT), (stem, y + BOX_HEIGHT / 2), (x, y + BOX_HEIGHT / 2)
            )
        tops[depth] = y
        yield box(x, y, BOX_WIDTH + 60, BOX_HEIGHT, SAND)
        yield words(x + 12, y + 24, name, size=14)
        yield words(x + BOX_WIDTH + 48, y + 24, kind, colour=PALE, anchor="end")


def _request() -> Iterator[str]:
    yield words(30, 26, "your task: it does the I/O itself", colour=PALE)
    yield box(30, 40, 220, 368, "#eef5ff", BLUE)
    yield words(46, 66, "cortex.chat(…)", size=14, colour=BLUE)
    for place, (name, what) in enumerate(STEPS):
        y = 85 + place * 64
        yield box(46, y, 188, 48)
        yield words(58, y + 20, name, size=14)
        yield words(58, y + 38, what, size=12, colour=PALE)
        if place:
            yield line((140, y - 16), (140, y), arrow=True)


def _messages() -> Iterator[str]:
    """Draw the messages between a request and the actors: two calls, two casts."""
    yield line((234, 225), (300, 225), (300, 162), (515, 162), colour=BLUE, arrow=True)
    yield words(310, 156, "lease an API key", colour=BLUE)
    yield line((234, 237), (560, 272), colour=BLUE, arrow=True)
    yield words(330, 241, "get a permit", colour=BLUE)
    yield line((234, 245), (330, 295), (560, 288), colour=PALE, dashed=True, arrow=True)
    yield line((234, 219), (280, 219), (280, 178), (515, 178), colour=PALE, dashed=True, arrow=True)
    yield words(310, 312, "the result: two casts", size=12, colour=PALE)


def _provider() -> Iterator[str]:
    yield line((140, 389), (140, 432), colour=GREEN, arrow=True)
    yield box(60, 432, 160, 28, PAPER, GREEN)
    yield words(140, 451, "the provider", colour=GREEN, anchor="middle")
    yield words(240, 451, "bytes never pass through an actor's mailbox", size=12, colour=PALE)


# ------------------------------------------------------------------ a failover

SCALE, LEFT, LANE = 330, 210, 46  # pixels a second, of the labels, of a lane
KEYS = ("sk-sim-openai-0001", "sk-sim-openai-0002")
TEXT = "The first token has been sent, and the last one follows."


@attrs.define
class Seen:
    """The attempts and the pieces of an answer, with seconds since the call."""

    asked: float
    attempts: list[tuple[float, Attempt]] = attrs.field(factory=list)  # when it was over
    pieces: list[float] = attrs.field(factory=list)

    def on_event(self, event: object) -> None:
        if isinstance(event, Attempt):
            self.attempts.append((trio.current_time() - self.asked, event))


async def failover() -> Seen:
    """Make one call: the first API key is limited, its provider is overloaded, the next provider answers."""
    async with open_simulator() as simulator:
        openai = simulator.add("openai", Behaviour(error=FailureKind.OVERLOADED, first_token_after=0.3))
        openai.api_keys = KEYS
        openai.limit_key(KEYS[0], Behaviour(status=429, retry_after=60, first_token_after=0.2))
        good = Behaviour(text=TEXT, first_token_after=0.3, tokens_per_second=15)
        simulator.add("anthropic", good)
        seen = Seen(trio.current_time())
        async with open_cortex(
            simulator.config(), http_transport=simulator.transport, on_event=seen.on_event
        ) as cortex:
            async with cortex.chat("Hello?") as answer:
                async for _ in answer.text():
                    seen.pieces.append(trio.current_time() - seen.asked)
    return seen


def failover_picture() -> str:
    seen = trio.run(failover, clock=MockClock(autojump_threshold=0))
    height = 90 + LANE * (len(seen.attempts) + 1)
    shapes = [*_axis(seen, height), *_attempts(seen), *_reader(seen)]
    return picture(860, height, "A failover, second by second", *shapes)


def _x(seconds: float) -> float:
    return round(LEFT + SCALE * seconds, 1)


def _axis(seen: Seen, height: int) -> Iterator[str]:
    bottom = height - 34
    yield line((LEFT, bottom), (_x(seen.pieces[-1] + 0.1), bottom), colour=PALE)
    for tick in range(int(seen.pieces[-1] * 2) + 1):
        yield line((_x(tick / 2), bottom), (_x(tick / 2), bottom + 5), colour=PALE)
        yield words(_x(tick / 2), bottom + 20, f"{tick / 2:g} s", size=12, colour=PALE, anchor="middle")


def _attempts(seen: Seen) -> Iterator[str]:
    """Draw a row for each attempt: red until it failed, pale until its first token, green while it serves."""
    for place, (ended, attempt) in enumerate(seen.attempts):
        y, began = 20 + place * LANE, ended - attempt.duration
        yield words(20, y + 16, f"{attempt.number}. {attempt.worker}", size=14)
        yield words(20, y + 32, f"key {attempt.key}", size=12, colour=PALE)
        if attempt.failure is not None:
            status = f"{attempt.failure.kind.value} (HTTP {attempt.failure.status})"
            yield box(_x(began), y + 4, _x(ended) - _x(began), 24, "#ffebe9", RED)
            yield words(_x(ended) + 8, y + 21, status, size=12, colour=RED)
        else:
            first = began + (attempt.time_to_first_token or 0.0)
            yield box(_x(began), y + 4, _x(first) - _x(began), 24, SAND, PALE)
            yield box(_x(first), y + 4, _x(ended) - _x(first), 24, "#dafbe1", GREEN)
            yield words(_x(first) + 8, y + 21, "served", size=12, colour=GREEN)


def _reader(seen: Seen) -> Iterator[str]:
    y = 20 + LANE * len(seen.attempts)
    yield words(20, y + 20, "what the caller receives", size=14, colour=BLUE)
    yield line((LEFT, y + 16), (_x(seen.pieces[0]), y + 16), colour=PALE, dashed=True)
    for when in seen.pieces:
        yield line((_x(when), y + 4), (_x(when), y + 28), colour=BLUE)
    commit = _x(seen.pieces[0])
    yield line((commit, y - 48), (commit, y + 52), colour=INK, dashed=True)
    yield words(commit + 6, y + 48, "the commit point: before it, failover is invisible", size=12)


def made() -> dict[Path, str]:
    """Return every picture as it must be."""
    return {FOLDER / "tree.svg": tree_picture(), FOLDER / "failover.svg": failover_picture()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path, text in made().items():
        path.write_text(text, encoding="utf-8")
