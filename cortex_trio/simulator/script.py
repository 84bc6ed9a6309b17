"""Scripts: which request gets which behaviour. Knows no dialect and no connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

from .behaviour import Behaviour
from .request import SimRequest

Step = Behaviour | Callable[[SimRequest], Behaviour]
Script = Sequence[Behaviour] | Callable[[SimRequest], Behaviour]


def script_of(steps: Sequence[Step]) -> Script:
    """Return one function, or behaviours; no step at all is one good behaviour that repeats.

    Raises TypeError for a mixture of both, ValueError for a last step that is to end after some seconds.
    """
    behaviours = [step for step in steps if isinstance(step, Behaviour)]
    if len(behaviours) == len(steps):
        if behaviours and behaviours[-1].lasts is not None:
            raise ValueError("Behaviour.lasts: the last step of a script repeats; add the step that follows")
        return tuple(behaviours) or (Behaviour(),)
    if len(steps) == 1 and not isinstance(steps[0], Behaviour) and callable(steps[0]):
        return steps[0]
    raise TypeError("a script is any number of Behaviour values, or exactly one function of a SimRequest")


@final
class Playback:
    """The place in a script. `now` is Trio time and always a parameter."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._step = 0
        self._met_at: float | None = None  # when the present step was first met; only for one that `lasts`

    def connect(self, now: float) -> Behaviour:
        """Return the behaviour for a new connection. A refusal uses up its step; functions are for requests only."""
        behaviour = self._present(now)
        if behaviour is None:
            return Behaviour()
        if behaviour.refuse:
            self._use(behaviour)
        return behaviour

    def take(self, request: SimRequest) -> Behaviour:
        """Return the behaviour for a request, and use up its step. Raises what a script's function raises."""
        behaviour = self._present(request.when)
        if behaviour is None:
            assert callable(self._script)
            return self._script(request)
        self._use(behaviour)
        return behaviour

    def _present(self, now: float) -> Behaviour | None:
        """Return the present step, after skipping those whose time is over; None for a function."""
        if callable(self._script):
            return None
        behaviour = self._script[min(self._step, len(self._script) - 1)]
        if behaviour.lasts is None:
            return behaviour
        if self._met_at is None:
            self._met_at = now
        if now < self._met_at + behaviour.lasts:
            return behaviour
        self._step, self._met_at = self._step + 1, None
        return self._present(now)

    def _use(self, behaviour: Behaviour) -> None:
        if behaviour.lasts is None:
            self._step += 1
