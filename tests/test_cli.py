"""The command line in real processes, with real sockets and real signals."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from io import StringIO
from pathlib import Path

import pytest
import trio
import trio.lowlevel
from cli_process import CORTEX, PATIENCE_SECONDS, SIMULATOR, Ended, environment, run, simulated

from cortex_trio import FailureKind, open_cortex
from cortex_trio.__main__ import main
from cortex_trio.cli.screen import Colour, Row, Screen
from cortex_trio.cli.story import MISHAPS, Story
from cortex_trio.gateway.settings.ollama_probe import ollama_models
from cortex_trio.simulator import Behaviour, SimRequest
from cortex_trio.simulator.__main__ import main as simulator_main

SLOW_ANSWER = Behaviour(text="word " * 500, tokens_per_second=20)


async def interrupt(*command: str, env: Mapping[str, str], at: str) -> Ended:
    """Run a command, press Ctrl-C as soon as it has printed `at`, and wait for its end."""
    out, err = bytearray(), bytearray()
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.deadline = trio.current_time() + PATIENCE_SECONDS
        process = await trio.lowlevel.open_process(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

        async def collect_errors() -> None:
            assert process.stderr is not None
            async for data in process.stderr:
                err.extend(data)

        nursery.start_soon(collect_errors)
        assert process.stdout is not None
        pressed = False
        async for data in process.stdout:
            out += data
            if not pressed and at in out.decode(errors="replace"):
                process.send_signal(signal.SIGINT)
                pressed = True
        await process.wait()
    assert pressed, f"{at!r} was never printed: {out.decode()}{err.decode()}"
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


# ------------------------------------------------------------------ chat


@pytest.mark.slow
async def test_chat_streams_the_answer_to_stdout_and_the_facts_to_stderr() -> None:
    async with simulated(openai=Behaviour(text="Good evening.")) as simulator:
        ended = await run(*CORTEX, "chat", "Hi", env=environment(simulator.config()))
    assert (ended.status, ended.out) == (0, "Good evening.\n")
    assert re.fullmatch(r"openai · gpt-6\.1-terra · 1 token in, 2 out · \d+\.\d\d s\n", ended.err)


@pytest.mark.slow
async def test_chat_shows_a_failover_on_stderr_and_only_the_answer_on_stdout() -> None:
    overloaded = Behaviour(error=FailureKind.OVERLOADED)
    async with simulated(openai=overloaded, anthropic=Behaviour(text="Here.")) as simulator:
        ended = await run(*CORTEX, "chat", "Hi", env=environment(simulator.config()))
    assert (ended.status, ended.out) == (0, "Here.\n")
    assert "✗ openai (key sk-***01): overloaded (HTTP 503)" in ended.err
    assert re.search(r"^2  anthropic .* served ", ended.err, re.MULTILINE)


@pytest.mark.slow
async def test_chat_passes_on_its_options() -> None:
    good = Behaviour()
    async with simulated(openai=good, anthropic=good, ollama=good) as simulator:
        options = ("--provider", "anthropic", "--model", "claude-haiku", "--system", "Be brief.")
        ended = await run(*CORTEX, "chat", "-", *options, env=environment(simulator.config()), stdin=b"Hi")
        (request,) = simulator["anthropic"].requests
    assert ended.err.startswith("anthropic · claude-haiku · ")
    assert request.body["model"] == "claude-haiku"
    assert "Be brief." in json.dumps(request.body["system"])
    assert "Hi" in json.dumps(request.body["messages"])


@pytest.mark.slow
async def test_the_strategy_of_the_command_line_decides_which_worker_is_first() -> None:
    async with simulated(openai=Behaviour(), ollama=Behaviour()) as simulator:
        workers = simulator.config()
        workers["openai"]["priority"], workers["ollama"]["priority"] = 90, 10
        by_priority = await run(*CORTEX, "chat", "Hi", env=environment(workers))
        in_turn = await run(*CORTEX, "chat", "Hi", "--strategy", "round_robin", env=environment(workers))
    assert by_priority.err.startswith("ollama · ")
    assert in_turn.err.startswith("openai · ")


@pytest.mark.slow
async def test_a_failed_chat_is_one_sentence_and_exit_status_1() -> None:
    refused = Behaviour(error=FailureKind.BAD_REQUEST)
    async with simulated(openai=refused) as simulator:
        ended = await run(*CORTEX, "chat", "Hi", env=environment(simulator.config()))
    assert (ended.status, ended.out) == (1, "")
    assert "Traceback" not in ended.err
    assert ended.err.splitlines()[-1].startswith("cortex-trio: openai: bad_request (HTTP 400): ")


@pytest.mark.slow
async def test_an_answer_that_breaks_off_is_not_passed_off_as_a_whole_one() -> None:
    async with simulated(openai=Behaviour(text="One two three four", cut_after=2)) as simulator:
        ended = await run(*CORTEX, "chat", "Hi", env=environment(simulator.config()))
    assert (ended.status, ended.out) == (1, "One two\n")
    assert "cortex-trio: openai: truncated" in ended.err


@pytest.mark.slow
async def test_without_providers_it_says_exactly_what_to_set() -> None:
    if ollama_models("http://localhost:11434") is not None:
        pytest.skip("an Ollama answers on this machine, so there is a provider")
    for command in ("chat", "Hi"), ("status",):
        ended = await run(*CORTEX, *command, env=environment())
        assert (ended.status, ended.out) == (2, "")
        assert ended.err.startswith("cortex-trio: no providers: set CORTEX_PROVIDERS, or OPENAI_API_KEY, ")


@pytest.mark.slow
async def test_a_wrong_configuration_is_named_by_its_path_and_never_shows_a_key() -> None:
    wrong = {"openai": {"api_keys": ["sk-very-secret-0123456789"], "timeout": "soon"}}
    ended = await run(*CORTEX, "status", env=environment(wrong))
    assert ended.status == 2
    assert ended.err == "cortex-trio: $.openai.timeout: milliseconds, as a number, are needed, not str\n"


@pytest.mark.slow
async def test_an_empty_prompt_is_wrong_usage_and_sends_nothing() -> None:
    async with simulated(openai=Behaviour()) as simulator:
        ended = await run(*CORTEX, "chat", " ", env=environment(simulator.config()))
        assert simulator["openai"].requests == []
    assert (ended.status, ended.err) == (2, "cortex-trio: the prompt is empty\n")


@pytest.mark.slow
async def test_a_closed_pipe_ends_the_command_silently() -> None:
    async with simulated(openai=SLOW_ANSWER) as simulator:
        with trio.fail_after(PATIENCE_SECONDS):
            process = await trio.lowlevel.open_process(
                [*CORTEX, "chat", "Hi"],
                env=environment(simulator.config()),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            assert process.stdout is not None
            assert process.stderr is not None
            await process.stdout.receive_some(1)
            await process.stdout.aclose()
            said = b"".join([data async for data in process.stderr])
            assert await process.wait() == 141
    assert said == b""


# ------------------------------------------------------------------ status


@pytest.mark.slow
async def test_status_shows_every_worker_and_succeeds_while_one_is_available() -> None:
    async with simulated(openai=Behaviour(), ollama=Behaviour()) as simulator:
        simulator["openai"].behave_health(Behaviour(error=FailureKind.CREDENTIAL))
        ended = await run(*CORTEX, "status", env=environment(simulator.config()))
    assert ended.status == 0
    assert re.search(r"^openai +openai +gpt-6\.1-terra +wrong API key +credential ", ended.out, re.MULTILINE)
    assert ended.out.endswith("degraded: 1 of 2 workers available\n")


@pytest.mark.slow
async def test_status_fails_when_no_worker_is_available() -> None:
    async with simulated(openai=Behaviour()) as simulator:
        simulator["openai"].behave_health(Behaviour(status=503))
        ended = await run(*CORTEX, "status", env=environment(simulator.config()))
    assert ended.status == 1
    assert ended.out.endswith("unhealthy: 0 of 1 worker available\n")


@pytest.mark.slow
async def test_status_as_json_is_the_whole_health_status() -> None:
    async with simulated(openai=Behaviour()) as simulator:
        ended = await run(*CORTEX, "status", "--json", env=environment(simulator.config()))
    health = json.loads(ended.out)
    assert health["system_health"] == "healthy"
    assert health["workers"]["openai"]["keys"] == ["sk-***01"]
    assert health["last_health_check"].endswith("+00:00")


@pytest.mark.slow
async def test_status_asks_a_running_program_if_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    refused = Behaviour(error=FailureKind.CREDENTIAL)
    async with simulated(openai=refused, ollama=Behaviour()) as simulator:
        async with open_cortex(simulator.config(), observe=True) as cortex:
            await cortex.complete("Hi")
            asked = await run(*CORTEX, "status", env=environment(XDG_RUNTIME_DIR=str(tmp_path)))
    assert asked.status == 0
    assert asked.err.startswith(f"of the program that is running with {tmp_path}")
    assert re.search(r"^openai .* wrong API key +credential +1 +1 ", asked.out, re.MULTILINE)
    assert asked.out.endswith("degraded: 1 of 2 workers available\n")


@pytest.mark.slow
async def test_status_of_a_socket_without_a_program_is_one_sentence(tmp_path: Path) -> None:
    ended = await run(*CORTEX, "status", "--socket", str(tmp_path / "none.sock"), env=environment())
    assert (ended.status, ended.err) == (2, f"cortex-trio: {tmp_path}/none.sock: No such file or directory\n")


# ------------------------------------------------------------------ Ctrl-C


@pytest.mark.slow
async def test_ctrl_c_in_the_middle_of_an_answer_leaves_quietly() -> None:
    async with simulated(openai=SLOW_ANSWER) as simulator:
        ended = await interrupt(
            *CORTEX, "chat", "Hi", env=environment(simulator.config()), at="word word word"
        )
    assert (ended.status, ended.err) == (130, "")


@pytest.mark.slow
@pytest.mark.parametrize("command", [("chat", "Hi"), ("status",)])
async def test_ctrl_c_before_the_first_word_leaves_quietly(command: tuple[str, ...]) -> None:
    asked = trio.Event()

    def say_nothing(_: SimRequest) -> Behaviour:
        asked.set()
        return Behaviour(silent=True)

    async with simulated(openai=Behaviour()) as simulator:
        simulator["openai"].behave(say_nothing)
        simulator["openai"].behave_health(say_nothing)
        with trio.fail_after(PATIENCE_SECONDS):
            process = await trio.lowlevel.open_process(
                [*CORTEX, *command], env=environment(simulator.config()), stderr=subprocess.PIPE
            )
            await asked.wait()
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            said = b"".join([data async for data in process.stderr])
            assert await process.wait() == 130
    assert said == b""


@pytest.mark.slow
@pytest.mark.parametrize("at", ["Three simulated", "rate_limit", "A limit", "was killed"])
async def test_ctrl_c_in_the_demo_leaves_quietly_at_any_moment(at: str) -> None:
    ended = await interrupt(*CORTEX, "demo", env=environment(), at=at)
    assert (ended.status, ended.err) == (130, "")
    assert "has stopped" not in ended.out


@pytest.mark.slow
async def test_ctrl_c_ends_the_simulator() -> None:
    ended = await interrupt(*SIMULATOR, env=environment(), at="export CORTEX_PROVIDERS=")
    assert (ended.status, ended.err) == (130, "Serving on this machine until Ctrl-C.\n")


# ------------------------------------------------------------------ demo: tests/test_readme.py runs the whole of it


def test_every_mishap_happens_with_some_seed() -> None:
    assert [Story.by_number(seed).mishap for seed in range(len(MISHAPS))] == list(MISHAPS)
    assert Story.by_number(7) == Story.by_number(7) != Story.by_number(8)


# ------------------------------------------------------------------ the simulator as a program


@pytest.mark.slow
async def test_the_simulator_runs_a_command_with_its_providers_and_ends_as_it_ended() -> None:
    chat = (*CORTEX, "chat", "Hi")
    served = await run(*SIMULATOR, "--broken", "openai", "--", *chat, env=environment())
    refused = await run(*SIMULATOR, "--provider", "openai", *chat, "--worker", "missing", env=environment())
    assert (served.status, served.out.partition(",")[0]) == (0, "Hello! I am a simulated anthropic")
    assert (refused.status, refused.err) == (
        1,
        "cortex-trio: there is no worker 'missing'; there are: openai\n",
    )


@pytest.mark.slow
async def test_a_broken_provider_is_broken_for_every_request_and_faults_are_as_named() -> None:
    faults = ("--broken", "anthropic", "--fault", "openai=wrong_key", "--fault", "ollama=cut")
    program = (
        "import json, os, httpx\n"
        "found = json.loads(os.environ['CORTEX_PROVIDERS'])\n"
        "url = {name: worker['base_url'] for name, worker in found.items()}\n"
        "ask = {'model': 'm', 'messages': [{'role': 'user', 'content': 'Hi'}], 'stream': False, 'max_tokens': 9}\n"
        "bearer = {'authorization': f\"Bearer {found['openai']['api_keys'][0]}\"}\n"
        "bearer |= {'x-api-key': 'sk-x', 'anthropic-version': '2023-06-01'}\n"
        "for name, path in ('anthropic', '/v1/messages'), ('openai', '/chat/completions'):\n"
        "    print(httpx.post(url[name] + path, json=ask, headers=bearer).status_code)\n"
        "print(httpx.get(url['anthropic'] + '/v1/models', headers=bearer).status_code)\n"
        "print(found['openai']['models'], found['openai']['api_keys'])\n"
    )
    own = ("--key", "openai=sk-mine-0001", "--model", "openai=gpt-mine")
    ended = await run(*SIMULATOR, *faults, *own, sys.executable, "-c", program, env=environment())
    assert ended.out.splitlines() == ["503", "401", "503", "['gpt-mine'] ['sk-mine-0001']"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--fault", "openai=hungry"), "--fault: one of 429, 500, 503, 529, cut, "),
        (("--fault", "opnai=503"), "--fault: there is no provider 'opnai'; there are: "),
        (("--fault", "503"), "--fault: PROVIDER=VALUE is needed, not '503'"),
        (("--port", "70000"), "--port: 70000 cannot be used: a port is a number from 1 to 65535"),
    ],
)
def test_a_wrong_option_of_the_simulator_is_one_sentence(
    options: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulator_main(options) == 2
    assert capsys.readouterr().err.startswith(f"python -m cortex_trio.simulator: {sentence}")


@pytest.mark.slow
async def test_the_simulator_says_that_there_is_no_such_program() -> None:
    ended = await run(*SIMULATOR, "no-such-program", env=environment())
    assert (ended.status, ended.out) == (127, "")
    assert "no-such-program" in ended.err


# ------------------------------------------------------------------ the pieces


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals_and_can_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def painted(out: StringIO, *, no_color: bool = False) -> bool:
        Screen.on(out, no_color=no_color).line("text", Colour.RED)
        return out.getvalue() == "\x1b[31mtext\x1b[0m\n"

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert painted(Terminal())
    assert not painted(StringIO())
    assert not painted(Terminal(), no_color=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not painted(Terminal())


def test_a_line_in_the_middle_of_streaming_text_gets_a_line_of_its_own() -> None:
    out = StringIO()
    screen = Screen(out, colours=False)
    screen.piece("One", indent="  ")
    screen.piece(" two", indent="  ")
    screen.line("(something happened)")
    screen.piece(" three.", indent="  ")
    screen.end()
    screen.end()
    assert out.getvalue() == "  One two\n(something happened)\n  three.\n"


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    out = StringIO()
    Screen(out, colours=False).table(("a", "name"), [Row(("1", "x")), Row(("1000", ""))], indent="  ")
    assert out.getvalue() == "  a     name\n  1     x\n  1000\n"


def test_the_console_script_is_this_main() -> None:
    (script,) = entry_points(group="console_scripts", name="cortex-trio")
    assert script.load() is main


def test_wrong_usage_exits_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["completion"])
    assert ended.value.code == 2
    assert "shell" in capsys.readouterr().err
