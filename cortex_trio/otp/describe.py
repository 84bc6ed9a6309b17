"""The running tree as text, for a person to read. Sends no message and waits for nothing."""

from collections.abc import Iterator
from typing import Any

from .child import ChildInfo
from .ref import Ref
from .supervision import AbstractSupervisor


def describe(root: Ref[Any]) -> str:
    """Return the tree under `root` as it is now. It can be called from any task.

    root              Supervisor         running
    ├── counter       Counter            running, 2 restarts, 1 message waits
    └── sessions      DynamicSupervisor  running
        └── ada       Session            restarting

    Args:
        root: the ref of any server; for one that is no supervisor there is one line.
    """
    process = root.process
    if process is None:
        return f"{root.name}  not running"
    top = (root.name, type(process.server).__name__, _status("running", 0, len(process.mailbox.queue)))
    rows = [top, *_rows(root, "")]
    width, kind = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(f"{name:<{width}}  {server:<{kind}}  {status}" for name, server, status in rows)


def _rows(ref: Ref[Any], indent: str) -> Iterator[tuple[str, str, str]]:
    server = ref.process.server if ref.process is not None else None
    children: tuple[ChildInfo, ...] = server.children if isinstance(server, AbstractSupervisor) else ()
    for position, child in enumerate(children, start=1):
        branch, below = ("└── ", "    ") if position == len(children) else ("├── ", "│   ")
        status = _status(child.state, child.restarts, child.mailbox_length)
        yield indent + branch + child.id, child.server, status
        yield from _rows(child.ref, indent + below)


def _status(state: str, restarts: int, waiting: int) -> str:
    again = f"{restarts} restart{'s' if restarts > 1 else ''}" if restarts else ""
    queue = f"{waiting} message{'s wait' if waiting > 1 else ' waits'}" if waiting else ""
    return ", ".join(filter(None, (state, again, queue)))
