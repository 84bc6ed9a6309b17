"""Which redirects are followed, and where to. Pure.

307 and 308 keep method and body (RFC 9110 §15.4.8), so on the same origin the same request is sent again. Any other
redirect is a failure that names its target: 301, 302 and 303 turn a POST into a GET, and another origin must not get
the API key.
"""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from ...failures import Failure, FailureKind
from ...failures.shown import named

MAX_REDIRECTS = 3
STATUSES = (301, 302, 303, 307, 308)
_KEEP_THE_REQUEST = (307, 308)
MAX_TARGET_LENGTH = 150


def next_target(status: int, headers: Mapping[str, str], url: httpx.URL, left: int) -> str | Failure | None:
    """Return where to send the request next.

    Args:
        status: of the response.
        headers: of the response, names in lower case.
        url: to which the request was sent.
        left: redirects that may still be followed.

    Returns:
        Path and query; a Failure if the redirect must not be followed; None if this is no redirect.
    """
    location = headers.get("location")
    if status not in STATUSES or not location:
        return None
    try:
        target = url.join(location)
    except (httpx.InvalidURL, ValueError):
        return Failure(
            FailureKind.UNKNOWN,
            f"redirects to an invalid address: {named(location)}",
            status,
            phase="headers",
        )
    if status in _KEEP_THE_REQUEST and _origin(target) == _origin(url):
        if left > 0:
            return target.raw_path.decode("ascii")
        problem = f"more than {MAX_REDIRECTS} redirects, the last one to {_shown(target)}"
    else:
        problem = f"redirects to {_shown(target)}: set base_url to the final address"
    return Failure(FailureKind.UNKNOWN, problem, status, phase="headers")


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


def _shown(target: httpx.URL) -> str:
    """Return the address without user, password, query and fragment, which may contain secrets."""
    return named(target.copy_with(userinfo=b"", query=None, fragment=None), MAX_TARGET_LENGTH)
