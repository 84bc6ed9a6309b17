"""OTP supervision for any Trio program. It knows nothing of language models.

Let it crash, and let someone whose only job it is decide what to do about it. The map, in reading order:

    reasons       why a process ended
    errors        what a caller can get; Stop, Ignore and Reject, which a server may raise
    process       one incarnation: one task, one mailbox, one end
    ref           the stable address: call, cast, info, monitor, kill; Deferred answers
    gen_server    a server is a class, its messages are its methods
    child         how a child is specified, and how it is seen
    decision      the rules of OTP as pure functions: who is restarted, and how often is too often
    supervision   what every supervisor does
    supervisor    the static one; run: where a tree meets your nursery
    dynamic       servers and tasks on demand
    registry      names for refs
    reports       typed events and log lines; describe: the running tree as text

    async with trio.open_nursery() as nursery:
        root = Supervisor([Child(ref=counter, start=Counter)])
        await nursery.start(run, root)
        await counter.call(Counter.increment, 2)

`docs/otp.md` is the way in, with every deliberate difference to OTP.
"""

# isort: off
# fmt: off
from .child import BRUTAL_KILL, AutoShutdown, Backoff, Child, ChildInfo, ChildState, Restart, Strategy
from .decision import RestartIntensity
from .describe import describe
from .dynamic import DynamicSupervisor, TaskSupervisor
from .errors import ActorError, ActorExited, AlreadyPresent, AlreadyRegistered, AlreadyStarted, CallingSelf, Ignore
from .errors import MailboxFull, MaxChildrenReached, MaxRestartsExceeded, NoProcess, NotFound, Reject, Restarting
from .errors import StartFailed, Stop
from .gen_server import GenServer, Timer
from .reasons import Crashed, ExitReason, Killed, Normal, Shutdown, is_abnormal
from .ref import Deferred, Down, Monitor, Ref
from .registry import Registry
from .reports import Report, ReportKind
from .supervisor import Supervisor, run

__all__ = [
    "BRUTAL_KILL", "ActorError", "ActorExited", "AlreadyPresent", "AlreadyRegistered", "AlreadyStarted",
    "AutoShutdown", "Backoff", "CallingSelf", "Child", "ChildInfo", "ChildState", "Crashed", "Deferred", "Down",
    "DynamicSupervisor", "ExitReason", "GenServer", "Ignore", "Killed", "MailboxFull", "MaxChildrenReached",
    "MaxRestartsExceeded", "Monitor", "NoProcess", "Normal", "NotFound", "Ref", "Registry", "Reject", "Report",
    "ReportKind", "Restart", "RestartIntensity", "Restarting", "Shutdown", "StartFailed", "Stop", "Strategy",
    "Supervisor", "TaskSupervisor", "Timer", "describe", "is_abnormal", "run",
]
