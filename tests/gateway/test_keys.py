"""Whose turn it is, who is resting, and that none of it is forgotten."""

import math
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from cortex_trio import ApiKey, Failure, FailureKind
from cortex_trio.failures import REACTIONS
from cortex_trio.gateway.keys import LADDER, SWEEP_SECONDS, Blocked, KeyManager, KeyRing, Lease
from cortex_trio.otp import Child, Ref, Supervisor, run

K = FailureKind
MODEL = "gpt-4"
A, B, C = (ApiKey(f"key-number-{letter}-0001") for letter in "abc")


def ring_of(*keys: ApiKey, strategy: str = "round_robin", rate_limit_rest: float | None = None) -> KeyRing:
    ring = KeyRing(strategy, rate_limit_rest)
    ring.set_keys("openai", keys)
    return ring


def lend(
    ring: KeyRing, now: float = 0.0, model: str = MODEL, avoid: Sequence[ApiKey] = ()
) -> Lease | Blocked:
    lease = Lease("openai", model)
    return ring.lend(lease, now, frozenset(avoid)) or lease


def lent(ring: KeyRing, now: float = 0.0, model: str = MODEL, avoid: Sequence[ApiKey] = ()) -> Lease:
    lease = lend(ring, now, model, avoid)
    assert isinstance(lease, Lease)
    return lease


def settle(ring: KeyRing, lease: Lease, failure: Failure | None = None, now: float = 0.0) -> None:
    lease.failure, lease.settled = failure, True
    ring.report(lease, now)


def fail(
    ring: KeyRing, kind: FailureKind, *, now: float = 0.0, hint: float | None = None, model: str = MODEL
) -> None:
    settle(ring, lent(ring, now, model), Failure(kind, retry_after=hint), now)


def served(ring: KeyRing, times: int, now: float = 0.0) -> list[ApiKey | None]:
    keys = []
    for _ in range(times):
        lease = lent(ring, now)
        keys.append(lease.key)
        settle(ring, lease, now=now)
    return keys


# ------------------------------------------------------------------ whose turn it is


def test_round_robin_goes_round() -> None:
    assert served(ring_of(A, B, C), 7) == [A, B, C, A, B, C, A]


def test_round_robin_stays_fair_to_the_others_while_one_rests() -> None:
    ring = ring_of(A, B, C)
    settle(ring, lent(ring), Failure(K.RATE_LIMIT, retry_after=1e6))
    counts = Counter(served(ring, 300))
    assert set(counts) == {B, C}
    assert (
        abs(counts[B] - counts[C]) <= 100
    )  # the place of the one that rests falls to its neighbour, and only that


def test_round_robin_goes_on_where_it_was_when_a_rest_is_over() -> None:
    ring = ring_of(A, B, C)
    fail(ring, K.RATE_LIMIT, hint=10.0)
    served(ring, 5, now=1.0)
    assert Counter(served(ring, 30, now=20.0)) == {A: 10, B: 10, C: 10}


def test_least_used_prefers_who_has_the_least_in_flight_and_then_in_total() -> None:
    ring = ring_of(A, B, strategy="least_used")
    first, second = lent(ring), lent(ring)
    assert {first.key, second.key} == {A, B}
    settle(ring, second)
    assert lent(ring).key == second.key  # the first is still out
    settle(ring, first)
    assert lent(ring).key == first.key  # used once, the other twice


def test_random_uses_them_all() -> None:
    assert set(served(ring_of(A, B, C, strategy="random"), 200)) == {A, B, C}


@pytest.mark.parametrize("strategy", ["round_robin", "least_used", "random"])
def test_no_strategy_lends_a_key_that_rests_while_another_is_free(strategy: str) -> None:
    ring = ring_of(A, B, C, strategy=strategy)
    for _ in range(2):
        fail(ring, K.RATE_LIMIT, hint=60.0)
    resting = {state.key for state in ring.states("openai") if state.rests}
    assert resting.isdisjoint(served(ring, 20, now=59.0))


def test_a_key_this_call_has_tried_is_not_lent_to_it_again() -> None:
    ring = ring_of(A, B)
    assert lent(ring, avoid=[A]).key == B
    assert isinstance(lend(ring, avoid=[A, B]), Blocked)


