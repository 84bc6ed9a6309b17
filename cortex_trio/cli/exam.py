"""`cortex-trio exam`: the failover exam and its scorecard, for this gateway or for any other."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from ..failures import ConfigError, InvalidRequest
from ..lab.exam.outside import FALLBACK_MODEL, OUTSIDE, PRIMARY_MODEL, OutsideStage, sit_outside
from ..lab.exam.scenario import ALL, Scenario
from ..lab.exam.scorecard import BENCH, Mark, all_scenarios, score, sit
from ..lab.exam.stage import DIALECTS
from ..simulator import Simulator, open_simulator
from .running import FAILED, run_until_signal
from .screen import Colour, Row, Screen

HEADS = ("", "the primary …", "what must happen", *DIALECTS)
PASSED, NOT_PASSED, ONCE = "✓", "✗", "·"
PORTS = (9101, 9102)


def exam(arguments: argparse.Namespace) -> int:
    """Print the scorecard; 1 if anything was not passed."""
    screen = Screen.on(sys.stdout, no_color=arguments.no_color)
    numbers = [number.strip().upper() for number in arguments.only.split(",")] if arguments.only else None
    if arguments.base_url:
        return run_until_signal(lambda: _outside(screen, arguments, numbers))
    return _inside(screen, numbers)


def _chosen(known: Sequence[str], numbers: Sequence[str] | None) -> Sequence[str]:
    unknown = [number for number in numbers or () if number not in known]
    if unknown:
        raise InvalidRequest(f"--only: {', '.join(known)} are the scenarios here, not {', '.join(unknown)}")
    return [number for number in known if numbers is None or number in numbers]


# ------------------------------------------------------------------ this gateway


def _inside(screen: Screen, numbers: Sequence[str] | None) -> int:
    logging.getLogger("cortex_trio").addHandler(logging.NullHandler())  # what is broken on purpose is no news
    by_number = {scenario.number: scenario for scenario in all_scenarios()}
    chosen = [by_number[number] for number in _chosen([*by_number], numbers)]
    marks: list[Mark] = []
    for mark in sit(chosen):
        marks.append(mark)
        if sys.stderr.isatty():
            print(f"\r\x1b[2K{mark.scenario.number} {mark.dialect}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
    screen.table(HEADS, [_row(scenario, marks) for scenario in chosen])
    _tell_problems(screen, marks)
    _tell_score(screen, marks, [scenario.number for scenario in chosen])
    return FAILED if any(not mark.is_passed for mark in marks) else 0


def _row(scenario: Scenario, marks: Sequence[Mark]) -> Row:
    mine = [mark for mark in marks if mark.scenario is scenario]
    cells = []
    for place, dialect in enumerate(DIALECTS):
        here = (dialect, ALL) if place == 0 else (dialect,)
        played = [mark.is_passed for mark in mine if mark.dialect in here]
        cells.append(ONCE if not played else PASSED if all(played) else NOT_PASSED)
    good = all(mark.is_passed for mark in mine)
    colour = Colour.PLAIN if good else Colour.RED
    return Row((scenario.number, scenario.misfortune, scenario.promise, *cells), colour)


def _tell_problems(screen: Screen, marks: Sequence[Mark]) -> None:
    problems = [mark for mark in marks if not mark.is_passed]
    if problems:
        screen.line()
    for mark in problems:
        screen.line(f"{mark.scenario.number} {mark.dialect}, {mark.part.title}: {mark.problem}", Colour.RED)


def _tell_score(screen: Screen, marks: Sequence[Mark], numbers: Sequence[str]) -> None:
    screen.line()
    bench, of_bench = score(marks, [number for number in numbers if number in BENCH])
    whole, of_whole = score(marks, numbers)
    played = f"{len(marks)} plays with {len({mark.dialect for mark in marks} & set(DIALECTS))} providers"
    virtual = sum(mark.seconds for mark in marks)
    colour = Colour.GREEN if whole == of_whole else Colour.RED
    screen.line(
        f"{bench} of {of_bench} (FailoverBench's S01 to S16), {whole} of {of_whole} altogether; "
        f"{played}, {virtual / 60:.0f} virtual minutes",
        colour,
    )


# ------------------------------------------------------------------ any other gateway


async def _outside(screen: Screen, arguments: argparse.Namespace, numbers: Sequence[str] | None) -> int:
    chosen = _chosen([scenario.number for scenario in OUTSIDE], numbers)
    async with open_simulator(sockets=True) as sim:
        stage = _stage(sim, arguments)
        screen.line("Point the gateway's upstreams, OpenAI-compatible both, at these; any key will do:")
        screen.line(f"  primary   {stage.primary.url}   model {PRIMARY_MODEL}")
        screen.line(f"  fallback  {stage.fallback.url}   model {FALLBACK_MODEL}")
        screen.line(
            f"Two retries, a time-out of {stage.timeout:g} s, one fallback. Waiting for {stage.base_url} …"
        )
        await stage.wait_until_up()
        screen.line()
        passed = 0
        for scenario in [scenario for scenario in OUTSIDE if scenario.number in chosen]:
            problem = await sit_outside(scenario, stage)
            passed += problem is None
            said = f"{PASSED}" if problem is None else f"{NOT_PASSED} {problem}"
            colour = Colour.PLAIN if problem is None else Colour.RED
            screen.line(f"{scenario.number}  {scenario.misfortune:<40}  {said}", colour)
        screen.line()
        screen.line(f"{passed} of {len(chosen)}", Colour.GREEN if passed == len(chosen) else Colour.RED)
    return 0 if passed == len(chosen) else FAILED


def _stage(sim: Simulator, arguments: argparse.Namespace) -> OutsideStage:
    first, second = arguments.ports or PORTS
    try:
        primary = sim.add("primary", provider="openai_compatible", models=[PRIMARY_MODEL], port=first)
        fallback = sim.add("fallback", provider="openai_compatible", models=[FALLBACK_MODEL], port=second)
    except OSError as error:
        raise ConfigError(
            "--ports", f"{first} and {second} cannot be listened on: {error.strerror}"
        ) from None
    return OutsideStage(
        arguments.base_url,
        primary,
        fallback,
        model=arguments.model,
        api_key=arguments.api_key,
        timeout=arguments.timeout,
    )
