"""OTP supervision for any Trio program. It knows nothing of language models.

A server that crashed is not repaired: its supervisor decides what is started again. The map, in reading order:

    reasons       why a process ended
    errors        what a caller can get; Stop, Ignore and Reject, which a server may raise
    mailbox       messages, and the queue where they wait
    timers        messages that come later
    process       one incarnation: one task, one mailbox, one end
    monitor       hearing of the end of a process
    deferred      answers that are given later
    ref           the stable address: call, cast, info, monitor, arrival, stop, kill
    gen_server    a server is a class, its messages are its methods
    child         how a child is specified, and how it is seen
    decision      the rules of OTP as pure functions: who is restarted, and how often is too often
    member        a child as its supervisor keeps it
    supervision   what every supervisor does
    supervisor    the static one; run and open_tree: where a tree meets your program
    task          one run of an async function as a child
    dynamic       servers and tasks on demand
    registry      names for refs
    reports       typed events and log lines
    describe      the running tree as text; trace: the messages of a server as they are handled

    root = Supervisor([Child(ref=counter, start=Counter)])
    async with open_tree(root):
        await counter.call(Counter.increment, 2)

`docs/otp.md` is the way in, with every deliberate difference to OTP.
"""

# isort: off
# fmt: off
from .child import BRUTAL_KILL, AutoShutdown, Backoff, Child, ChildInfo, ChildState, Grace, Restart, Strategy
from .decision import RestartIntensity
from .deferred import Deferred
from .describe import describe
from .dynamic import DynamicSupervisor, TaskSupervisor
from .errors import ActorError, ActorExited, AlreadyPresent, AlreadyRegistered, AlreadyStarted, CallingSelf, Ignore
from .errors import MailboxFull, MaxChildrenReached, MaxRestartsExceeded, NoProcess, NotFound, Reject, Restarting
from .errors import StartFailed, Stop
from .gen_server import GenServer
from .reasons import Crashed, ExitReason, Killed, Normal, Shutdown, is_abnormal
from .ref import Down, Monitor, Ref
from .registry import Registry
from .reports import Report, ReportKind
from .supervisor import Supervisor, open_tree, run
from .task import Task
from .timers import Timer
from .trace import trace

__all__ = [
    "BRUTAL_KILL", "ActorError", "ActorExited", "AlreadyPresent", "AlreadyRegistered", "AlreadyStarted",
    "AutoShutdown", "Backoff", "CallingSelf", "Child", "ChildInfo", "ChildState", "Crashed", "Deferred",
    "Down", "DynamicSupervisor", "ExitReason", "GenServer", "Grace", "Ignore", "Killed", "MailboxFull",
    "MaxChildrenReached", "MaxRestartsExceeded", "Monitor", "NoProcess", "Normal", "NotFound", "Ref",
    "Registry", "Reject", "Report", "ReportKind", "Restart", "RestartIntensity", "Restarting", "Shutdown",
    "StartFailed", "Stop", "Strategy", "Supervisor", "Task", "TaskSupervisor", "Timer", "describe",
    "is_abnormal", "open_tree", "run", "trace",
]
