"""Which worker is asked next: the rules of failover, row by row of the table of reactions, and their invariants."""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cortex_trio import ApiKey, Failure, FailureKind, WorkerConfig
from cortex_trio.failures import REACTIONS, NextKey, NextWorker, SameWorker
from cortex_trio.gateway.routing.eligibility import Candidate, current_refusal
from cortex_trio.gateway.routing.plan import Ask, FailoverPlan, Wait
from cortex_trio.gateway.routing.readiness import TRIES_PER_WORKER, WAIT_JITTER
from cortex_trio.gateway.routing.retries import BUDGET_MOST, RetryBudget
from cortex_trio.gateway.transport.connections import Connections
from cortex_trio.gateway.workers.cooldowns import Cooldowns
from cortex_trio.gateway.workers.endpoint import Endpoint
from cortex_trio.gateway.workers.keys import Blocked, KeyRing, Lease
from cortex_trio.gateway.workers.worker import Permit, Refusal, WorkerState, breaker_weight
from cortex_trio.otp import Ref

K = FailureKind
MODEL = "m"
MAX_WAIT = 60.0


def candidate(name: str, keys: int = 1, window: int | None = None) -> Candidate:
    config = WorkerConfig(
        provider="openai_compatible",
        base_url="http://localhost",
        models=(MODEL,),
        api_keys=tuple(f"{name}-key-{number}" for number in range(1, keys + 1)),
        context_window=window,
    )
    return Candidate(WorkerState(name, Endpoint(config, Connections(config)), Ref(name)), MODEL)


@attrs.define
class World:
    """What all calls share, as the gateway has it: cooldowns, the key ring, the retry budget."""

    cast: tuple[Candidate, ...]
    cooldowns: Cooldowns = attrs.field(factory=Cooldowns)
    budget: RetryBudget = attrs.field(factory=RetryBudget)
    ring: KeyRing = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.ring = KeyRing(self.cooldowns)
        for each in self.cast:
            each.state.cooldowns = self.cooldowns
            self.ring.set_keys(each.state.name, each.endpoint.keys)

    def refusal(self, candidate: Candidate, now: float) -> Refusal | None:
        return current_refusal(candidate, self.cooldowns, now)

    def choose(self, now: float, is_excluded: Callable[[Candidate], bool]) -> Candidate | None:
        usable = (each for each in self.cast if self.refusal(each, now) is None)
        return next((each for each in usable if not is_excluded(each)), None)

    def all(self) -> tuple[Candidate, ...]:
        return self.cast

    def plan(self, **options: Any) -> FailoverPlan:
        defaults: dict[str, Any] = {
            "max_attempts": 4,
            "max_wait": MAX_WAIT,
            "deadline": math.inf,
            "budget": self.budget,
            "chance": lambda: 0.5,
        }
        return FailoverPlan(self, **{**defaults, **options})


def plan_of(*candidates: Candidate, **options: Any) -> FailoverPlan:
    return World(candidates).plan(**options)


@attrs.frozen
class ParsedRequest:
    worker: str
    key: str | None
    at: float
    fresh: bool = False


Answer = Callable[[ParsedRequest], Failure]


def drive(
    cast: Iterable[Candidate], answer: Answer, takes: float = 0.0, *, reused: bool = False, **options: Any
) -> list[ParsedRequest]:
    """Follow the plan as failover does, with real cooldowns and a real key ring, where every answer is a failure."""
    world, now, asked = (
        World(tuple(cast), budget=options.pop("budget", RetryBudget())),
        0.0,
        list[ParsedRequest](),
    )
    plan = world.plan(**options)
    while step := plan.next(now):
        assert len(asked) < 100, "it never ends"
        if isinstance(step, Wait):
            assert step.until > now, "a wait that is none"
            waited, now = step.until - now, step.until
            plan.waited(waited)
            continue
        now += step.pause
        lease = Lease(step.candidate.state.name, MODEL, step.candidate.endpoint.keys)
        if isinstance(world.ring.lend(lease, now, step.avoid), Blocked):
            plan.refuse(step.candidate)
            continue
        key = lease.key
        asked.append(ParsedRequest(lease.worker, key.reveal() if key else None, now, step.fresh))
        started = now
        now += takes
        failure = answer(asked[-1])
        world.cooldowns.failed(
            lease.worker, MODEL, key, failure, started=started, now=now, has_more_keys=len(lease.keys) > 1
        )
        plan.learn(step.candidate, failure, key, reused=reused and not step.fresh)
        lease.failure, lease.settled = failure, True
        world.ring.report(lease)
    return asked