# ------------------------------------------------------------------ who rests, and how long


def test_a_hint_is_honoured_in_full_for_that_model_only() -> None:
    ring = ring_of(A)
    fail(ring, K.RATE_LIMIT, hint=37.0)
    assert lend(ring, 36.9) == Blocked(37.0, K.RATE_LIMIT)
    assert lent(ring, 36.9, model="gpt-3.5").key == A
    assert lent(ring, 37.0).key == A


def test_without_a_hint_a_key_climbs_the_ladder() -> None:
    ring, now, rests = ring_of(A), 0.0, []
    for _ in range(6):
        fail(ring, K.RATE_LIMIT, now=now)
        rests.append(ring.states("openai")[0].rests[MODEL].until - now)
        now += rests[-1]
    assert rests == [*LADDER, LADDER[-1], LADDER[-1]]
    settle(ring, lent(ring, now), now=now)
    fail(ring, K.RATE_LIMIT, now=now)
    assert ring.states("openai")[0].rests[MODEL].until == now + LADDER[0]


def test_requests_that_were_refused_together_are_one_step_of_the_ladder() -> None:
    """A hundred in flight when the limit is met: the limit was met once."""
    ring = ring_of(A)
    together = [lent(ring) for _ in range(100)]
    for lease in together:
        settle(ring, lease, Failure(K.RATE_LIMIT), now=1.0)
    assert ring.states("openai")[0].rests[MODEL].until == 1.0 + LADDER[0]


def test_a_fixed_rest_replaces_the_ladder_where_it_is_configured() -> None:
    ring = ring_of(A, rate_limit_rest=900.0)
    for start in (0.0, 900.0):
        fail(ring, K.RATE_LIMIT, now=start)
        assert ring.states("openai")[0].rests[MODEL].until == start + 900.0


def test_a_key_without_credit_rests_for_every_model_and_longer_each_time() -> None:
    ring, now, rests = ring_of(A), 0.0, []
    for _ in range(4):
        fail(ring, K.QUOTA, now=now)
        blocked = lend(ring, now, model="another")
        assert isinstance(blocked, Blocked)
        assert blocked.kind is K.QUOTA
        rests.append(blocked.until - now)
        now = blocked.until
    assert rests == [900.0, 1800.0, 3600.0, 3600.0]


def test_requests_that_found_no_credit_together_are_one_step() -> None:
    ring = ring_of(A)
    for lease in [lent(ring) for _ in range(100)]:
        settle(ring, lease, Failure(K.QUOTA))
    assert lend(ring) == Blocked(900.0, K.QUOTA)


def test_a_hint_about_credit_is_believed() -> None:
    ring = ring_of(A)
    fail(ring, K.QUOTA, hint=1253.0)
    assert lend(ring) == Blocked(1253.0, K.QUOTA)


def test_a_refused_key_rests_until_a_free_probe_accepts_it() -> None:
    ring = ring_of(A)
    fail(ring, K.CREDENTIAL)
    assert lend(ring, 1e9) == Blocked(math.inf, K.CREDENTIAL)
    ring.accept("openai", B)
    assert isinstance(lend(ring, 1e9), Blocked)
    ring.accept("openai", A)
    assert lent(ring, 1e9).key == A


def test_a_free_probe_says_nothing_about_credit_or_limits() -> None:
    for kind in (K.QUOTA, K.RATE_LIMIT, K.PERMISSION):
        ring = ring_of(A)
        fail(ring, kind, hint=100.0)
        ring.accept("openai", A)
        assert isinstance(lend(ring, 1.0), Blocked), kind


def test_a_key_without_permission_rests_for_that_model_for_good() -> None:
    ring = ring_of(A)
    fail(ring, K.PERMISSION)
    assert lend(ring, 1e9) == Blocked(math.inf, K.PERMISSION)
    assert lent(ring, 1e9, model="another").key == A


@pytest.mark.parametrize("kind", [kind for kind in K if not REACTIONS[kind].rest.name.startswith("KEY")])
def test_what_was_not_the_keys_fault_rests_no_key(kind: FailureKind) -> None:
    ring = ring_of(A)
    fail(ring, kind, hint=60.0)
    assert lent(ring, 0.1).key == A


