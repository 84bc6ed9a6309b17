"""One shared fact with the time that is left of it, and the rule for two facts of one name.

Pure: no clock, no store. A fact has a random id, so that its early end does not end a newer fact of the same name, and
so that messages may arrive twice or in another order. Points in time are never shared, because clocks differ. The rule
`replaces` is used by every store and by every gateway; `scripts/put.lua` is the same rule inside the server.
"""

from __future__ import annotations

import attrs

LONGEST_SECONDS = 2 * 3600.0
"""A longer time left is not believed: no shared state is without an end."""


@attrs.frozen
class Entry:
    """A fact that several processes share."""

    name: str
    """What it is about, such as one API key of one worker. There is one fact for each name."""
    fact: str
    """The id of the fact: random, chosen by the process that found it out."""
    value: str
    """The fact as text. "": it has ended before its time."""
    seconds: float
    """The time left, > 0. Of an ended fact: how long its end is remembered."""

    @property
    def has_ended(self) -> bool:
        """Whether the fact is void."""
        return not self.value


def replaces(new: Entry, known: Entry | None) -> bool:
    """Return whether `new` replaces `known`.

    The end of a fact replaces this fact only. Of two facts the one that lasts longer stays.

    Args:
        new: has just arrived.
        known: has the same name and has not expired; None if there is none.
    """
    if known is None:
        return True
    if new.fact == known.fact:
        return not known.has_ended and (new.has_ended or new.seconds > known.seconds)
    if new.has_ended != known.has_ended:
        return known.has_ended
    return new.seconds > known.seconds