def always(kind: FailureKind, **fields: Any) -> Answer:
    return lambda asked: Failure(kind, **fields)


def order_of(asked: Iterable[ParsedRequest]) -> str:
    return " ".join(each.worker for each in asked)


# ------------------------------------------------------------------ the table, row by row

ROWS: dict[FailureKind, tuple[str, str, str]] = {
    # asked when there is: one worker with one key, one worker with three keys, two workers with one key each
    K.CONTEXT_LENGTH: ("a", "a", "a"),
    K.CONTENT_POLICY: ("a", "a", "a"),
    K.BAD_REQUEST: ("a", "a", "a"),
    K.CANCELLED: ("a", "a", "a"),
    K.CREDENTIAL: ("a", "a a a", "a b"),
    K.PERMISSION: ("a", "a a a", "a b"),
    K.QUOTA: ("a", "a a a", "a b"),
    K.RATE_LIMIT: ("a a a a", "a a a a", "a b a b"),
    K.OVERLOADED: ("a a a a", "a a a a", "a b a b"),
    K.SERVER: ("a a a a", "a a a a", "a a b b"),
    K.CONNECTION: ("a a a a", "a a a a", "a b a b"),
    K.STALLED: ("a", "a", "a b"),
    K.PROTOCOL: ("a a", "a a", "a a b b"),
    K.TRUNCATED: ("a a a a", "a a a a", "a a b b"),
    K.EMPTY: ("a a", "a a", "a a b b"),
    K.MODEL_NOT_FOUND: ("a", "a a", "a b"),
    K.REGION: ("a", "a", "a b"),
    K.EDGE: ("a a", "a a", "a a b b"),
    K.CRASHED: ("a", "a", "a b"),
    K.UNKNOWN: ("a", "a", "a b"),
}


def test_every_kind_has_its_row_here() -> None:
    assert set(ROWS) == set(K)


@pytest.mark.parametrize("kind", ROWS)
def test_which_are_asked_when_all_fail_alike(kind: FailureKind) -> None:
    casts = ([candidate("a")], [candidate("a", keys=3)], [candidate("a"), candidate("b")])
    assert tuple(order_of(drive(cast, always(kind))) for cast in casts) == ROWS[kind]


@pytest.mark.parametrize("kind", [K.CREDENTIAL, K.PERMISSION, K.QUOTA, K.RATE_LIMIT, K.MODEL_NOT_FOUND])
def test_another_key_is_another_key(kind: FailureKind) -> None:
    cast = [candidate("a", keys=3)]
    keys = [asked.key for asked in drive(cast, always(kind))]
    tried = min(len(keys), 3)
    assert len(set(keys[:tried])) == tried


def test_all_keys_are_tried_before_the_next_worker() -> None:
    cast = [candidate("a", keys=2), candidate("b", keys=2)]
    assert order_of(drive(cast, always(K.CREDENTIAL))) == "a a b b"


def test_no_worker_is_asked_when_there_is_none() -> None:
    assert plan_of().next(0.0) is None


def test_an_error_of_the_caller_ends_the_call_after_any_other_failure() -> None:
    cast = [candidate("a"), candidate("b"), candidate("c")]
    said = iter([Failure(K.STALLED), Failure(K.BAD_REQUEST)])
    assert order_of(drive(cast, lambda asked: next(said))) == "a b"


# ------------------------------------------------------------------ how often


def test_the_attempts_of_a_call_are_counted_over_all_workers() -> None:
    cast = [candidate(name) for name in "abcdef"]
    assert order_of(drive(cast, always(K.STALLED), max_attempts=3)) == "a b c"


def test_a_connect_that_failed_costs_time_and_no_attempt() -> None:
    """With every remote unreachable the local model still answers."""
    cast = [candidate(name) for name in "abcdef"]
    assert order_of(drive(cast, always(K.CONNECTION, phase="connect"), max_attempts=1)) == "a b c d e f"
    assert order_of(drive(cast, always(K.CONNECTION, phase="stream"), max_attempts=1)) == "a"


def test_a_worker_that_would_not_admit_us_is_passed_over_and_costs_nothing() -> None:
    cast = [candidate("a"), candidate("b")]
    plan = plan_of(*cast, max_attempts=1, max_wait=0.0)
    first = plan.next(0.0)
    assert first is not None
    plan.refuse(first.candidate)
    assert plan.next(0.0) == Ask(cast[1])
    plan.refuse(cast[1])
    assert plan.next(0.0) is None


