"""Which key is lent, what is counted, and that a dying KeyManager forgets none of it."""

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
from cortex_trio.failures import REACTIONS, Scope
from cortex_trio.gateway.workers.cooldowns import Cooldowns
from cortex_trio.gateway.workers.keys import SWEEP_SECONDS, Blocked, KeyManager, KeyRing, Lease
from cortex_trio.otp import Child, Ref, Supervisor, run

K = FailureKind
MODEL = "gpt-4"
A, B, C = (ApiKey(f"key-number-{letter}-0001") for letter in "abc")


class Lender:
    """A key ring of one worker, and the cooldowns it reads; a lease is settled as an attempt settles it."""

    def __init__(self, *keys: ApiKey, strategy: str = "round_robin") -> None:
        self.keys = keys
        self.cooldowns = Cooldowns()
        self.ring = KeyRing(self.cooldowns, strategy)
        self.ring.set_keys("openai", keys)

    def lend(self, now: float = 0.0, model: str = MODEL, avoid: Sequence[ApiKey] = ()) -> Lease | Blocked:
        lease = Lease("openai", model, self.keys)
        return self.ring.lend(lease, now, frozenset(avoid)) or lease

    def lent(self, now: float = 0.0, model: str = MODEL, avoid: Sequence[ApiKey] = ()) -> Lease:
        lease = self.lend(now, model, avoid)
        assert isinstance(lease, Lease)
        return lease

    def settle(
        self, lease: Lease, failure: Failure | None = None, now: float = 0.0, started: float | None = None
    ) -> None:
        started = now if started is None else started
        if failure is None:
            self.cooldowns.served(lease.worker, lease.model, lease.key, started=started, now=now)
        else:
            more = len(self.keys) > 1
            self.cooldowns.failed(
                lease.worker, lease.model, lease.key, failure, started=started, now=now, has_more_keys=more
            )
        lease.failure, lease.settled = failure, True
        self.ring.report(lease)

    def fail(
        self, kind: FailureKind, *, now: float = 0.0, hint: float | None = None, model: str = MODEL
    ) -> None:
        self.settle(self.lent(now, model), Failure(kind, retry_after=hint), now)

    def served(self, times: int, now: float = 0.0) -> list[ApiKey | None]:
        keys = []
        for _ in range(times):
            lease = self.lent(now)
            keys.append(lease.key)
            self.settle(lease, now=now)
        return keys


# ------------------------------------------------------------------ which key is next


def test_round_robin_takes_the_keys_in_turn() -> None:
    assert Lender(A, B, C).served(7) == [A, B, C, A, B, C, A]


def test_round_robin_stays_fair_to_the_others_while_one_key_cools_down() -> None:
    lender = Lender(A, B, C)
    lender.fail(K.RATE_LIMIT, hint=1e6)
    counts = Counter(lender.served(300))
    assert set(counts) == {B, C}
    assert abs(counts[B] - counts[C]) <= 100  # the turn of the one that cools down goes to its neighbour only


def test_round_robin_goes_on_where_it_was_when_a_cooldown_ends() -> None:
    lender = Lender(A, B, C)
    lender.fail(K.RATE_LIMIT, hint=10.0)
    lender.served(5, now=1.0)
    assert Counter(lender.served(30, now=20.0)) == {A: 10, B: 10, C: 10}


def test_least_used_prefers_the_key_with_the_least_in_flight_and_then_in_total() -> None:
    lender = Lender(A, B, strategy="least_used")
    first, second = lender.lent(), lender.lent()
    assert {first.key, second.key} == {A, B}
    lender.settle(second)
    assert lender.lent().key == second.key  # the first is still in use
    lender.settle(first)
    assert lender.lent().key == first.key  # used once, the other twice


def test_random_uses_all_keys() -> None:
    assert set(Lender(A, B, C, strategy="random").served(200)) == {A, B, C}


@pytest.mark.parametrize("strategy", ["round_robin", "least_used", "random"])
def test_no_strategy_lends_a_key_that_cools_down_while_another_is_free(strategy: str) -> None:
    lender = Lender(A, B, C, strategy=strategy)
    for _ in range(2):
        lender.fail(K.RATE_LIMIT, hint=60.0)
    cooling = {key for key in (A, B, C) if lender.cooldowns.of_key("openai", MODEL, key, 59.0)}
    assert len(cooling) == 2
    assert cooling.isdisjoint(lender.served(20, now=59.0))


