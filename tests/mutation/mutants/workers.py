"""Bugs in workers: breaker, permits, cooldowns, API keys."""

from .mutant import Mutant, exam
from .operators import After, Before, Calls, Constant, Drops, Reads, Result, Returns

BREAKER = ("tests/gateway/test_breaker.py",)
COOLDOWNS = "tests/gateway/test_cooldowns.py"
KEYS = "tests/gateway/test_keys.py"
RELOAD = "tests/gateway/test_reload.py"
WORKER = "tests/gateway/test_worker.py"

BREAKERS = (
    Mutant(
        "the breaker opens one failure late",
        "gateway.workers.breaker:IN_A_ROW",
        Constant("value + 1"),
        "three failures in a row open the breaker",
        BREAKER,
    ),
    Mutant(
        "a trial is never given back",
        "gateway.workers.breaker:Breaker.record",
        Before("is_released = True"),
        "whatever the result of a trial, the next one may begin",
        BREAKER,
    ),
    Mutant(
        "a half-open breaker admits every request",
        "gateway.workers.breaker:Breaker.admits",
        Result("result or self.state(now) is BreakerState.HALF_OPEN"),
        "half-open admits one trial at a time",
        BREAKER,
    ),
    Mutant(
        "a trial that succeeds does not close the breaker",
        "gateway.workers.breaker:Breaker.record",
        Drops("_close"),
        "a worker that serves again is asked again",
        BREAKER,
    ),
    Mutant(
        "a health check closes the breaker",
        "gateway.workers.breaker:Breaker.check_passed",
        After("self._close()"),
        "a health check moves open to half-open, never to closed",
        BREAKER,
    ),
    Mutant(
        "the breaker's time does not double",
        "gateway.workers.breaker:Breaker",
        Reads("OPEN_SECONDS", "(value[0], value[0])"),
        "a worker that stays down is asked ever less often",
        BREAKER,
    ),
    Mutant(
        "a breaker remembers any number of requests",
        "gateway.workers.breaker:Breaker",
        Reads("WINDOW_CALLS", "float('inf')"),
        "what a breaker remembers is bounded",
        BREAKER,
    ),
    Mutant(
        "every worker may be ejected",
        "gateway.workers.registry:WorkerTable.may_eject",
        Returns("True"),
        "never more than half of the workers are ejected on passive evidence",
        ("tests/gateway/test_registry.py", WORKER),
    ),
)

PERMITS = (
    Mutant(
        "a permit is leaked when its request fails",
        "gateway.workers.worker:Worker._settle",
        Drops("permits.discard", when="permit.failure is not None"),
        "a permit comes back whatever the result of its request",
        (WORKER, exam("S17")),
    ),
    Mutant(
        "a message that was lost with a crash stays lost",
        "gateway.workers.worker:Worker.init",
        Drops("_process_permits"),
        "what a crashed actor did not receive, the next one reads from the permit",
        (WORKER, "tests/gateway/test_kill_actors.py"),
    ),
    Mutant(
        "a cancelled request counts as a failure",
        "gateway.workers.worker:Worker",
        Reads("CANCELLED", "None"),
        "a request that its caller cancels counts against no worker",
        (WORKER, exam("S17")),
    ),
    Mutant(
        "the caller's own limits count against a worker",
        "gateway.workers.worker:breaker_weight",
        Reads("ours", "False"),
        "what ran out on this side counts against no worker",
        (WORKER,),
    ),
    Mutant(
        "the limit of requests in flight is one too high",
        "gateway.workers.worker:WorkerState.is_full",
        Reads("max_concurrency", "value and value + 1"),
        "max_concurrency is kept",
        (WORKER, "tests/gateway/test_selection.py"),
    ),
    Mutant(
        "a removed worker is never drained",
        "gateway.workers.worker:Worker",
        Drops("drained.set"),
        "removing a worker waits for its streams, and no longer",
        (WORKER, RELOAD),
    ),
    Mutant(
        "a call to an actor that is being restarted fails at once",
        "gateway.workers.calls:RESTART_SECONDS",
        Constant("0.0"),
        "killing an actor loses no request",
        ("tests/gateway/test_kill_actors.py", exam("S25")),
    ),
)