def test_an_empty_budget_stops_repeats_and_nothing_else() -> None:
    cast = [candidate("a", keys=2), candidate("b")]
    assert order_of(drive(cast, always(K.PROTOCOL), budget=Empty())) == "a b"
    assert order_of(drive(cast, always(K.CREDENTIAL), budget=Empty())) == "a a b"
    asked = drive(cast, always(K.RATE_LIMIT, retry_after=1.0), budget=Empty())
    assert order_of(asked) == "a a b b", "what the server asked for is no repetition of ours"


def test_an_empty_budget_delays_what_the_official_sdks_would_do() -> None:
    asked = drive([candidate("a")], always(K.SERVER), budget=Empty())
    assert order_of(asked) == "a a a a"
    assert all(later.at - earlier.at >= 1 / 3 for earlier, later in pairwise(asked)), "three a second"


class Empty(RetryBudget):
    def __init__(self) -> None:
        super().__init__()
        for _ in range(int(BUDGET_MOST)):
            self.take(0.0)


def test_the_budget_is_asked_only_for_repeats() -> None:
    cast = [candidate("a", keys=2), candidate("b")]
    budget = RetryBudget()
    drive(cast, always(K.CREDENTIAL), budget=budget)
    full = [budget.ready_in(0.0) for _ in range(1)]
    for _ in range(int(BUDGET_MOST) - 1):
        budget.take(0.0)
    assert full == [0.0]
    assert budget.ready_in(0.0) == 0.0, "nothing was taken"


# ------------------------------------------------------------------ how soon


def test_a_retry_comes_after_a_jittered_pause() -> None:
    cast = [candidate("a")]
    for chance, pause in ((0.0, 0.0), (0.5, 0.125), (0.99, 0.2475)):
        asked = drive(cast, always(K.SERVER), chance=lambda chance=chance: chance)
        assert [each.at for each in asked[:2]] == [0.0, pytest.approx(pause)]


def test_the_pauses_of_one_call_double() -> None:
    cast = [candidate(name) for name in "abcd"]
    asked = drive(cast, always(K.SERVER), max_attempts=8)
    pauses = [later.at - earlier.at for earlier, later in zip(asked[::2], asked[1::2], strict=True)]
    assert pauses == pytest.approx([0.125, 0.25, 0.5, 1.0])


def test_how_many_could_be_waited_for_makes_no_pause_longer() -> None:
    cast = [candidate(name) for name in "abc"]
    asked = drive(cast, always(K.OVERLOADED), max_attempts=6)
    pauses = [later.at - earlier.at for earlier, later in pairwise(asked[2:])]
    assert pauses == pytest.approx([0.125, 0.25, 0.5])


def test_a_rate_limit_is_waited_out_when_no_other_can_serve() -> None:
    cast = [candidate("a"), candidate("b")]
    hints = {"a": 3.0, "b": 2.0}
    asked = drive(cast, lambda each: Failure(K.RATE_LIMIT, retry_after=hints[each.worker]))
    assert order_of(asked) == "a b b a"
    assert 2.0 < asked[2].at <= 2.0 * (1 + WAIT_JITTER)
    assert 3.0 < asked[3].at <= 3.0 * (1 + WAIT_JITTER) + asked[2].at


@pytest.mark.parametrize("kind", [K.RATE_LIMIT, K.OVERLOADED])
@pytest.mark.parametrize("hint", [MAX_WAIT + 0.1, 3600.0])
def test_a_hint_that_is_too_long_is_not_waited_for(kind: FailureKind, hint: float) -> None:
    cast = [candidate("a")]
    assert order_of(drive(cast, always(kind, retry_after=hint))) == "a"


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_a_hint_of_max_wait_is_waited_for_with_any_jitter(chance: float) -> None:
    asked = drive([candidate("a")], always(K.RATE_LIMIT, retry_after=MAX_WAIT), chance=lambda: chance)
    assert order_of(asked) == "a a"


def test_all_waits_of_a_call_together_are_no_longer_than_max_wait() -> None:
    asked = drive([candidate("a")], always(K.RATE_LIMIT, retry_after=25.0), max_wait=60.0)
    assert order_of(asked) == "a a a"