def test_a_key_that_this_call_has_tried_is_not_lent_to_it_again() -> None:
    lender = Lender(A, B)
    assert lender.lent(avoid=[A]).key == B
    assert isinstance(lender.lend(avoid=[A, B]), Blocked)


def test_a_key_cools_down_for_one_model_and_is_lent_for_another() -> None:
    lender = Lender(A)
    lender.fail(K.RATE_LIMIT, hint=37.0)
    assert lender.lend(36.9) == Blocked(37.0, K.RATE_LIMIT)
    assert lender.lent(36.9, model="gpt-3.5").key == A
    assert lender.lent(37.0).key == A


@pytest.mark.parametrize(
    "kind",
    [
        kind
        for kind in K
        if (rule := REACTIONS[kind].cooldown) is None or rule.scope not in {Scope.KEY, Scope.KEY_MODEL}
    ],
)
def test_a_failure_that_is_not_the_keys_fault_blocks_no_key(kind: FailureKind) -> None:
    lender = Lender(A)
    lender.fail(kind, hint=60.0)
    assert lender.lent(0.1).key == A


def test_an_empty_bucket_in_a_success_blocks_the_key_before_it_is_refused() -> None:
    lender = Lender(A, B)
    lease = lender.lent()
    lender.cooldowns.bucket_is_empty("openai", MODEL, A, 12.0, now=0.5)
    lender.settle(lease, now=1.0, started=0.0)
    assert lender.served(3, now=11.0) == [B, B, B]
    assert A in lender.served(2, now=12.5)


# ------------------------------------------------------------------ when all keys cool down


def test_if_all_cool_down_on_a_guess_the_first_to_end_is_lent_all_the_same() -> None:
    lender = Lender(A, B)
    lender.fail(K.RATE_LIMIT, now=0.0)
    lender.fail(K.RATE_LIMIT, now=5.0)
    assert lender.lent(6.0).key == A


def test_a_guess_is_overridden_where_a_time_that_the_server_named_is_not() -> None:
    lender = Lender(A, B)
    lender.fail(K.RATE_LIMIT, now=0.0, hint=2.0)  # A, named
    lender.fail(K.RATE_LIMIT, now=0.0)  # B, a guess of ten seconds
    assert lender.lent(1.0).key == B


def test_blocked_contains_the_time_of_the_first_key() -> None:
    lender = Lender(A, B, C)
    for hint in (60.0, 20.0, 40.0):
        lender.fail(K.RATE_LIMIT, hint=hint)
    assert lender.lend(1.0) == Blocked(20.0, K.RATE_LIMIT)


def test_blocked_says_why_the_keys_that_were_not_tried_yet_are_blocked() -> None:
    """A key that this call has used may be free, and is no help to it."""
    lender = Lender(A, B)
    lender.lent()
    lender.fail(K.QUOTA)  # B
    assert lender.lend(1.0, avoid=[A]) == Blocked(60.0, K.QUOTA)


@pytest.mark.parametrize("kind", [K.CREDENTIAL, K.QUOTA, K.PERMISSION])
def test_a_refused_key_is_tried_by_one_request_after_a_minute(kind: FailureKind) -> None:
    """A QUOTA or CREDENTIAL cooldown lasts longer; one of PERMISSION is over by then."""
    lender = Lender(A)
    lender.fail(kind)
    assert lender.lend(59.0) == Blocked(60.0, kind)
    assert lender.lent(60.0).key == A
    if kind is not K.PERMISSION:
        assert lender.lend(60.0) == Blocked(180.0, kind), "the next one may try after twice as long"
        assert lender.lent(180.0).key == A
        assert lender.lend(180.0) == Blocked(180.0 + 360.0, kind)


def test_a_trial_that_is_served_frees_the_key_for_all() -> None:
    lender = Lender(A)
    lender.fail(K.CREDENTIAL)
    lender.settle(lender.lent(60.0), now=61.0, started=60.0)
    assert lender.served(3, now=62.0) == [A, A, A]


def test_a_trial_is_not_made_while_another_key_is_free() -> None:
    lender = Lender(A, B)
    lender.fail(K.CREDENTIAL)
    assert lender.served(4, now=100.0) == [B, B, B, B]


def test_an_empty_bucket_is_tried_by_one_request_at_a_time() -> None:
    lender = Lender(A)
    lender.cooldowns.bucket_is_empty("openai", MODEL, A, 1000.0, now=0.0)
    assert lender.lend(59.0) == Blocked(60.0, K.RATE_LIMIT)
    assert lender.lent(60.0).key == A
    assert lender.lend(60.0) == Blocked(180.0, K.RATE_LIMIT)