def test_an_empty_bucket_in_a_good_answer_rests_the_key_before_it_is_refused() -> None:
    ring = ring_of(A, B)
    lease = lent(ring)
    ring.rest_key(lease, 12.0, 0.0)
    settle(ring, lease)
    assert served(ring, 3, now=11.0) == [B, B, B]
    assert A in served(ring, 2, now=12.0)


# ------------------------------------------------------------------ what is declared, and what we only suspect


def test_if_all_rest_on_suspicion_the_one_due_first_is_lent_all_the_same() -> None:
    ring = ring_of(A, B)
    fail(ring, K.RATE_LIMIT, now=0.0)
    fail(ring, K.RATE_LIMIT, now=5.0)
    assert lent(ring, 6.0).key == A


def test_what_the_provider_declared_is_honoured_where_suspicion_is_not() -> None:
    ring = ring_of(A, B)
    fail(ring, K.RATE_LIMIT, now=0.0, hint=2.0)  # A, declared
    fail(ring, K.RATE_LIMIT, now=0.0)  # B, a guess of ten seconds
    assert lent(ring, 1.0).key == B


def test_a_declared_time_replaces_a_longer_guess() -> None:
    """Else the key could be lent as the least bad one, earlier than it was told."""
    ring = ring_of(A)
    fail(ring, K.RATE_LIMIT, now=0.0)
    fail(ring, K.RATE_LIMIT, now=1.0, hint=5.0)
    assert lend(ring, 2.0) == Blocked(6.0, K.RATE_LIMIT)
    assert lent(ring, 6.0).key == A


def test_a_guess_never_replaces_a_declared_time() -> None:
    ring = ring_of(A)
    first, second = lent(ring), lent(ring)
    settle(ring, first, Failure(K.RATE_LIMIT, retry_after=5.0), now=0.0)
    settle(ring, second, Failure(K.RATE_LIMIT), now=1.0)
    assert lend(ring, 2.0) == Blocked(5.0, K.RATE_LIMIT)


def test_a_guess_about_one_model_does_not_hide_that_the_key_has_no_credit() -> None:
    ring = ring_of(A)
    first, second = lent(ring), lent(ring)
    settle(ring, first, Failure(K.QUOTA, retry_after=5.0), now=0.0)
    settle(ring, second, Failure(K.RATE_LIMIT), now=1.0)
    assert lend(ring, 2.0) == Blocked(5.0, K.QUOTA)


def test_a_shorter_hint_does_not_shorten_a_longer_one() -> None:
    ring = ring_of(A)
    first, second = lent(ring), lent(ring)
    settle(ring, first, Failure(K.RATE_LIMIT, retry_after=60.0))
    settle(ring, second, Failure(K.RATE_LIMIT, retry_after=1.0))
    assert lend(ring, 30.0) == Blocked(60.0, K.RATE_LIMIT)


def test_blocked_tells_the_soonest_reopening() -> None:
    ring = ring_of(A, B, C)
    for hint in (60.0, 20.0, 40.0):
        fail(ring, K.RATE_LIMIT, hint=hint)
    assert lend(ring, 1.0) == Blocked(20.0, K.RATE_LIMIT)
    assert ring.available("openai", MODEL, 1.0) == Blocked(20.0, K.RATE_LIMIT)


outcomes = st.sampled_from([None, *(kind for kind in K)])
hints = st.none() | st.floats(0, 100)


