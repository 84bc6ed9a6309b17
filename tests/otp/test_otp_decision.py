"""The rules without Trio: every exit reason, restart type and strategy, and what is worth a report."""

import itertools

import pytest
from harness import Bang

from cortex_trio.otp import (
    BRUTAL_KILL,
    Crashed,
    ExitReason,
    Killed,
    Normal,
    Ref,
    Restart,
    Shutdown,
    Strategy,
    is_abnormal,
)
from cortex_trio.otp.decision import (
    Decision,
    child_exited,
    child_stopped,
    is_expected,
    is_reported,
    restart_group,
)

NORMAL = [Normal(), Shutdown(), Shutdown("info")]
ABNORMAL = [Killed(), Crashed(Bang())]


@pytest.mark.parametrize(("reason", "restart"), list(itertools.product(NORMAL + ABNORMAL, Restart)))
def test_every_reason_and_restart_type_has_a_decision(reason: ExitReason, restart: Restart) -> None:
    """The table of the supervisor's manual page: a normal exit is normal only for a transient child."""
    match restart:
        case Restart.TEMPORARY:
            expected = Decision.FORGET
        case Restart.TRANSIENT:
            expected = Decision.KEEP if reason in NORMAL else Decision.RESTART
        case Restart.PERMANENT:
            expected = Decision.RESTART
    assert child_exited(reason, restart) is expected


def test_killed_and_crashed_are_abnormal() -> None:
    assert [is_abnormal(reason) for reason in NORMAL + ABNORMAL] == [False] * 3 + [True] * 2


def test_a_stopped_child_is_kept_unless_it_is_temporary() -> None:
    assert [child_stopped(restart) for restart in Restart] == [Decision.KEEP, Decision.KEEP, Decision.FORGET]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [(Strategy.ONE_FOR_ONE, "c"), (Strategy.ONE_FOR_ALL, "zcma"), (Strategy.REST_FOR_ONE, "cma")],
)
def test_the_strategy_decides_which_children_are_restarted(strategy: Strategy, expected: str) -> None:
    children = {name: Ref(name) for name in "zcma"}
    assert restart_group(children.values(), children["c"], strategy) == [children[name] for name in expected]


def test_which_exits_are_reported() -> None:
    """Every abnormal exit, and every exit of a permanent child."""
    assert [is_reported(reason, Restart.PERMANENT) for reason in NORMAL + ABNORMAL] == [True] * 5
    for restart in (Restart.TRANSIENT, Restart.TEMPORARY):
        assert [is_reported(reason, restart) for reason in NORMAL + ABNORMAL] == [False] * 3 + [True] * 2


@pytest.mark.parametrize("shutdown", [5.0, BRUTAL_KILL])
def test_which_exits_after_a_stop_request_are_expected(shutdown: float | None) -> None:
    """Shutdown; Killed after BRUTAL_KILL; a child that is not permanent may also stop by itself."""
    for restart in Restart:
        relaxed, brutal = restart is not Restart.PERMANENT, shutdown is BRUTAL_KILL
        seen = [is_expected(reason, restart, shutdown) for reason in NORMAL + ABNORMAL]
        assert seen == [relaxed, relaxed or not brutal, relaxed, brutal, False]
