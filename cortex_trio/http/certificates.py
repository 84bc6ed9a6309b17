"""TLS contexts: which certificates are trusted, from a CA file or folder, or as the environment says.

Making a context takes tens of milliseconds. One is made for each version of a file, known by its modification time, so
a renewed file gives a new context.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

HTTP1, HTTP2 = ("http/1.1",), ("h2", "http/1.1")
"""Protocols offered by ALPN. httpcore writes its own list into a context it is given, so each list has a context."""


class CertificateFileError(ValueError):
    """A CA file or folder cannot be used.

    Attributes:
        problem: what is wrong; the path follows it in the text.
        path: the file or folder as it was given.
        cause: the reason that the system or OpenSSL gives; "" if there is none.
        variable: the environment variable that names the path; None if it was an argument.
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
        """Return the text of the error with `path` in place of the real one, which may have to be hidden."""
        return f"{self.problem} {path}{f' ({self.cause})' if self.cause else ''}"


def context_from(verify: str | Path | bool, *, alpn: tuple[str, ...] = HTTP1) -> ssl.SSLContext:
    """Return a TLS context for a client.

    Args:
        verify: the CA file or folder to trust; True: the CAs of httpx; False: any certificate.
        alpn: the protocols to offer.

    Raises:
        CertificateFileError: the file is missing or contains no certificate.
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
    """Return a context that trusts the CAs of SSL_CERT_FILE and SSL_CERT_DIR, OpenSSL's variables.

    Args:
        environ: the environment variables.
        alpn: the protocols to offer.

    Returns:
        None if neither variable is set.

    Raises:
        CertificateFileError: the file or folder that a variable names is missing, or contains no certificate.
    """
    file, folder = environ.get("SSL_CERT_FILE", ""), environ.get("SSL_CERT_DIR", "")
    if file:
        existing = folder if any(map(os.path.isdir, folder.split(os.pathsep))) else None
        return _context_of_file(file, existing, "SSL_CERT_FILE", alpn)
    if not folder:
        return None
    if not any(map(os.path.isdir, folder.split(os.pathsep))):
        raise CertificateFileError("there is no folder", folder, variable="SSL_CERT_DIR")
    return _context(None, 0, folder, alpn)


def default_context() -> ssl.SSLContext:
    """Return the context that a transport uses when it was given none: from the environment, otherwise httpx's CAs.

    Raises:
        CertificateFileError: as `context_of_environment` does.
    """
    # `docker --env-file` keeps the quotes around a value.
    variables = {name: os.environ.get(name, "").strip(" \t\"'") for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
    return context_of_environment(variables) or context_from(True)


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
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        problem, cause = "cannot read the CA file", getattr(error, "strerror", None) or str(error)
    raise CertificateFileError(problem, path, cause, variable)


@lru_cache(maxsize=64)
def _context(file: str | None, modified_ns: int, folder: str | None, alpn: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=file, capath=folder)
    context.set_alpn_protocols(list(alpn))
    return context


@lru_cache(maxsize=4)
def _of_httpx(verify: bool, alpn: tuple[str, ...]) -> ssl.SSLContext:
    import httpx  # here, because reading a configuration needs only the functions above

    context = httpx.create_ssl_context(verify=verify, trust_env=False)
    context.set_alpn_protocols(list(alpn))
    return context
