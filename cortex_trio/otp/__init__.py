"""OTP supervision for Trio programs. Knows nothing of language models and imports nothing else of this project.

A server that crashed is not repaired: its supervisor starts a new one. The modules, in reading order, each importing
only those above it:

    reasons       why a process ended
    mailbox       the messages of a process, and the queue in which they wait
    errors        what a caller can get; Stop, Ignore and Reject, which a server may raise
    nursery       a nursery whose exceptions are not wrapped
    reports       typed events and log lines
    timers        messages that are delivered later
    deferred      answers that are given later
    process       one incarnation: one task, one mailbox, one exit
    ref           the stable address: call, cast, info, stop, kill; monitors of the exit
    child         the spec of a child, and what a supervisor shows of it
    registry      names for refs
    trace         the names of the messages of a server as they are handled
    decision      OTP's rules as pure functions: what is restarted, and how often
    gen_server    a server is a class, its messages are its methods
    member        what a supervisor knows of one child
    task          one run of an async function as a process
    supervision   what static and dynamic supervisors have in common
    describe      the running tree as text
    dynamic       servers and tasks on demand
    supervisor    the static supervisor; run and open_tree, which run a tree in a Trio program

    root = Supervisor([Child(ref=counter, start=Counter)])
    async with open_tree(root):
        await counter.call(Counter.increment, 2)

`docs/otp.md` is the introduction, and lists every deliberate difference from OTP.
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