def test_a_call_that_may_not_wait_does_not() -> None:
    assert order_of(drive([candidate("a")], always(K.RATE_LIMIT, retry_after=0.5), max_wait=0.0)) == "a"


@pytest.mark.parametrize("kind", [K.RATE_LIMIT, K.OVERLOADED, K.SERVER])
def test_a_hint_that_does_not_fit_the_deadline_is_not_waited_for(kind: FailureKind) -> None:
    cast = [candidate("a")]
    assert order_of(drive(cast, always(kind, retry_after=5.0), deadline=5.0)) == "a"
    assert order_of(drive(cast, always(kind, retry_after=3.0), deadline=5.0)) == "a a"


@pytest.mark.parametrize("kind", [K.SERVER, K.OVERLOADED])
def test_no_pause_goes_beyond_the_deadline(kind: FailureKind) -> None:
    cast = [candidate("a"), candidate("b")]
    asked = drive(cast, always(kind), deadline=0.1, chance=lambda: 0.999)
    assert order_of(asked) == "a b"


def test_no_worker_is_asked_once_the_deadline_has_passed() -> None:
    cast = [candidate(name) for name in "abc"]
    assert order_of(drive(cast, always(K.STALLED), takes=3.0, deadline=5.0)) == "a b"


@pytest.mark.parametrize(
    "kind", [kind for kind in K if REACTIONS[kind].same_worker in (SameWorker.ONCE, SameWorker.AFTER_OTHERS)]
)
def test_a_worker_that_named_a_time_is_not_repeated_before_it(kind: FailureKind) -> None:
    cast = [candidate("a")]
    asked = drive(cast, always(kind, retry_after=7.0))
    assert len(asked) >= 2
    assert all(later.at - earlier.at >= 7.0 for earlier, later in pairwise(asked))


def test_the_next_worker_is_asked_at_once_while_the_first_one_wants_time() -> None:
    cast = [candidate("a"), candidate("b")]
    asked = drive(cast, lambda each: Failure(K.SERVER, retry_after=7.0 if each.worker == "a" else None))
    assert order_of(asked[:2]) == "a b"
    assert asked[1].at == 0.0


# ------------------------------------------------------------------ the provider's own word on it


@pytest.mark.parametrize(
    "kind", [kind for kind in K if REACTIONS[kind].same_worker in (SameWorker.ONCE, SameWorker.AFTER_OTHERS)]
)
def test_a_provider_that_says_no_is_not_asked_again(kind: FailureKind) -> None:
    cast = [candidate("a"), candidate("b")]
    assert order_of(drive(cast, always(kind, should_retry=False))) == "a b"


# ------------------------------------------------------------------ a window that is too small


@pytest.mark.parametrize(
    ("windows", "asked"),
    [
        ((8_000, None, None), "a"),
        ((8_000, 8_000, 4_000), "a"),
        ((8_000, 4_000, 16_000), "a c"),
        ((8_000, 16_000, 32_000), "a b c"),
        ((8_000, 32_000, 16_000), "a b"),
        ((None, None, 128_000), "a c"),
        ((None, 128_000, 128_000), "a b"),
    ],
)
def test_too_long_for_one_is_tried_only_where_the_window_is_known_to_be_larger(
    windows: tuple[int | None, ...], asked: str
) -> None:
    cast = [candidate(name, window=window) for name, window in zip("abc", windows, strict=True)]
    assert order_of(drive(cast, always(K.CONTEXT_LENGTH))) == asked


# ------------------------------------------------------------------ after something was delivered


def test_after_delivery_the_next_worker_comes_before_a_repeat() -> None:
    cast = [candidate("a"), candidate("b")]
    plan = plan_of(*cast)
    first = plan.next(0.0)
    assert first is not None
    plan.learn(first.candidate, Failure(K.TRUNCATED), None, committed=True)
    assert plan.next(0.0) == Ask(cast[1])


def test_a_sole_worker_may_restart_what_it_broke_off() -> None:
    cast = [candidate("a")]
    plan = plan_of(*cast)
    plan.next(0.0)
    plan.learn(cast[0], Failure(K.TRUNCATED), None, committed=True)
    again = plan.next(0.0)
    assert again is not None
    assert again.candidate is cast[0]


def test_a_silent_route_is_not_asked_again_even_then() -> None:
    cast = [candidate("a")]
    plan = plan_of(*cast)
    plan.next(0.0)
    plan.learn(cast[0], Failure(K.STALLED), None, committed=True)
    assert plan.next(0.0) is None


