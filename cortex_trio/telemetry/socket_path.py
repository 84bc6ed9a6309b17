"""Where the sockets with snapshots are: chosen by the user, or found by both sides in a folder of the user's own."""

from __future__ import annotations

import itertools
import os
import stat
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..failures import ConfigError

PREFIX = "unix:"
FOLDER = "cortex-trio"


def path_from(address: str) -> Path:
    """Return the path of `unix:/run/cortex.sock`. Raises ConfigError for another form."""
    path = address.removeprefix(PREFIX)
    if path == address or not path or "\0" in path:
        raise ConfigError(
            "observe", f'expected True or an address such as "unix:/run/cortex.sock", not {address!r}'
        )
    return Path(path)


def new_path(environ: Mapping[str, str]) -> Path:
    """Return a free path for a socket of this process, in a folder that only the user may enter.

    Raises:
        ConfigError: the folder cannot be made, or other users may enter it.
    """
    if not hasattr(os, "getuid"):
        raise ConfigError("observe", "this platform has no folders of single users: name a socket")
    folder = folder_from(environ)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        private = _is_private(folder)
    except OSError as error:
        raise ConfigError("observe", f"cannot make the folder {folder}: {error.strerror}") from error
    if not private:
        raise ConfigError("observe", f"other users may enter {folder}: remove it, or name a socket")
    names = itertools.chain((f"{os.getpid()}",), (f"{os.getpid()}-{number}" for number in itertools.count(2)))
    return next(path for name in names if not (path := folder / f"{name}.sock").exists())


def find_sockets(environ: Mapping[str, str]) -> Sequence[Path]:
    """Return the sockets of this user's programs that were opened with `observe=True`, the newest first.

    A program that was killed may have left its socket behind: connecting to it fails.
    """
    if not hasattr(os, "getuid"):
        return ()
    folder = folder_from(environ)
    try:
        sockets = [(path.lstat().st_mtime, path) for path in folder.glob("*.sock") if _is_private(folder)]
    except OSError:  # a program has ended meanwhile
        return ()
    return tuple(path for _, path in sorted(sockets, reverse=True))


def folder_from(environ: Mapping[str, str]) -> Path:
    """Return the folder: in $XDG_RUNTIME_DIR, or else in the folder for temporary files."""
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime):
        return Path(runtime) / FOLDER
    return Path(tempfile.gettempdir()) / f"{FOLDER}-{os.getuid()}"


def _is_private(folder: Path) -> bool:
    """Return whether only this user may enter: in a folder of another user, a socket may be of any program."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