@given(st.lists(st.tuples(st.floats(0, 50), outcomes, hints, st.booleans()), max_size=30), st.integers(1, 3))
def test_whatever_happens_the_ring_keeps_its_books(
    steps: list[tuple[float, FailureKind | None, float | None, bool]], keys: int
) -> None:
    """Lending agrees with `available`; no declared rest is ever broken; nothing is counted twice or lost."""
    ring, now, out = ring_of(*(A, B, C)[:keys]), 0.0, list[Lease]()
    declared: dict[ApiKey, float] = {}
    for wait, kind, hint, at_once in steps:
        now += wait
        lease = lend(ring, now)
        assert isinstance(lease, Blocked) == (ring.available("openai", MODEL, now) is not None)
        if isinstance(lease, Blocked):
            assert lease.until > now
            continue
        assert lease.key is not None
        assert declared.get(lease.key, -math.inf) <= now
        out.append(lease)
        if not at_once:
            continue
        failure = None if kind is None else Failure(kind, retry_after=hint)
        settle(ring, lease, failure, now)
        out.remove(lease)
        if kind is K.RATE_LIMIT and hint is not None:
            declared[lease.key] = max(declared.get(lease.key, 0.0), now + hint)
    assert ring.leased == len(out)
    assert sum(state.in_use for state in ring.states("openai")) == len(out)
    for lease in out:
        settle(ring, lease, now=now)
        settle(ring, lease, now=now)
    assert ring.leased == 0
    assert all(state.in_use == 0 for state in ring.states("openai"))


# ------------------------------------------------------------------ the books


def test_a_second_report_of_the_same_lease_changes_nothing() -> None:
    ring = ring_of(A)
    lease = lent(ring)
    for _ in range(3):
        settle(ring, lease)
    (state,) = ring.states("openai")
    assert (state.usage_count, state.success_count, state.in_use, ring.leased) == (1, 1, 0, 0)


def test_a_lease_that_was_never_filled_in_may_be_reported() -> None:
    ring = ring_of(A)
    settle(ring, Lease("openai", MODEL), Failure(K.CREDENTIAL))
    assert lent(ring).key == A


def test_a_borrower_that_left_before_its_turn_gets_nothing() -> None:
    ring = ring_of(A)
    lease = Lease("openai", MODEL, settled=True)
    assert ring.lend(lease, 0.0) is None
    assert (lease.key, ring.leased) == (None, 0)


def test_a_key_knows_how_it_fared() -> None:
    ring = ring_of(A)
    served(ring, 2, now=3.0)
    fail(ring, K.RATE_LIMIT, now=4.0)
    (state,) = ring.states("openai")
    assert (state.usage_count, state.success_count, state.rate_limited_count) == (3, 2, 1)
    assert state.last_used == 4.0
    rest = state.rest(MODEL, 5.0)
    assert rest is not None
    assert (rest.until, rest.kind, rest.declared) == (4.0 + LADDER[0], K.RATE_LIMIT, False)


def test_a_sweep_forgets_what_is_over_and_nothing_else() -> None:
    ring = ring_of(A)
    for model, hint in (("one", 10.0), ("two", 20.0)):
        fail(ring, K.RATE_LIMIT, model=model, hint=hint)
    ring.sweep(15.0)
    assert set(ring.states("openai")[0].rests) == {"two"}


def test_new_keys_leave_the_rests_of_the_old_ones_alone() -> None:
    ring = ring_of(A, B)
    fail(ring, K.CREDENTIAL)
    ring.set_keys("openai", [C, A])
    assert served(ring, 2) == [C, C]
    assert [state.key for state in ring.states("openai")] == [C, A]


def test_a_change_by_hand_forgives_what_waited_for_just_that() -> None:
    ring = ring_of(A, B)
    fail(ring, K.PERMISSION)
    fail(ring, K.RATE_LIMIT, hint=60.0)
    ring.forgive("openai")
    assert served(ring, 2) == [A, A]


def test_a_removed_workers_keys_can_still_be_given_back() -> None:
    ring = ring_of(A)
    lease = lent(ring)
    ring.remove("openai")
    settle(ring, lease, Failure(K.CREDENTIAL))
    assert ring.leased == 0
    assert isinstance(lend(ring), Blocked)


def test_a_worker_without_keys_needs_none_and_can_be_told_to_wait_all_the_same() -> None:
    ring = ring_of()
    assert ring.available("nobody", MODEL, 0.0) is None
    assert ring.available("openai", MODEL, 0.0) is None
    assert lent(ring).key is None
    fail(ring, K.RATE_LIMIT, hint=5.0)
    assert ring.available("openai", MODEL, 1.0) == Blocked(5.0, K.RATE_LIMIT)


# ------------------------------------------------------------------ the actor around it