# ------------------------------------------------------------------ what always holds

failures = st.builds(
    Failure,
    st.sampled_from(K),
    retry_after=st.none() | st.floats(0, 70),
    phase=st.sampled_from(["connect", "headers", "stream"]),
    should_retry=st.sampled_from([None, True, False]),
)


@pytest.mark.slow
@settings(max_examples=300)
@given(
    keys=st.lists(st.integers(0, 3), min_size=1, max_size=4),
    said=st.lists(failures, min_size=1, max_size=12),
    max_attempts=st.integers(1, 8),
    deadline=st.floats(0, 200),
    chance=st.floats(0, 1, exclude_max=True),
    takes=st.floats(0, 5),
)
def test_the_invariants_hold_for_any_sequence_of_failures(
    keys: list[int],
    said: list[Failure],
    max_attempts: int,
    deadline: float,
    chance: float,
    takes: float,
) -> None:
    """The call ends within its attempts and its time; no worker is asked too often or earlier than it said."""
    cast = [candidate(f"w{place}", keys=count) for place, count in enumerate(keys)]
    not_before: dict[tuple[str, str | None], float] = {}
    outcome: list[tuple[ParsedRequest, Failure]] = []

    def answer(asked: ParsedRequest) -> Failure:
        assert asked.at < deadline
        assert asked.at >= not_before.get((asked.worker, asked.key), 0.0)
        assert asked.at >= not_before.get((asked.worker, "every key"), 0.0)
        failure = said[len(outcome) % len(said)]
        outcome.append((asked, failure))
        if failure.retry_after is not None:
            reaction = REACTIONS[failure.kind]
            key = "every key" if reaction.next_key is NextKey.NO else asked.key
            not_before[asked.worker, key] = asked.at + takes + failure.retry_after
        return failure

    asked = drive(cast, answer, takes, max_attempts=max_attempts, deadline=deadline, chance=lambda: chance)
    assert len([failure for _, failure in outcome if failure.phase != "connect"]) <= max_attempts
    # A worker that says "retry" is not silent.
    silent = [each.worker for each, f in outcome if f.kind is K.STALLED and f.should_retry is not True]
    assert max(Counter(silent).values(), default=0) <= 1
    for each in cast:
        mine = [f for a, f in outcome if a.worker == each.state.name]
        own_fault = [f for f in mine if REACTIONS[f.kind].next_key is NextKey.NO]
        assert len(own_fault) <= max(TRIES_PER_WORKER, max_attempts)
    final = [
        f.should_retry is not True and REACTIONS[f.kind].next_worker is NextWorker.NO for _, f in outcome
    ]
    ended = [place for place, over in enumerate(final) if over]
    assert ended in ([], [len(asked) - 1])


def test_a_refused_key_is_never_shown_again_by_the_same_call() -> None:
    cast = [candidate("a", keys=3)]
    asked = drive(cast, always(K.CREDENTIAL), max_attempts=8)
    assert max(Counter(each.key for each in asked).values()) == 1


def test_the_keys_to_avoid_are_those_that_were_refused() -> None:
    cast = [candidate("a", keys=3)]
    plan = plan_of(*cast)
    plan.next(0.0)
    plan.learn(cast[0], Failure(K.CREDENTIAL), ApiKey("a-key-2"))
    assert plan.next(0.0) == Ask(cast[0], avoid=frozenset({ApiKey("a-key-2")}))


def test_a_worker_is_asked_twice_while_another_can_be_asked() -> None:
    cast = [candidate("a"), candidate("b")]
    asked = drive(cast, always(K.SERVER, phase="headers"), max_attempts=8)
    assert order_of(asked[:4]) == "a a b b"
    assert len(asked) == 8, "then none is left that was asked less"


def test_the_only_worker_is_asked_as_often_as_the_official_sdks_would_and_not_sooner() -> None:
    asked = drive([candidate("a")], always(K.CONNECTION, phase="connect"), chance=lambda: 0.999)
    assert order_of(asked) == "a a a a"
    assert asked[-1].at >= 0.375 + 0.75, "where the third request of an SDK comes at the earliest"


def test_a_worker_that_was_silent_on_a_kept_connection_is_asked_once_on_a_new_one() -> None:
    asked = drive([candidate("a")], always(K.STALLED), reused=True)
    assert [each.fresh for each in asked] == [False, True]
    assert order_of(drive([candidate("a")], always(K.STALLED), reused=False)) == "a"


