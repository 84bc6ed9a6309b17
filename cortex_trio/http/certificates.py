"""TLS contexts: which certificates are trusted, from a CA file or folder, or as the environment says.

A context is made once for each version of a file (by its time of change), for making one takes tens of milliseconds;
so a renewed file gives another context.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import httpx

HTTP1, HTTP2 = ("http/1.1",), ("h2", "http/1.1")
"""What is offered by ALPN. httpcore writes its own offer into the context it is given, hence one for each."""


class CertificateFileError(ValueError):
    """A CA file or folder cannot be used.

    Attributes:
        problem: what is wrong, to be read in front of the path.
        path: the file or folder as it was given.
        cause: what the system or OpenSSL said about it; "" if nothing.
        variable: the environment variable that names it; None if it was an argument.
    """

    def __init__(self, problem: str, path: str, cause: str = "", variable: str | None = None) -> None:
        super().__init__(problem, path, cause, variable)
        self.problem = problem
        self.path = path
        self.cause = cause
        self.variable = variable

    def __str__(self) -> str:
        variable = f"{self.variable}: " if self.variable else ""
        return variable + self.problem_with(self.path)

    def problem_with(self, path: str) -> str:
        """The problem, with `path` as the caller wants it shown."""
        return f"{self.problem} {path}{f' ({self.cause})' if self.cause else ''}"


def context_from(verify: str | Path | bool, *, alpn: tuple[str, ...] = HTTP1) -> ssl.SSLContext:
    """Return a context that trusts the CA file or folder `verify`, httpx's own CAs for True, anything for False.

    Raises:
        CertificateFileError: the file is missing or holds no certificate.
    """
    if isinstance(verify, bool):
        return _of_httpx(verify, alpn)
    path = str(verify)
    if os.path.isdir(path):
        return _context(None, 0, path, alpn)
    return _context_of_file(path, None, None, alpn)


def context_of_environment(
    environ: Mapping[str, str], *, alpn: tuple[str, ...] = HTTP1
) -> ssl.SSLContext | None:
    """Return a context that trusts SSL_CERT_FILE and SSL_CERT_DIR, OpenSSL's variables; None if neither is set.

    Raises:
        CertificateFileError: what a variable names is not there, or holds no certificate.
    """
    file, folder = environ.get("SSL_CERT_FILE", ""), environ.get("SSL_CERT_DIR", "")
    if file:
        there = folder if any(map(os.path.isdir, folder.split(os.pathsep))) else None
        return _context_of_file(file, there, "SSL_CERT_FILE", alpn)
    if not folder:
        return None
    if not any(map(os.path.isdir, folder.split(os.pathsep))):
        raise CertificateFileError("there is no folder", folder, variable="SSL_CERT_DIR")
    return _context(None, 0, folder, alpn)


def default_context() -> ssl.SSLContext:
    """Return the context of a transport that was given none: what this process's environment says, else httpx's CAs.

    Raises:
        CertificateFileError: as `context_of_environment` does.
    """
    return context_of_environment(os.environ) or context_from(True)


def _context_of_file(
    path: str, folder: str | None, variable: str | None, alpn: tuple[str, ...]
) -> ssl.SSLContext:
    cause = ""
    try:
        if os.path.isdir(path):
            raise IsADirectoryError
        return _context(path, os.stat(path).st_mtime_ns, folder, alpn)
    except FileNotFoundError:
        problem = "there is no CA file"
    except IsADirectoryError:
        problem = "a file is needed, and this is a folder:"
    except ssl.SSLError as error:
        problem, cause = "no certificate could be read from", error.reason or "not PEM"
    except (OSError, ValueError) as error:  # ValueError: a NUL in it
        problem, cause = "cannot read the CA file", getattr(error, "strerror", None) or str(error)
    raise CertificateFileError(problem, path, cause, variable)


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
