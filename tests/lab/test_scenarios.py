"""The exam is passed: runs the parts in cortex_trio.lab.exam."""

import pytest

from cortex_trio.lab.exam.scenario import Part, Scenario
from cortex_trio.lab.exam.scorecard import perform
from cortex_trio.lab.exam.scorecard import play as play_in_virtual_time

SECOND = 0.1
"""The length of a second over sockets."""

Play = tuple[Scenario, Part, str]


def test_in_virtual_time(play: Play) -> None:
    assert play_in_virtual_time(*play).problem is None


@pytest.mark.slow
async def test_over_sockets(play: Play) -> None:
    _, part, dialect = play
    assert await perform(part, dialect, second=SECOND, sockets=True) is None
