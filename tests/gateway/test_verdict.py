"""What a caller is told when nobody could be asked."""

from typing import Any

import pytest

from cortex_trio import FailureKind, WorkerConfig
from cortex_trio.gateway.keys import KeyRing
from cortex_trio.gateway.roster import Roster
from cortex_trio.gateway.selection import Wanted
from cortex_trio.gateway.transport import Connections
from cortex_trio.gateway.verdict import nobody_to_ask
from cortex_trio.gateway.worker import WorkerState
from cortex_trio.otp import Ref


def worker(name: str, provider: str, *, rests_until: float | None = None, **fields: Any) -> WorkerState:
    config = WorkerConfig(provider=provider, api_keys=(f"{name}-key-0001",), **fields)
    state = WorkerState(name, config, Connections(config), Ref(name))
    if rests_until is not None:
        state.left_alone_until, state.last_failure = rests_until, FailureKind.OVERLOADED
    return state


def told(*states: WorkerState, **names: Any) -> tuple[str, float | None]:
    wanted = Wanted(**names)
    selected = Roster(states).peek(wanted, strategy="priority", ring=KeyRing(), clock=lambda: 0.0)
    error = nobody_to_ask(states, wanted, selected.skipped, 0.0)
    return str(error), error.retry_after


RESTS = "asked to be left alone (overloaded), for another"


def test_all_are_told_of_if_nobody_was_named() -> None:
    first, second = worker("a", "openai", rests_until=20.0), worker("b", "groq", rests_until=10.0)
    assert told(first, second) == (f"nobody may be asked: a {RESTS} 20.0 s; b {RESTS} 10.0 s", 10.0)


@pytest.mark.parametrize("names", [{"worker": "a"}, {"provider": "openai"}, {"model": "the-one"}])
def test_only_those_who_were_meant_are_told_of(names: dict[str, str]) -> None:
    """Neither their reasons nor their times are the answer to what was asked."""
    meant = worker("a", "openai", models=["the-one"], rests_until=20.0)
    others = [worker(f"other-{number}", "groq", rests_until=1.0) for number in range(3)]
    assert told(meant, *others, **names) == (f"nobody may be asked: a {RESTS} 20.0 s", 20.0)


def test_names_that_do_not_go_together_are_told_of_for_each() -> None:
    text, retry_after = told(worker("a", "openai"), worker("b", "groq"), worker="a", provider="groq")
    assert text == "nobody may be asked: a is not of the provider 'groq'; b is not the worker 'a'"
    assert retry_after is None


def test_a_name_nobody_has_is_told_with_those_there_are() -> None:
    assert told(worker("a", "openai"), worker("b", "groq"), worker="c") == (
        "there is no worker 'c'; there are: a, b",
        None,
    )


def test_who_has_no_embeddings_was_meant_all_the_same() -> None:
    text, _ = told(worker("a", "anthropic"), worker("b", "openai"), provider="anthropic", embed=True)
    assert text == "nobody may be asked: a has no default model for embeddings"
