"""Which certificates are trusted: all TLS contexts, from a CA file or folder, or as the environment says.

Made once for each version of a file (by its time of change), for making one takes tens of milliseconds; so a renewed
file is another context, and a reload sees that.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import httpx

from ..failures import ConfigError
from ..failures.shown import named
from .process_environ import environment, value_of

HTTP1, HTTP2 = ("http/1.1",), ("h2", "http/1.1")
"""What is offered by ALPN. httpcore writes its own offer into the context it is given, hence one for each."""


def context_from(
    verify: str | Path | bool, field: str = "verify", *, alpn: tuple[str, ...] = HTTP1
) -> ssl.SSLContext:
    """Return a context that trusts the CA file or folder `verify`, httpx's own CAs for True, anything for False.

    Raises ConfigError with the path for a file that is missing or holds no certificate.
    """
    if isinstance(verify, bool):
        return _of_httpx(verify, alpn)
    path = str(verify)
    if os.path.isdir(path):
        return _context(None, 0, path, alpn)
    return _context_of_file(path, None, field, alpn)


def context_of_environment(
    environ: Mapping[str, str], *, alpn: tuple[str, ...] = HTTP1
) -> ssl.SSLContext | None:
    """Return a context that trusts SSL_CERT_FILE and SSL_CERT_DIR, OpenSSL's variables; None if neither is set.

    Raises ConfigError with the variable and the path for what is not there.
    """
    file, folder = value_of(environ, "SSL_CERT_FILE"), value_of(environ, "SSL_CERT_DIR")
    if file:
        there = folder if any(map(os.path.isdir, folder.split(os.pathsep))) else None
        return _context_of_file(file, there, "SSL_CERT_FILE", alpn)
    if not folder:
        return None
    if not any(map(os.path.isdir, folder.split(os.pathsep))):
        raise ConfigError("SSL_CERT_DIR", f"there is no folder {_path(folder)}")
    return _context(None, 0, folder, alpn)


def default_context() -> ssl.SSLContext:
    """Return the context of a transport that was given none: what this process's environment says, else httpx's CAs.

    Raises ConfigError as `context_of_environment` does.
    """
    return context_of_environment(environment()) or context_from(True)


def _context_of_file(path: str, folder: str | None, field: str, alpn: tuple[str, ...]) -> ssl.SSLContext:
    try:
        changed = os.stat(path).st_mtime_ns
        if os.path.isdir(path):
            raise ConfigError(field, f"{_path(path)} is a folder, not a file")
        return _context(path, changed, folder, alpn)
    except FileNotFoundError:
        problem = f"there is no CA file {_path(path)}"
    except ssl.SSLError as error:
        problem = f"no certificate could be read from {_path(path)} ({error.reason or 'not PEM'})"
    except (OSError, ValueError) as error:  # ValueError: a NUL in it
        problem = f"the CA file {_path(path)} cannot be read: {getattr(error, 'strerror', None) or error}"
    raise ConfigError(field, problem)


def _path(path: str) -> str:
    """A path in full; what has no separator and no dot may be a key that was put into the wrong field."""
    return path[:500] if set("/\\.") & set(path) else named(path)


@lru_cache(maxsize=64)
def _context(file: str | None, changed: int, folder: str | None, alpn: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=file, capath=folder)
    context.set_alpn_protocols(list(alpn))
    return context


@lru_cache(maxsize=4)
def _of_httpx(verify: bool, alpn: tuple[str, ...]) -> ssl.SSLContext:
    context = httpx.create_ssl_context(verify=verify, trust_env=False)
    context.set_alpn_protocols(list(alpn))
    return context