outcomes = st.sampled_from([None, *(kind for kind in K)])
hints = st.none() | st.floats(0, 100)


@given(st.lists(st.tuples(st.floats(0, 50), outcomes, hints, st.booleans()), max_size=30), st.integers(1, 3))
def test_after_any_sequence_the_ring_counts_right(
    steps: list[tuple[float, FailureKind | None, float | None, bool]], keys: int
) -> None:
    """Lending agrees with the table; no time that a server named is broken; nothing is counted twice or lost."""
    lender, now, out = Lender(*(A, B, C)[:keys]), 0.0, list[Lease]()
    declared: dict[ApiKey, float] = {}
    for wait, kind, hint, settle_now in steps:
        now += wait
        first = lender.cooldowns.of_keys("openai", MODEL, lender.keys, now)
        lease = lender.lend(now)
        assert isinstance(lease, Blocked) == (first is not None and not first.may_be_tried(now))
        if isinstance(lease, Blocked):
            assert lease.until > now
            continue
        assert lease.key is not None
        assert declared.get(lease.key, -math.inf) <= now
        out.append(lease)
        if not settle_now:
            continue
        failure = None if kind is None else Failure(kind, retry_after=hint)
        lender.settle(lease, failure, now)
        out.remove(lease)
        if kind is K.RATE_LIMIT and hint is not None:
            declared[lease.key] = max(declared.get(lease.key, 0.0), now + hint)
    ring = lender.ring
    assert ring.leased == len(out)
    assert sum(state.in_use for state in ring.states("openai")) == len(out)
    for lease in out:
        lender.settle(lease, now=now)
        lender.settle(lease, now=now)
    assert ring.leased == 0
    assert all(state.in_use == 0 for state in ring.states("openai"))


# ------------------------------------------------------------------ what is counted


def test_a_second_report_of_the_same_lease_changes_nothing() -> None:
    lender = Lender(A)
    lease = lender.lent()
    for _ in range(3):
        lender.settle(lease)
    (state,) = lender.ring.states("openai")
    assert (state.usage_count, state.success_count, state.in_use, lender.ring.leased) == (1, 1, 0, 0)


def test_a_lease_that_was_never_filled_in_may_be_reported() -> None:
    lender = Lender(A)
    lease = Lease("openai", MODEL, lender.keys, settled=True, failure=Failure(K.CANCELLED))
    lender.ring.report(lease)
    assert lender.lent().key == A


def test_a_caller_that_left_before_its_turn_gets_no_key() -> None:
    lender = Lender(A)
    lease = Lease("openai", MODEL, lender.keys, settled=True)
    assert lender.ring.lend(lease, 0.0) is None
    assert (lease.key, lender.ring.leased) == (None, 0)


def test_uses_successes_and_rate_limits_are_counted_for_each_key() -> None:
    lender = Lender(A)
    lender.served(2, now=3.0)
    lender.fail(K.RATE_LIMIT, now=4.0)
    (state,) = lender.ring.states("openai")
    assert (state.usage_count, state.success_count, state.rate_limited_count) == (3, 2, 1)
    assert state.last_used == 4.0


def test_new_keys_keep_the_counts_and_cooldowns_of_the_old_ones() -> None:
    lender = Lender(A, B)
    lender.fail(K.CREDENTIAL)
    lender.keys = (C, A)
    lender.ring.set_keys("openai", lender.keys)
    assert lender.served(2) == [C, C]
    assert [(state.key, state.usage_count) for state in lender.ring.states("openai")] == [(C, 2), (A, 1)]


def test_the_cooldown_of_a_removed_key_is_removed() -> None:
    lender = Lender(A, B)
    lender.fail(K.CREDENTIAL)
    lender.ring.set_keys("openai", (B,))
    lender.ring.set_keys("openai", (A, B))
    assert set(lender.served(2)) == {A, B}


def test_equal_keys_of_a_new_configuration_are_found_as_fast_as_the_old_ones() -> None:
    """A reload makes new objects; to compare them all at each request would cost as much as there are keys."""
    lender = Lender(A, B)
    before = lender.ring.states("openai")
    lender.keys = (ApiKey(A.reveal()), ApiKey(B.reveal()))
    lender.ring.set_keys("openai", lender.keys)
    after = lender.ring.states("openai")
    assert all(old is new for old, new in zip(before, after, strict=True))
    assert all(state.key is key for state, key in zip(after, lender.keys, strict=True))
    assert lender.ring._states("openai", lender.keys) is lender.ring._keys["openai"]


