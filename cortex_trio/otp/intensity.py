"""How many restarts are too many. Pure: no clock of its own, no supervisor."""

from collections import deque

from .errors import require


class RestartIntensity:
    """The sliding window: more than max_restarts in the last max_seconds (inclusive) is too many.

    OTP's `add_restart`: the restart being decided is counted first, then compared. So `max_restarts`
    are allowed inside the window and the next one is not; with 0, the first is already too many.
    The window slides: old restarts age out one by one, and success never resets it.
    """

    def __init__(self, max_restarts: int = 3, max_seconds: float = 5.0) -> None:
        whole = isinstance(max_restarts, int) and max_restarts >= 0
        require(whole, f"max_restarts must be an integer >= 0, not {max_restarts!r}")
        require(max_seconds > 0, f"max_seconds must be > 0, not {max_seconds!r}")
        self.max_restarts, self.max_seconds = max_restarts, max_seconds
        self._times: deque[float] = deque()

    def allow(self, now: float) -> bool:
        """Count one restart at `now` (seconds, never going back); False when it is one too many."""
        while self._times and self._times[0] < now - self.max_seconds:
            self._times.popleft()
        self._times.append(now)
        return len(self._times) <= self.max_restarts