@asynccontextmanager
async def open_manager(ring: KeyRing) -> AsyncIterator[Ref[KeyManager]]:
    ref: Ref[KeyManager] = Ref("keys")
    tree = Supervisor([Child(ref=ref, start=lambda: KeyManager(ring))], max_restarts=100)
    async with trio.open_nursery() as nursery:
        await nursery.start(run, tree)
        yield ref
        nursery.cancel_scope.cancel()


async def kill_and_wait(ref: Ref[KeyManager]) -> None:
    before = ref.process
    ref.kill()
    while ref.process in (None, before):
        await trio.testing.wait_all_tasks_blocked()


async def test_rests_counts_and_position_survive_the_death_of_their_keeper(autojump_clock: object) -> None:
    ring = ring_of(A, B, C)
    async with open_manager(ring) as ref:
        lease = Lease("openai", MODEL)
        assert await ref.call(KeyManager.lease, lease) is None
        assert lease.key == A
        lease.failure, lease.settled = Failure(K.RATE_LIMIT, retry_after=60.0), True
        await ref.call(KeyManager.report, lease)
        await kill_and_wait(ref)
        after = Lease("openai", MODEL)
        assert await ref.call(KeyManager.lease, after) is None
        assert after.key == B
        again = Lease("openai", MODEL)
        await ref.call(KeyManager.lease, again, frozenset({B, C}))
        assert again.key is None  # A still rests


async def test_a_report_that_died_with_the_keeper_is_read_off_the_lease(autojump_clock: object) -> None:
    ring = ring_of(A)
    async with open_manager(ring) as ref:
        lease = Lease("openai", MODEL)
        await ref.call(KeyManager.lease, lease)
        lease.failure, lease.settled = Failure(K.CREDENTIAL), True
        ref.cast(KeyManager.report, lease)
        await kill_and_wait(ref)  # before the cast is handled
        assert ring.leased == 0
        assert await ref.call(KeyManager.lease, Lease("openai", MODEL)) == Blocked(math.inf, K.CREDENTIAL)


async def test_a_borrower_cancelled_while_its_call_is_queued_leaves_no_loan(autojump_clock: object) -> None:
    ring = ring_of(A)
    async with open_manager(ring) as ref:
        lease, ahead = Lease("openai", MODEL), Lease("openai", MODEL)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ref.call, KeyManager.lease, lease)
            ref.cast(KeyManager.report, ahead)  # handled first: the call waits behind it in the mailbox
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
            lease.settled = True
        ref.cast(KeyManager.report, lease)
        await trio.testing.wait_all_tasks_blocked()
        assert (ring.leased, ring.states("openai")[0].in_use) == (0, 0)


def test_a_rest_counts_from_the_answer_however_late_it_is_told() -> None:
    ring = ring_of(A)
    lease = lent(ring)
    lease.ended_at = 2.0
    settle(ring, lease, Failure(K.RATE_LIMIT, retry_after=20.0), now=9.0)
    assert lend(ring, 9.0) == Blocked(22.0, K.RATE_LIMIT)


def test_keys_that_rest_on_a_guess_rest_and_may_be_lent() -> None:
    ring = ring_of(A, B)
    fail(ring, K.RATE_LIMIT)
    assert ring.resting("openai", MODEL, 1.0) is None, "the other one does not"
    fail(ring, K.RATE_LIMIT, now=1.0)
    assert ring.resting("openai", MODEL, 1.0) == Blocked(LADDER[0], K.RATE_LIMIT)
    assert ring.available("openai", MODEL, 1.0) is None
    assert ring.resting("openai", MODEL, 10.0) is None, "the first rest is over"
    assert ring.resting("nobody", MODEL, 1.0) is None


async def test_rests_that_are_over_are_swept_every_five_minutes(autojump_clock: object) -> None:
    ring = ring_of(A)
    async with open_manager(ring) as ref:
        for place in range(3):
            lease = Lease("openai", f"model-{place}")
            await ref.call(KeyManager.lease, lease)
            lease.failure, lease.settled = Failure(K.RATE_LIMIT, retry_after=400.0 * place), True
            await ref.call(KeyManager.report, lease)
        left = []
        for _ in range(3):
            await trio.sleep(SWEEP_SECONDS + 1)
            left.append(sorted(ring.states("openai")[0].rests))
        assert left == [["model-1", "model-2"], ["model-2"], []]