def test_a_connect_is_repeated_no_more_often_however_many_workers_cannot_be_reached() -> None:
    cast = [candidate(f"w{number}") for number in range(20)]
    asked = drive(cast, always(K.CONNECTION, phase="connect"))
    assert len(asked) == 20 + 3


def test_a_call_that_has_asked_no_worker_waits_for_the_first_that_may_be_asked() -> None:
    cast = (candidate("a"), candidate("b"))
    world = World(cast)
    for name, seconds in (("a", 9.0), ("b", 4.0)):
        world.cooldowns.failed(
            name, MODEL, None, Failure(K.OVERLOADED, retry_after=seconds), started=0.0, now=0.0
        )
    wait = world.plan().next(0.0)
    assert isinstance(wait, Wait)
    assert wait.candidate is cast[1]
    assert 4.0 <= wait.until <= 4.0 * (1 + WAIT_JITTER)
    assert world.plan(max_wait=3.9).next(0.0) is None
    assert world.plan(deadline=3.9).next(0.0) is None


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("spare", [0.001, 0.2, 1.0])
def test_a_hint_that_fits_the_deadline_is_waited_for_with_any_jitter(spare: float, chance: float) -> None:
    asked = drive(
        [candidate("a")], always(K.RATE_LIMIT, retry_after=10.0), deadline=10.0 + spare, chance=lambda: chance
    )
    assert order_of(asked) == "a a"
    assert 10.0 <= asked[1].at < 10.0 + spare


def full(name: str) -> Candidate:
    """A worker with as many requests in flight as it may have."""
    limited = attrs.evolve(candidate(name).endpoint.config, max_concurrency=1)
    state = WorkerState(name, Endpoint(limited, Connections(limited)), Ref(name))
    state.permits.add(Permit(name, MODEL, admitted=True))
    return Candidate(state, MODEL)


def test_what_is_left_of_max_wait_may_be_too_little_to_wait_for() -> None:
    """At 90 s a clock of doubles does not move by less than 1e-14 s: such a wait would be repeated for ever."""
    plan = World((full("a"),)).plan(max_wait=1e-15)
    assert plan.next(90.0) is None


def test_a_worker_that_is_full_is_waited_for_until_a_request_ends() -> None:
    state = full("a").state
    wait = World((Candidate(state, MODEL),)).plan(max_wait=7.0).next(0.0)
    assert isinstance(wait, Wait)
    assert wait.for_permit
    assert wait.until == 7.0
    within_deadline = World((Candidate(state, MODEL),)).plan(deadline=2.0).next(0.0)
    assert isinstance(within_deadline, Wait)
    assert within_deadline.until == 2.0


def test_what_ran_out_on_our_side_is_tried_again_and_counts_against_no_worker() -> None:
    failure = Failure(K.CONNECTION, "too many open files", phase="connect", ours=True)
    assert breaker_weight(failure) is None
    assert order_of(drive([candidate("a")], lambda asked: failure)) == "a a a a"


def test_the_last_attempt_is_kept_for_a_worker_that_opens_soon() -> None:
    cast = (candidate("a"), candidate("b"))
    world = World(cast)
    world.cooldowns.failed("b", MODEL, None, Failure(K.OVERLOADED, retry_after=5.0), started=0.0, now=0.0)
    plan, now, asked = world.plan(), 0.0, ""
    while step := plan.next(now):
        if isinstance(step, Wait):
            now = step.until
            plan.waited(step.until)
            continue
        now += step.pause
        asked += step.candidate.state.name
        plan.learn(step.candidate, Failure(K.SERVER, phase="headers"), None)
    assert asked == "aaab"


@pytest.mark.parametrize("hint", [None, 5.0])
def test_a_worker_that_cannot_be_reached_takes_no_attempt_from_one_that_can(hint: float | None) -> None:
    """An SDK with two retries asks `a` three times: so does a call with three attempts, whatever becomes of `b`."""
    cast = [candidate("a"), candidate("b")]

    def answer(asked: ParsedRequest) -> Failure:
        if asked.worker == "b":
            return Failure(K.CONNECTION, phase="connect", retry_after=hint)
        return Failure(K.SERVER, phase="headers")

    asked = drive(cast, answer, max_attempts=3)
    assert [each.worker for each in asked].count("a") == 3
    assert max(each.at for each in asked if each.worker == "a") < 5
