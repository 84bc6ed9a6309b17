"""`cortex-trio exam`: run the failover exam against this gateway or another one, and print the scorecard."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from ..failures import ConfigError, InvalidRequest
from ..lab.exam.outside import FALLBACK_MODEL, PRIMARY_MODEL, OutsideSetup
from ..lab.exam.outside_scenarios import OUTSIDE, run_outside
from ..lab.exam.scenario import ALL, Scenario
from ..lab.exam.scorecard import BENCH, PartResult, all_scenarios, run_parts, score
from ..lab.exam.setup import DIALECTS
from ..simulator import Simulator, open_simulator
from .progress import ProgressLine
from .running import FAILED, run_until_signal
from .screen import Colour, Row, Screen, counted

HEADS = ("", "the primary …", "what must happen", *DIALECTS)
PASSED, NOT_PASSED, NOT_RUN = "✓", "✗", "·"
WIDE = 160
"""Columns of a terminal that has space for a column of each provider."""
PORTS = (9101, 9102)


def exam(arguments: argparse.Namespace) -> int:
    """Print the scorecard. Returns 1 if a scenario failed."""
    screen = Screen.on(sys.stdout, no_color=arguments.no_color)
    only: str | None = arguments.only
    numbers = None if only is None else [number.strip().upper() for number in only.split(",")]
    if arguments.base_url is not None:
        if not arguments.base_url.startswith(("http://", "https://")):
            raise InvalidRequest(f"--base-url: an address is needed, not {arguments.base_url!r}")
        return run_until_signal(lambda: _outside(screen, arguments, numbers))
    return _inside(screen, numbers)


def _chosen(known: Sequence[str], numbers: Sequence[str] | None) -> Sequence[str]:
    unknown = [number for number in numbers or () if number not in known]
    if unknown:
        names = ", ".join(number or "''" for number in unknown)
        raise InvalidRequest(f"--only: unknown scenarios {names}; known are {', '.join(known)}")
    return [number for number in known if numbers is None or number in numbers]


# ------------------------------------------------------------------ this gateway


def _inside(screen: Screen, numbers: Sequence[str] | None) -> int:
    logging.getLogger("cortex_trio").addHandler(logging.NullHandler())  # its faults are injected on purpose
    by_number = {scenario.number: scenario for scenario in all_scenarios()}
    chosen = [by_number[number] for number in _chosen([*by_number], numbers)]
    results: list[PartResult] = []
    progress = ProgressLine(sys.stderr)
    try:
        for result in run_parts(chosen):
            results.append(result)
            progress.show(f"{result.scenario.number} {result.dialect}")
    finally:
        progress.clear()
    rows = [_row(scenario, results) for scenario in chosen]
    if screen.width is not None and screen.width < WIDE:
        rows = [Row((*row.cells[:3], _summary(row.cells[3:])), row.colour) for row in rows]
        screen.table((*HEADS[:3], "providers"), rows)
    else:
        screen.table(HEADS, rows)
    _print_problems(screen, results)
    _print_score(screen, results, [scenario.number for scenario in chosen])
    return FAILED if any(not result.is_passed for result in results) else 0


def _row(scenario: Scenario, results: Sequence[PartResult]) -> Row:
    own = [result for result in results if result.scenario is scenario]
    cells = []
    for place, dialect in enumerate(DIALECTS):
        here = (dialect, ALL) if place == 0 else (dialect,)
        outcomes = [result.is_passed for result in own if result.dialect in here]
        cells.append(NOT_RUN if not outcomes else PASSED if all(outcomes) else NOT_PASSED)
    is_passed = all(result.is_passed for result in own)
    colour = Colour.PLAIN if is_passed else Colour.RED
    return Row((scenario.number, scenario.fault, scenario.expected, *cells), colour)


def _summary(cells: Sequence[str]) -> str:
    """Return one cell for those of all providers."""
    run = [cell for cell in cells if cell != NOT_RUN]
    return f"{run.count(PASSED)} of {len(run)} passed"


def _print_problems(screen: Screen, results: Sequence[PartResult]) -> None:
    problems = [result for result in results if not result.is_passed]
    if problems:
        screen.line()
    for result in problems:
        screen.line(
            f"{result.scenario.number} {result.dialect}, {result.part.title}: {result.problem}", Colour.RED
        )


def _print_score(screen: Screen, results: Sequence[PartResult], numbers: Sequence[str]) -> None:
    screen.line()
    bench, of_bench = score(results, [number for number in numbers if number in BENCH])
    whole, of_whole = score(results, numbers)
    providers = len({result.dialect for result in results} & set(DIALECTS))
    outcomes = f"{counted(len(results), 'part')} with {counted(providers, 'provider')}"
    virtual = sum(result.seconds for result in results)
    colour = Colour.GREEN if whole == of_whole else Colour.RED
    screen.line(
        f"{bench} of {of_bench} (FailoverBench's S01 to S16), {whole} of {of_whole} in total; "
        f"{outcomes}, {counted(round(virtual / 60), 'virtual minute')}",
        colour,
    )


# ------------------------------------------------------------------ any other gateway


async def _outside(screen: Screen, arguments: argparse.Namespace, numbers: Sequence[str] | None) -> int:
    chosen = _chosen([scenario.number for scenario in OUTSIDE], numbers)
    async with open_simulator(sockets=True) as sim:
        setup = _setup(sim, arguments)
        screen.line("Configure the gateway with these two OpenAI-compatible providers, with any API key:")
        screen.line(f"  primary   {setup.primary.url}   model {PRIMARY_MODEL}")
        screen.line(f"  fallback  {setup.fallback.url}   model {FALLBACK_MODEL}")
        screen.line(
            f"Two retries, a timeout of {setup.timeout:g} s, one fallback. Waiting for {setup.base_url} …"
        )
        await setup.wait_until_up()
        screen.line()
        passed = 0
        for scenario in [scenario for scenario in OUTSIDE if scenario.number in chosen]:
            problem = await run_outside(scenario, setup)
            passed += problem is None
            message = f"{PASSED}" if problem is None else f"{NOT_PASSED} {problem}"
            colour = Colour.PLAIN if problem is None else Colour.RED
            screen.line(f"{scenario.number}  {scenario.fault:<40}  {message}", colour)
        screen.line()
        screen.line(f"{passed} of {len(chosen)}", Colour.GREEN if passed == len(chosen) else Colour.RED)
    return 0 if passed == len(chosen) else FAILED


def _setup(sim: Simulator, arguments: argparse.Namespace) -> OutsideSetup:
    first, second = arguments.ports or PORTS
    try:
        primary = sim.add("primary", provider="openai_compatible", models=[PRIMARY_MODEL], port=first)
        fallback = sim.add("fallback", provider="openai_compatible", models=[FALLBACK_MODEL], port=second)
    except OSError as error:
        raise ConfigError("--ports", f"{first} and {second} cannot be used: {error.strerror}") from None
    return OutsideSetup(
        arguments.base_url,
        primary,
        fallback,
        model=arguments.model,
        api_key=arguments.api_key,
        timeout=arguments.timeout,
    )
