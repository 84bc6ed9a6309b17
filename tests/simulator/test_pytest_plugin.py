"""The fixtures as users have them: test files in a pytest process of their own."""

import re
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

INI = """\
[pytest]
trio_mode = true
addopts = --strict-markers
"""
PROLOGUE = """\
import pytest
import trio
from cortex_trio import FailureKind, StreamInterrupted
from cortex_trio.simulator import Behaviour
"""


def outcomes(pytester: pytest.Pytester, tests: str, ini: str = INI) -> dict[str, int]:
    pytester.makefile(".ini", pytest=ini)
    pytester.makepyfile(PROLOGUE + tests)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider").parseoutcomes()


@pytest.mark.slow
def test_my_app_when_anthropic_dies_mid_sentence(pytester: pytest.Pytester) -> None:
    tests = """
async def my_app(cortex):
    return (await cortex.complete("What is the answer?")).text

@pytest.mark.simulated_providers("anthropic", "openai")
async def test_my_app(simulated_providers, cortex):
    simulated_providers["anthropic"].behave(Behaviour(text="The answer is 42.", cut_after=2))
    simulated_providers["openai"].behave(Behaviour(text="It is 42."))
    assert await my_app(cortex) == "It is 42."
    assert [len(provider.requests) for provider in simulated_providers.providers.values()] == [2, 1]
"""
    assert outcomes(pytester, tests) == {"passed": 1}


@pytest.mark.slow
def test_without_a_mark_there_are_three_providers_and_virtual_time(
    pytester: pytest.Pytester,
) -> None:
    tests = """
async def test_defaults(simulated_providers, cortex, autojump_clock):
    assert [info.name for info in await cortex.list_workers()] == ["openai", "anthropic", "ollama"]
    simulated_providers["openai"].behave(Behaviour(silent=True))
    assert (await cortex.complete("Hi")).worker == "anthropic"
    assert trio.current_time() == pytest.approx(30, abs=1)
"""
    assert outcomes(pytester, tests) == {"passed": 1}


@pytest.mark.slow
def test_the_mark_takes_settings_of_the_gateway(pytester: pytest.Pytester) -> None:
    tests = """
@pytest.mark.simulated_providers("groq", "xai", strategy="round_robin", max_attempts=1)
async def test_settings(simulated_providers, cortex):
    assert [(await cortex.complete("Hi")).worker for _ in range(4)] == ["groq", "xai", "groq", "xai"]
"""
    assert outcomes(pytester, tests) == {"passed": 1}


@pytest.mark.slow
def test_a_request_that_is_still_held_when_the_test_ends_fails_it(pytester: pytest.Pytester) -> None:
    tests = """
forgotten = []

async def test_forgets_to_close(simulated_providers, cortex):
    forgotten.append(cortex.chat("Hi"))
    await forgotten[0].__aenter__()
"""
    pytester.makefile(".ini", pytest=INI)
    pytester.makepyfile(PROLOGUE + tests)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(["*requests left something behind: *leases*"])


@pytest.mark.slow
def test_a_test_that_fails_shows_its_own_error(pytester: pytest.Pytester) -> None:
    tests = """
async def test_fails_in_the_middle(simulated_providers, cortex):
    async with cortex.chat("Hi") as answer:
        assert answer.worker == "unknown"
"""
    pytester.makefile(".ini", pytest=INI)
    pytester.makepyfile(PROLOGUE + tests)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(["*AssertionError: assert 'openai' == 'unknown'"])
    result.stdout.no_fnmatch_line("*left something behind*")


@pytest.mark.slow
def test_without_pytest_trio_the_plugin_has_no_fixtures(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile("def test_plain(): assert True")
    hidden = (
        "import sys; sys.modules['pytest_trio'] = None; import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    )
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    result = pytester.run(sys.executable, "-c", hidden, "-p", "cortex_trio.pytest_plugin")
    assert result.parseoutcomes() == {"passed": 1}


@pytest.mark.slow
def test_the_first_example_works_in_an_empty_folder_as_it_is_written(pytester: pytest.Pytester) -> None:
    page = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert example is not None
    pytester.makepyfile(example[1])
    assert pytester.runpytest_subprocess("-p", "no:cacheprovider").parseoutcomes() == {"passed": 1}


@pytest.mark.slow
def test_without_trio_mode_one_sentence_says_what_to_set(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PROLOGUE + "async def test_forgotten(cortex): pass")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    assert result.parseoutcomes() == {"errors": 1}
    result.stdout.fnmatch_lines(["the fixtures of cortex_trio need Trio: set trio_mode = true in the *"])
    result.stdout.no_fnmatch_line("*natively supported*")


@pytest.mark.slow
def test_the_mark_takes_observers_workers_of_one_provider_keys_and_models(pytester: pytest.Pytester) -> None:
    tests = """
seen, more = [], []

@pytest.fixture
def cortex_observers():
    return [broken, more.append]

def broken(event):
    raise RuntimeError("a bug in this observer is logged, and stops no other one")

@pytest.mark.simulated_providers(
    "anthropic",
    providers={"main": "openai", "spare": "openai"},
    keys={"main": ["sk-of-main-0001", "sk-of-main-0002"]},
    models={"spare": ["gpt-5-mini"]},
    on_event=[seen.append],
)
async def test_workers(simulated_providers, cortex):
    workers = {info.name: info for info in await cortex.list_workers()}
    assert [(info.name, info.provider) for info in workers.values()] == [
        ("anthropic", "anthropic"), ("main", "openai"), ("spare", "openai")
    ]
    assert len(workers["main"].keys) == 2
    assert (await cortex.complete("Hi", model="gpt-5-mini")).worker == "spare"
    assert (await cortex.complete("Hi", worker="main")).worker == "main"
    assert seen == more != []

@pytest.mark.simulated_providers("openai", models={"opnai": ["m"]})
async def test_wrong_name(simulated_providers):
    pass
"""
    pytester.makefile(".ini", pytest=INI)
    pytester.makepyfile(PROLOGUE + tests)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    assert result.parseoutcomes() == {"passed": 1, "failed": 1}
    result.stdout.fnmatch_lines(["*models= names 'opnai', but there are: openai*"])
