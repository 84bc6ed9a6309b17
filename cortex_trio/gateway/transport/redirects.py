"""Where a server sends a request instead, and whether it may go there. Pure.

307 and 308 keep method and body (RFC 9110 §15.4.8), so on the same origin the same request is sent again. All else
is an error that names the place: 301, 302 and 303 turn a POST into a GET, and another origin must not get the key.
"""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from ...failures import Failure, FailureKind
from ...failures.shown import named

MOST_REDIRECTS = 3
STATUSES = (301, 302, 303, 307, 308)
_KEEP_THE_REQUEST = (307, 308)
LONGEST_PLACE = 150


def next_target(status: int, headers: Mapping[str, str], url: httpx.URL, left: int) -> str | Failure | None:
    """Return the path and query to ask next, a Failure if it may not be asked, None if this is no redirect.

    `url` is what was asked, `left` the redirects that may still be followed.
    """
    location = headers.get("location")
    if status not in STATUSES or not location:
        return None
    try:
        place = url.join(location)
    except (httpx.InvalidURL, ValueError):
        return Failure(
            FailureKind.UNKNOWN,
            f"redirects to what is no address: {named(location)}",
            status,
            phase="headers",
        )
    if status in _KEEP_THE_REQUEST and _origin(place) == _origin(url):
        if left > 0:
            return place.raw_path.decode("ascii")
        problem = f"more than {MOST_REDIRECTS} redirects, the last one to {_shown(place)}"
    else:
        problem = f"redirects to {_shown(place)}: set base_url to the address that answers"
    return Failure(FailureKind.UNKNOWN, problem, status, phase="headers")


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


def _shown(place: httpx.URL) -> str:
    """Without user, password, query and fragment, which may hold secrets."""
    return named(place.copy_with(userinfo=b"", query=None, fragment=None), LONGEST_PLACE)
