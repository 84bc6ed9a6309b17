"""How long a client may take to read a response: a pause may be long, but not every pause. Pure, knows no socket.

A limit for each pause alone is not enough: a client that reads one byte shortly before each end of it keeps its
connection, its buffers and the stream of a provider for as long as it likes.
"""

from __future__ import annotations

from typing import final

LEAST_BYTES_PER_SECOND = 1024
"""While a write waits. A response that comes slowly from the provider makes no write wait."""


@final
class WritePace:
    """The time that the writes of one response may wait for the client.

    Args:
        seconds: of waiting that are allowed at first. Each second of waiting uses one; each KiB that is sent gives one
            back, up to `seconds`.
    """

    __slots__ = ("_most", "_used")

    def __init__(self, seconds: float) -> None:
        self._most = seconds
        self._used = 0.0

    @property
    def left(self) -> float:
        """Seconds that a write may wait now."""
        return max(0.0, self._most - self._used)

    def sent(self, count: int, *, waited: float = 0.0) -> None:
        """Note that bytes were sent, after waiting for so many seconds."""
        if self._used or waited:  # nearly no write waits
            self._used = max(0.0, self._used + waited - count / LEAST_BYTES_PER_SECOND)
