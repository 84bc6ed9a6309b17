"""Bugs in the kernel that supervises actors."""

from .mutant import Mutant
from .operators import Drops, Keeps, Reads, Result

DECISION = ("tests/otp/test_otp_decision.py",)
SERVER = ("tests/otp/test_otp_server.py",)
WINDOW = ("tests/otp/test_otp_supervisor.py -k window", "tests/otp/test_otp_supervisor.py")

MUTANTS = (
    Mutant(
        "one restart too many is allowed",
        "otp.decision:RestartIntensity",
        Reads("max_restarts", "value + 1"),
        "max_restarts restarts are allowed in the window, and not one more",
        WINDOW,
    ),
    Mutant(
        "old restarts are counted for ever",
        "otp.decision:RestartIntensity",
        Reads("max_seconds", "float('inf')"),
        "the window slides: one crash a day does not end the gateway after a week",
        WINDOW,
    ),
    Mutant(
        "a transient child is restarted after a normal exit",
        "otp.decision:child_exited",
        Result("Decision.RESTART if restart is Restart.TRANSIENT else result"),
        "a transient child that exited normally is not restarted",
        DECISION,
    ),
    Mutant(
        "rest_for_one restarts one child too few",
        "otp.decision:restart_group",
        Result("result[1:] if strategy is Strategy.REST_FOR_ONE else result"),
        "rest_for_one restarts the child itself as well",
        DECISION,
    ),
    Mutant(
        "pending calls do not fail when the process ends",
        "otp.process:Process.finish",
        Drops("fail_pending"),
        "a call of an actor that dies raises an error, and does not wait for ever",
        SERVER,
    ),
    Mutant(
        "a ref keeps its process after the exit",
        "otp.process:Process.finish",
        Keeps("self.ref.process"),
        "a ref does not lead to a process that has ended",
        SERVER,
    ),
    Mutant(
        "a cancelled call stays pending",
        "otp.mailbox:Mailbox.abandon",
        Drops("pending.discard"),
        "the server does not keep a call that was cancelled",
        SERVER,
    ),
    Mutant(
        "a message without a caller is counted after it was handled",
        "otp.mailbox:Mailbox.get",
        Reads("task", "True"),
        "a mailbox with a limit takes more messages once it is empty",
        SERVER,
    ),
    Mutant(
        "a rejected call ends the server",
        "otp.gen_server:GenServer._handle_call",
        Reads("Reject", "()"),
        "rejecting a call does not end the server",
        SERVER,
    ),
)
