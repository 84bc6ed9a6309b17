"""The exam itself: it detects what does not hold, and it can test any gateway."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio
from openai_front import open_front

from cortex_trio import Config, FailureKind, open_cortex
from cortex_trio.__main__ import main
from cortex_trio.lab.exam.outside import FALLBACK_MODEL, PRIMARY_MODEL, OutsideSetup
from cortex_trio.lab.exam.outside_scenarios import OUTSIDE, OutsideScenario, run_outside
from cortex_trio.lab.exam.scenario import ALL, SCENARIOS, Part, Scenario
from cortex_trio.lab.exam.scorecard import BENCH, all_scenarios, play, run_parts, score
from cortex_trio.lab.exam.setup import DIALECTS, RESCUE, Setup, check, equal, failing, near
from cortex_trio.simulator import Behaviour, open_simulator
from cortex_trio.simulator.servers import SERVERS

SECOND = 0.04
TIMEOUT = 30 * SECOND


# ------------------------------------------------------------------ this gateway


def test_there_are_34_scenarios() -> None:
    assert [scenario.number for scenario in all_scenarios()] == [f"S{number:02}" for number in range(1, 35)]


def test_every_scenario_runs_with_every_dialect() -> None:
    for scenario in all_scenarios():
        played = {dialect for part in scenario.parts for dialect in part.dialects(DIALECTS)}
        without_keys = {"ollama"} if scenario.number == "S22" else set()
        once = scenario.number in ("S23", "S25")
        assert played == ({ALL} if once else set(DIALECTS) - without_keys), scenario.number


def test_a_part_that_needs_no_virtual_clock_is_in_most_scenarios() -> None:
    virtual = {
        scenario.number for scenario in all_scenarios() if all(part.virtual for part in scenario.parts)
    }
    assert virtual == {"S02", "S15", "S18", "S20", "S21", "S22", "S23", "S25", "S30"}


def test_no_two_parts_have_the_same_name() -> None:
    named = [(scenario.number, part.title) for scenario in all_scenarios() for part in scenario.parts]
    assert len(set(named)) == len(named) > 100


def test_every_dialect_of_the_gateway_is_tested() -> None:
    assert set(DIALECTS) == SERVERS.keys() - {"openai_compatible"}


async def _does_not_hold(setup: Setup) -> None:
    check(False, "the earth is flat")


async def _is_not_equal(setup: Setup) -> None:
    equal(1, 2, "the number")


async def _is_not_near(setup: Setup) -> None:
    near(5.2, 5, 0.1, "the time")


async def _does_not_raise(setup: Setup) -> None:
    async def calmly() -> None:
        await trio.lowlevel.checkpoint()

    await failing(KeyError, calmly)


async def _crashes(setup: Setup) -> None:
    raise RuntimeError("a bug in the gateway")


async def _leaves_a_request_open(setup: Setup) -> None:
    setup.primary()
    kept = []
    async with setup.gateway() as cortex:
        kept.append(cortex.chat("Hi"))
        await kept[0].__aenter__()


@pytest.mark.parametrize(
    ("play_it", "problem"),
    [
        (_does_not_hold, "the earth is flat"),
        (_is_not_equal, "the number: 1, not 2"),
        (_is_not_near, "the time: 5.2, not 5 ± 0.1"),
        (_does_not_raise, "no KeyError was raised"),
        (_crashes, "RuntimeError: a bug in the gateway"),
        (_leaves_a_request_open, "requests leave nothing behind"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_part_that_fails_is_a_problem_of_its_result(play_it: object, problem: str) -> None:
    result = play(Scenario("S99", "", ""), Part("it holds", play_it), "openai")  # type: ignore[arg-type]
    assert problem in str(result.problem)
    assert not result.is_passed


def test_a_scenario_fails_if_one_dialect_fails() -> None:
    results = list(run_parts([SCENARIOS["S03"], SCENARIOS["S01"]], ["openai", "ollama"]))
    assert score(results, BENCH) == (2, 2)
    assert score([attrs.evolve(results[0], problem="no"), *results[1:]], BENCH) == (1, 2)


@pytest.mark.slow
def test_the_command_prints_the_scorecard(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["exam", "--only", "S03,s22"]) == 0
    out = capsys.readouterr().out
    assert [line.count("✓") for line in out.splitlines()[1:3]] == [9, 8]
    assert "1 of 1 (FailoverBench's S01 to S16), 2 of 2 in total; 153 parts with 9 providers" in out


def test_an_unknown_scenario_is_rejected() -> None:
    assert main(["exam", "--only", "S35"]) == 2


# ------------------------------------------------------------------ any gateway


@asynccontextmanager
async def providers() -> AsyncIterator[OutsideSetup]:
    async with open_simulator(sockets=True) as sim:
        primary = sim.add("primary", provider="openai_compatible", models=[PRIMARY_MODEL])
        fallback = sim.add("fallback", provider="openai_compatible", models=[FALLBACK_MODEL])
        yield OutsideSetup(primary.url, primary, fallback, timeout=TIMEOUT, second=SECOND)


IN_SECONDS = [scenario for scenario in OUTSIDE if scenario.number != "S34"]
"""Those that work with short seconds. S34 waits for a cooldown of a real minute."""


@pytest.mark.parametrize("scenario", IN_SECONDS, ids=lambda scenario: scenario.number)
@pytest.mark.slow
async def test_this_gateway_behind_a_plain_http_server_passes(scenario: OutsideScenario) -> None:
    async with providers() as setup:
        workers = {
            provider.name: provider.worker(priority=place, timeout=TIMEOUT)
            for place, provider in enumerate((setup.primary, setup.fallback))
        }
        checks = 10 * SECOND if scenario.number == "S33" else 0
        config = Config(
            workers=workers,
            health_check_interval=checks,
            health_check_timeout=5 * SECOND,
            idle_timeout=TIMEOUT / 2,
        )
        async with open_cortex(config) as cortex, open_front(cortex) as setup.base_url:
            await setup.wait_until_up()
            assert await run_outside(scenario, setup) is None


@pytest.mark.slow
async def test_a_provider_without_a_gateway_passes_seven_scenarios() -> None:
    async with providers() as setup:
        problems = {scenario.number: await run_outside(scenario, setup) for scenario in OUTSIDE}
    passed = {number for number, problem in problems.items() if problem is None}
    assert passed == {"S07", "S09", "S11", "S12", "S13", "S33", "S34"}
    assert "like a whole one" in str(problems["S08"])
    assert "malformed" in str(problems["S10"])
    assert "callers that are served" in str(problems["S31"])
    assert "it is served" in str(problems["S32"])


@pytest.mark.slow
async def test_a_worker_that_never_serves_again_is_detected() -> None:
    async with open_simulator(sockets=True) as sim:
        primary, fallback = (
            sim.add(name, provider="openai_compatible", models=[model])
            for name, model in (("primary", PRIMARY_MODEL), ("fallback", FALLBACK_MODEL))
        )
        gateway = sim.add(
            "gateway", Behaviour(error=FailureKind.MODEL_NOT_FOUND), provider="openai_compatible"
        )
        setup = OutsideSetup(gateway.url, primary, fallback, timeout=TIMEOUT, second=0.01)
        [refused_once] = [scenario for scenario in OUTSIDE if scenario.number == "S34"]
        assert "within minutes" in str(await run_outside(refused_once, setup))


@pytest.mark.slow
async def test_a_cut_answer_that_ends_like_a_whole_one_is_detected() -> None:
    """The gateway ends every stream as if it were whole."""
    async with providers() as setup:

        async def serve(stream: trio.SocketStream) -> None:
            await stream.receive_some()
            event = b'data: {"choices": [{"delta": {"content": "%s"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
            said = event % RESCUE.text[:20].encode()
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(
                said
            )
            await stream.send_all(head + said)

        async with trio.open_nursery() as nursery:
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, serve, [listener])
            setup.base_url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/v1"
            for number in ("S08", "S09", "S10", "S14"):
                scenario = next(one for one in OUTSIDE if one.number == number)
                assert "like a whole one" in str(await run_outside(scenario, setup))
            nursery.cancel_scope.cancel()


async def free_ports(many: int) -> list[int]:
    """Ports that were free a moment ago."""
    probes = [(await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] for _ in range(many)]
    ports = [probe.socket.getsockname()[1] for probe in probes]
    for probe in probes:
        await probe.aclose()
    return ports


def exam_command(url: str, only: str, ports: list[int]) -> list[str]:
    command = [sys.executable, "-m", "cortex_trio", "exam", "--base-url", url, "--only", only]
    return [*command, "--ports", *map(str, ports)]


@pytest.mark.slow
async def test_the_command_prints_the_addresses_of_the_providers_and_the_results() -> None:
    """The tested URL is that of the primary."""
    ports = await free_ports(2)
    command = exam_command(f"http://127.0.0.1:{ports[0]}/v1", "S03,S11", ports)
    with trio.fail_after(60):
        ended = await trio.run_process(command, capture_stdout=True, check=False)
    out = ended.stdout.decode()
    assert f"http://127.0.0.1:{ports[1]}/v1   model fallback-model" in out
    assert "no [DONE] after the finish reason" in out
    assert "1 of 2" in out
    assert ended.returncode == 1


@pytest.mark.slow
async def test_a_gateway_in_another_process_passes_the_exam() -> None:
    """The scenarios that take no minutes, one after the other with one gateway."""
    port, *ports = await free_ports(3)
    urls = [f"http://127.0.0.1:{upstream}/v1" for upstream in ports]
    command = exam_command(f"http://127.0.0.1:{port}/v1", "S01,S03,S05,S08,S10,S11,S12,S13,S14,S16", ports)
    front = Path(__file__).with_name("openai_front.py")
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            gateway = await nursery.start(
                partial(trio.run_process, [sys.executable, str(front), str(port), *urls], check=False)
            )
            ended = await trio.run_process(command, capture_stdout=True, check=False)
            gateway.terminate()
    assert "10 of 10" in ended.stdout.decode(), ended.stdout.decode()
    assert ended.returncode == 0


@pytest.mark.slow
async def test_the_state_of_a_gateway_after_one_scenario_does_not_change_the_next() -> None:
    """Its breaker is open after S04, and S12 counts requests to the primary."""
    async with providers() as setup:
        workers = {
            provider.name: provider.worker(priority=place, timeout=TIMEOUT)
            for place, provider in enumerate((setup.primary, setup.fallback))
        }
        setup.second, chosen = 0.1, [scenario for scenario in OUTSIDE if scenario.number in ("S04", "S12")]
        config = Config(workers=workers, health_check_interval=0)
        async with open_cortex(config) as cortex, open_front(cortex) as setup.base_url:
            assert [await run_outside(scenario, setup) for scenario in chosen] == [None, None]