def test_a_lease_is_filled_from_the_keys_of_its_own_endpoint_also_during_a_reload() -> None:
    lender = Lender(A)
    lender.ring.set_keys("openai", (B,))  # the attempt still goes to the endpoint of before
    lease = lender.lent()
    assert lease.key == A
    lender.settle(lease)
    assert lender.ring.leased == 0


def test_a_removed_workers_keys_can_still_be_given_back() -> None:
    lender = Lender(A)
    lease = lender.lent()
    lender.ring.remove("openai")
    lender.settle(lease)
    assert (lender.ring.leased, lender.ring.states("openai")) == (0, ())


def test_a_worker_without_keys_needs_none() -> None:
    lender = Lender()
    assert lender.lent().key is None
    assert [state.key for state in lender.ring.states("openai")] == [None]
    lender.served(2)
    (state,) = lender.ring.states("openai")
    assert state.usage_count == 3


def test_no_key_shows_in_the_repr_of_a_lease_or_a_state() -> None:
    lender = Lender(A)
    lease = lender.lent()
    shown = f"{lease!r} {lender.ring.states('openai')!r}"
    assert A.reveal() not in shown


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


async def test_cooldowns_counts_and_turns_survive_a_crash_of_the_key_manager(
    autojump_clock: object,
) -> None:
    lender = Lender(A, B, C)
    async with open_manager(lender.ring) as ref:
        lease = Lease("openai", MODEL, lender.keys)
        assert await ref.call(KeyManager.lease, lease) is None
        assert lease.key == A
        lender.settle(lease, Failure(K.RATE_LIMIT, retry_after=60.0), trio.current_time())
        await kill_and_wait(ref)
        after = Lease("openai", MODEL, lender.keys)
        assert await ref.call(KeyManager.lease, after) is None
        assert after.key == B
        again = Lease("openai", MODEL, lender.keys)
        await ref.call(KeyManager.lease, again, frozenset({B, C}))
        assert again.key is None  # A still cools down
        assert [state.usage_count for state in lender.ring.states("openai")] == [1, 1, 0]


async def test_a_report_lost_with_the_key_manager_is_found_on_the_lease(autojump_clock: object) -> None:
    lender = Lender(A)
    async with open_manager(lender.ring) as ref:
        lease = Lease("openai", MODEL, lender.keys)
        await ref.call(KeyManager.lease, lease)
        lease.failure, lease.settled = Failure(K.RATE_LIMIT), True
        ref.cast(KeyManager.report, lease)
        await kill_and_wait(ref)  # before the cast is handled
        (state,) = lender.ring.states("openai")
        assert (lender.ring.leased, state.in_use, state.rate_limited_count) == (0, 0, 1)


async def test_a_caller_cancelled_while_its_call_is_queued_leaves_no_lease(autojump_clock: object) -> None:
    lender = Lender(A)
    async with open_manager(lender.ring) as ref:
        lease, ahead = Lease("openai", MODEL, lender.keys), Lease("openai", MODEL, lender.keys)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ref.call, KeyManager.lease, lease)
            ref.cast(KeyManager.report, ahead)  # handled first: the call waits behind it in the mailbox
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
            lease.settled = True
        ref.cast(KeyManager.report, lease)
        await trio.testing.wait_all_tasks_blocked()
        assert (lender.ring.leased, lender.ring.states("openai")[0].in_use) == (0, 0)


async def test_cooldowns_that_ended_an_hour_ago_are_forgotten_within_five_minutes(
    autojump_clock: object,
) -> None:
    lender = Lender(A)
    async with open_manager(lender.ring):
        started = trio.current_time()
        for index, hint in enumerate((10.0, 700.0)):
            failure = Failure(K.RATE_LIMIT, retry_after=hint)
            lender.cooldowns.failed(
                "openai", f"model-{index}", A, failure, started=started, now=trio.current_time()
            )
        known = lender.cooldowns._workers
        await trio.sleep(3600)
        assert len(known["openai"]) == 2
        await trio.sleep(10 + SWEEP_SECONDS)
        assert [model for model, _ in known["openai"]] == ["model-1"]
        await trio.sleep(700)
        assert not known
