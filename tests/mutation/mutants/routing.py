"""Bugs in the choice of a worker: plan, waits, retries, index, strategies."""

from .mutant import Mutant, exam
from .operators import After, Before, Calls, Drops, Keeps, Reads, Result, Returns

INDEX = ("tests/gateway/test_worker_index.py",)
PLAN = "tests/gateway/test_plan.py"
WAIT_QUEUE = ("tests/gateway/test_wait_queue.py",)

PLANS = (
    Mutant(
        "attempts are not counted",
        "gateway.routing.plan:FailoverPlan.learn",
        Keeps("self._allowance.attempts_left"),
        "max_attempts bounds what one call costs",
        (PLAN,),
    ),
    Mutant(
        "a connect that failed counts as an attempt",
        "gateway.routing.plan:FailoverPlan.learn",
        After("self._allowance.attempts_left -= failure.phase == 'connect'"),
        "with every remote worker unreachable the local model still answers",
        (PLAN,),
    ),
    Mutant(
        "a window of the same size is large enough",
        "gateway.routing.plan:FailoverPlan._is_large_enough",
        Result("result or candidate.window == self._too_small"),
        "after context_length only a larger window is asked",
        (PLAN, exam("S12")),
    ),
    Mutant(
        "the same worker is asked again after something was delivered",
        "gateway.routing.plan:FailoverPlan.learn",
        Before("committed = False"),
        "after a commit the next worker comes first",
        (PLAN, exam("S08", "S10")),
    ),
    Mutant(
        "the only worker is given up after two requests",
        "gateway.routing.plan:FailoverPlan",
        Reads("pause_as_official_sdks", "pause_beside_others"),
        "never worse than the official SDKs",
        (PLAN, exam("S32")),
    ),
    Mutant(
        "a worker that cannot be reached takes the attempts of another",
        "gateway.routing.readiness:_has_no_reconnect_left",
        Returns("allowance.retries >= allowance.max_attempts - 1"),
        "never worse than the official SDKs beside a worker that is down",
        (PLAN,),
    ),
    Mutant(
        "the retry budget never ends",
        "gateway.routing.retries:RetryBudget.take",
        After("self._tokens += 1"),
        "an outage does not become a storm of retries",
        ("tests/gateway/test_retries.py",),
    ),
)

WAITS = (
    Mutant(
        "a wait ends early",
        "gateway.routing.readiness:time_after_refusal",
        Reads("WAIT_JITTER", "-value"),
        "never earlier than asked",
        (PLAN, exam("S01", "S18")),
    ),
    Mutant(
        "a wait that does not fit the deadline is begun",
        "gateway.routing.readiness:earliest",
        Reads("deadline", "float('inf')"),
        "a Retry-After that does not fit the deadline is not waited for",
        (PLAN,),
    ),
    Mutant(
        "max_wait is not kept",
        "gateway.routing.readiness:time_after_refusal",
        Reads("wait_left", "float('inf')"),
        "a call waits no longer than max_wait",
        (PLAN, exam("S30")),
    ),
    Mutant(
        "a permit that was freed is not reserved",
        "gateway.routing.wait_queue:WaitQueue.reserved",
        Returns("0"),
        "calls are served in the order in which they began to wait",
        WAIT_QUEUE,
    ),
    Mutant(
        "a call that waits does not see what has changed",
        "gateway.routing.wait_queue:WaitQueue.wake_all",
        Drops("woken.set"),
        "a cooldown that is lifted ends the waits for it",
        WAIT_QUEUE,
    ),
)

CHOICES = (
    Mutant(
        "names match in part",
        "gateway.routing.eligibility:name_refusal",
        Result("None if criteria.provider and criteria.provider in state.kind.name else result"),
        "a part of a name does not send traffic to another provider",
        ("tests/gateway/test_bad_input.py",),
    ),
    Mutant(
        "the highest number has priority",
        "gateway.routing.strategies:priority_of",
        Result("-result"),
        "the lowest number is asked first",
        ("tests/gateway/test_selection.py",),
    ),
    Mutant(
        "a last resort is chosen though other workers can serve",
        "gateway.routing.selection:choose",
        Calls("is_last_resort", "False"),
        "a worker whose keys may be cooling down is asked last",
        INDEX,
    ),
    Mutant(
        "a ranking grows with the requests",
        "gateway.routing.group:Ranking",
        Reads("SLACK", "float('inf')"),
        "memory is bounded by how many workers there are",
        INDEX,
    ),
    Mutant(
        "names that callers invent are kept",
        "gateway.routing.index:WorkerIndex",
        Reads("MAX_GROUPS", "float('inf')"),
        "memory is bounded whatever callers ask for",
        INDEX,
    ),
)

MUTANTS = (*PLANS, *WAITS, *CHOICES)