COOLING_DOWN = (
    Mutant(
        "a worker's Retry-After is ignored",
        "gateway.workers.cooldowns:Cooldowns.failed",
        Before(
            "if REACTIONS[failure.kind].cooldown is None:\n    failure = attrs.evolve(failure, retry_after=None)"
        ),
        "a worker that asked for time gets it, breaker or not",
        (COOLDOWNS, "tests/gateway/test_end_to_end.py"),
    ),
    Mutant(
        "a key that was refused does not cool down",
        "gateway.workers.cooldowns:Cooldowns.failed",
        Before("if REACTIONS[failure.kind].cooldown is not None:\n    return"),
        "a key cools down for as long as the provider said",
        (COOLDOWNS, KEYS),
    ),
    Mutant(
        "a cooldown does not grow",
        "gateway.workers.cooldowns:Cooldowns._by_rule",
        Before("failures = 1"),
        "a key that is refused again and again cools down longer and longer",
        (COOLDOWNS,),
    ),
    Mutant(
        "a declared cooldown has no limit",
        "gateway.workers.cooldowns:_declared",
        Reads("LONGEST_COOLDOWN", "float('inf')"),
        "no cooldown is longer than an hour",
        (COOLDOWNS,),
    ),
    Mutant(
        "a trial may follow a refusal at once",
        "gateway.workers.cooldowns:Cooldowns._by_rule",
        Result("attrs.evolve(result, trial_at=now) if result.basis is Basis.REFUSED else result"),
        "a trial comes a minute after a refusal",
        (COOLDOWNS, exam("S34")),
    ),
    Mutant(
        "trials do not become rarer",
        "gateway.workers.cooldowns:Cooldowns.begin_trial",
        Calls("evolve", "attrs.evolve(result, trial_at=(now + result.trial_at) / 2)"),
        "each trial that is not served doubles the time to the next",
        (COOLDOWNS,),
    ),
    Mutant(
        "a failed health check counts for ever",
        "gateway.workers.cooldowns:Cooldowns.suspect",
        Reads("CHECK_SECONDS", "float('inf')"),
        "every state ends by itself: a failed health check grows old",
        (COOLDOWNS, "tests/mutation/test_gaps.py"),
    ),
    Mutant(
        "a worker is not asked after a failed health check",
        "gateway.workers.cooldowns:Cooldowns.suspect",
        Calls("Cooldown", "attrs.evolve(result, trial_at=result.until)"),
        "a suspected worker is asked last, not never",
        (COOLDOWNS, exam("S33")),
    ),
    Mutant(
        "a reload lifts what a server declared",
        "gateway.workers.cooldowns:Cooldowns.lift",
        Reads("DECLARED", "None"),
        "a time that a server named is honoured whatever asks for an end",
        (COOLDOWNS,),
    ),
    Mutant(
        "a request that is served does not end a cooldown",
        "gateway.workers.cooldowns:Cooldowns.served",
        Returns("False"),
        "a worker that serves again is available again",
        (COOLDOWNS,),
    ),
)

LEASES = (
    Mutant(
        "a declared cooldown is overridden like a suspected one",
        "gateway.workers.keys:KeyRing",
        Calls("may_be_tried", "True"),
        "what the provider itself declared is honoured",
        (KEYS,),
    ),
    Mutant(
        "a lease is leaked when its request failed",
        "gateway.workers.keys:KeyRing.report",
        Before("if lease.failure is not None:\n    return"),
        "a key comes back whatever the result of its request",
        (KEYS,),
    ),
    Mutant(
        "round robin always starts with the first key",
        "gateway.workers.keys:KeyRing._next_in_turn",
        Before("self._turn.pop(worker, None)"),
        "round robin uses one key after the other",
        (KEYS,),
    ),
    Mutant(
        "a reload forgets the counts of keys that stay",
        "gateway.workers.keys:KeyRing._states",
        Result("result if result is self._keys.get(worker) else [KeyState(state.key) for state in result]"),
        "a key that stays keeps its counts",
        (KEYS, RELOAD),
    ),
    Mutant(
        "a caller that left is lent a key",
        "gateway.workers.keys:KeyRing.lend",
        Reads("settled", "False"),
        "no key is lent to a caller that has left",
        (KEYS, "tests/gateway/test_cancellation.py"),
    ),
)

MUTANTS = (*BREAKERS, *PERMITS, *COOLING_DOWN, *LEASES)
