"""The commands that look: embed, models, explain, config, keys, completion; and Ctrl-C while modules are imported."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from cli_process import SIMULATOR, environment

from cortex_trio.__main__ import main
from cortex_trio.cli import prompt
from cortex_trio.cli.arguments import parser
from cortex_trio.cli.commands import COMMAND_NAMES
from cortex_trio.cli.screen import Row, Screen, counted
from cortex_trio.cli.wrapping import WordWrap, narrowed
from cortex_trio.gateway.settings.environment import workers_from_env

KEY = "sk-of-a-test-000000000001"


@attrs.frozen
class Ran:
    status: int
    out: str
    err: str


class Shell:
    """Runs commands in this process, with an environment that has nothing but what a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        for name in os.environ.keys() - environment().keys():
            monkeypatch.delenv(name)
        monkeypatch.setattr(sys, "stdin", None)

    def run(self, *argv: str, **variables: str) -> Ran:
        for name, value in variables.items():
            self._monkeypatch.setenv(name, value)
        status = main(argv)
        printed = self._capsys.readouterr()
        return Ran(status, printed.out, printed.err)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(monkeypatch, capsys)


@pytest.fixture(scope="module")
def providers() -> Iterator[str]:
    """CORTEX_PROVIDERS of two simulated providers, one of them without a list of models."""
    command = [
        *SIMULATOR,
        "--provider",
        "openai",
        "--provider",
        "anthropic",
        "--fault",
        "anthropic=no_models",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"='(.*)'$", process.stdout.readline())
        assert found is not None
        yield found[1]
        process.send_signal(signal.SIGINT)


# ------------------------------------------------------------------ commands that ask


def test_embed_prints_one_vector_for_each_text(shell: Shell, providers: str) -> None:
    ran = shell.run("embed", "a", "b", "--dimensions", "4", CORTEX_PROVIDERS=providers)
    vectors = [json.loads(line) for line in ran.out.splitlines()]
    assert (ran.status, ran.err, [len(vector) for vector in vectors]) == (0, "", [4, 4])


def test_embed_uses_a_model_that_is_not_configured(shell: Shell, providers: str) -> None:
    ran = shell.run("embed", "a", "-m", "text-embedding-3-large", CORTEX_PROVIDERS=providers)
    assert (ran.status, len(ran.out.splitlines())) == (0, 1)


def test_embed_without_a_text_is_wrong_usage(shell: Shell, providers: str) -> None:
    ran = shell.run("embed", CORTEX_PROVIDERS=providers)
    assert (ran.status, ran.err) == (2, "cortex-trio: there is no text to embed\n")


def test_a_silent_standard_input_is_noted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readable, writable = os.pipe()
    monkeypatch.setattr(prompt, "PATIENCE_SECONDS", 0.0)
    with open(readable, encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        prompt._note_if_silent()
        assert "reading standard input" in capsys.readouterr().err
        os.write(writable, b"text")
        os.close(writable)
        assert prompt.prompt_from("Explain") == "text\n\nExplain"
    assert capsys.readouterr().err == ""


def test_models_lists_those_of_all_workers_and_says_which_list_failed(shell: Shell, providers: str) -> None:
    ran = shell.run("models", CORTEX_PROVIDERS=providers)
    assert ran.status == 0
    assert re.search(r"^\*  openai  gpt-6\.1-terra\n1 model of 1 worker$", ran.out, re.MULTILINE)
    assert re.match(r"cortex-trio: anthropic: .*HTTP 404", ran.err)


def test_models_of_one_worker_as_json(shell: Shell, providers: str) -> None:
    ran = shell.run("models", "-w", "openai", "--json", CORTEX_PROVIDERS=providers)
    assert json.loads(ran.out) == {"openai": ["gpt-6.1-terra"]}
    ran = shell.run("models", "-w", "opnai")
    assert (ran.status, ran.err) == (
        2,
        "cortex-trio: there is no worker 'opnai'; there are: openai, anthropic\n",
    )


def test_explain_shows_the_order_and_the_reasons(shell: Shell, providers: str) -> None:
    ran = shell.run("explain", "-m", "claude-opus-5", CORTEX_PROVIDERS=providers)
    assert ran.out == (
        "1. anthropic (anthropic, claude-opus-5, priority 10)\n-  openai is not of the provider 'anthropic'\n"
    )


# ------------------------------------------------------------------ what is configured


def test_config_check_shows_each_value_with_its_variable(shell: Shell) -> None:
    ran = shell.run(
        "config",
        "check",
        OPENAI_API_KEY=KEY,
        OPENAI_MODEL="gpt-mine",
        WORKER_POOL_STRATEGY="fastest",
        CORTEX_STORE="valkey://:hidden@host/0",
    )
    assert ran.status == 0
    assert KEY not in ran.out
    assert "hidden" not in ran.out
    for name, value, source in (
        ("api_keys", r"sk-\S+\*\*\*\S+", "OPENAI_API_KEY"),
        ("models", "gpt-mine", "OPENAI_MODEL"),
        ("base_url", r"https://api\.openai\.com/v1", "default"),
        ("strategy", "fastest", "WORKER_POOL_STRATEGY"),
        ("store", r"valkey://\*\*\*@host:6379/0", "CORTEX_STORE"),
        ("limits_without_store", "divided", "default"),
    ):
        assert re.search(rf"^  {name} +{value} +{source}$", ran.out, re.MULTILINE)
    assert ran.out.endswith(", no problems.\n")


def test_config_check_lists_all_mistakes_of_the_variables_and_misspelt_ones(shell: Shell) -> None:
    wrong = {"GROQ_API_KEY": KEY, "GROQ_TIMEOUT": "soon", "XAI_API_KEY": KEY, "XAI_BASE_URL": "nowhere"}
    ran = shell.run("config", "check", OPENAI_APIKEY=KEY, ANTHROPIC_API_KEY=KEY, **wrong)
    assert ran.status == 2
    assert "✗ GROQ_TIMEOUT: milliseconds are needed" in ran.out
    assert "✗ $.xai.base_url: " in ran.out
    assert "OPENAI_APIKEY is not read; did you mean OPENAI_API_KEY?" in ran.out
    assert ran.out.startswith("anthropic\n")
    assert ran.out.endswith("2 problems found.\n")


def test_config_check_lists_all_mistakes_of_cortex_providers(shell: Shell) -> None:
    workers = {
        "openai": {"api_keys": [KEY], "timeout": "soon"},
        "mine": {"api_keys": []},
        "xai": {"api_keys": [KEY]},
    }
    ran = shell.run("config", "check", CORTEX_PROVIDERS=json.dumps(workers))
    assert ran.status == 2
    assert "✗ CORTEX_PROVIDERS: $.openai.timeout: milliseconds" in ran.out
    assert "✗ CORTEX_PROVIDERS: $.mine: not a provider" in ran.out
    assert re.search(r"^  api_keys +sk-\S+ +CORTEX_PROVIDERS$", ran.out, re.MULTILINE)
    ran = shell.run("config", "check", CORTEX_PROVIDERS="{")
    assert (ran.status, ran.out.count("✗")) == (2, 1)
    assert "✗ CORTEX_PROVIDERS: not JSON (line 1, column 2)" in ran.out


def test_config_check_prints_json_with_masked_keys(shell: Shell) -> None:
    ran = shell.run("config", "check", "--json", OPENAI_API_KEY=KEY)
    assert (ran.status, json.loads(ran.out)["problems"]) == (0, [])
    ran = shell.run("config", "check", "--json", OPENAI_API_KEY=KEY, GROQ_API_KEY=KEY, GROQ_TIMEOUT="soon")
    assert ran.status == 2
    assert KEY not in ran.out
    found = json.loads(ran.out)
    assert found["workers"]["openai"]["provider"] == "openai"
    settings = found["workers"]["openai"]["settings"]
    assert settings["api_keys"]["from"] == "OPENAI_API_KEY"
    assert settings["base_url"] == {"value": "https://api.openai.com/v1", "from": "default"}
    assert found["gateway"]["strategy"] == {"value": "priority", "from": "default"}
    assert [problem.partition(":")[0] for problem in found["problems"]] == ["GROQ_TIMEOUT"]


def test_config_check_without_providers_says_what_to_set(shell: Shell) -> None:
    if workers_from_env({}):
        pytest.skip("an Ollama answers on this machine, so there is a provider")
    ran = shell.run("config", "check")
    assert ran.status == 2
    assert "✗ no providers: set CORTEX_PROVIDERS, or OPENAI_API_KEY, " in ran.out


def test_keys_are_masked_and_have_their_variable(shell: Shell) -> None:
    ran = shell.run("keys", OPENAI_API_KEYS=f"{KEY},{KEY}2", CORTEX_PROVIDERS="")
    assert ran.status == 0
    assert KEY not in ran.out
    assert len(re.findall(r"^openai  sk-\S+\*\*\*\S+ +OPENAI_API_KEYS$", ran.out, re.MULTILINE)) == 2


# ------------------------------------------------------------------ completion and help


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_a_completion_script_knows_every_command_and_option(shell: Shell, shell_name: str) -> None:
    script = shell.run("completion", shell_name).out
    for text in (*COMMAND_NAMES, "on-interrupt", "least_used", "check"):
        assert text in script


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--max-tokens", "0", "argument --max-tokens: a whole number from 1 is needed, not '0'"),
        ("--max-wait", "soon", "argument --max-wait: a number from 0 is needed, not 'soon'"),
        ("--temperature", "-1", "argument --temperature: a number from 0 is needed, not '-1'"),
    ],
)
def test_a_wrong_number_is_named_by_its_option(
    option: str, value: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["chat", f"{option}={value}", "Hi"])
    assert sentence in capsys.readouterr().err


def test_help_fits_80_columns_and_has_examples(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name in COMMAND_NAMES:
        with pytest.raises(SystemExit):
            parser().parse_args([name, "--help"])
    with pytest.raises(SystemExit):
        parser().parse_args(["--help"])
    printed = capsys.readouterr().out
    assert printed.count("examples:") >= 9
    assert [line for line in printed.splitlines() if len(line) > 80] == []


# ------------------------------------------------------------------ folders that are missing


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--only", ""), "--only: unknown scenarios ''; known are S01"),
        (("--only", "S01,s99"), "--only: unknown scenarios S99; known are S01"),
        (("--base-url", "localhost:4000"), "--base-url: an address is needed, not 'localhost:4000'"),
        (("--base-url", ""), "--base-url: an address is needed, not ''"),
    ],
)
def test_an_exam_of_nothing_does_not_start(shell: Shell, options: tuple[str, ...], sentence: str) -> None:
    ran = shell.run("exam", *options)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith(f"cortex-trio: {sentence}")


def test_a_missing_folder_is_reported_before_a_campaign_starts(shell: Shell, tmp_path: Path) -> None:
    missing = tmp_path / "no" / "trace.txt"
    ran = shell.run("simulate", "--seeds", "0..999999", "--trace", str(missing))
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == f"cortex-trio: --trace: there is no folder {missing.parent}\n"
    ran = shell.run("simulate", "--timeline", str(tmp_path))
    assert ran.err == f"cortex-trio: --timeline: {tmp_path} is a folder\n"


# ------------------------------------------------------------------ the pieces


def test_columns_are_narrowed_from_the_widest_one() -> None:
    assert narrowed([4, 30, 20], 40, [1, 1, 1]) == [4, 18, 18]
    assert narrowed([4, 30, 20], 40, [1, 10, 20]) == [4, 16, 20]
    assert narrowed([4, 9, 9], 3, [4, 9, 9]) == [4, 8, 8]
    assert (counted(1, "worker"), counted(2_000, "worker")) == ("1 worker", "2,000 workers")


def test_a_terminal_that_is_too_narrow_gets_fewer_columns(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Row(("openai", "x" * 9, "two words"))]
    for width in (30, 20, 14):
        Screen(sys.stdout, colours=False, width=width).table(("a", "b", "c"), rows, optional=("b",))
    wide, narrow, narrower = (text for text in capsys.readouterr().out.split("a ")[1:])
    assert "x" in wide
    assert "x" not in narrow
    assert narrower.splitlines()[1:] == ["openai  two", "        words"]


def test_a_long_line_breaks_at_words_and_keeps_its_indent(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(sys.stdout, colours=False, width=20)
    screen.line("  one two three four five six")
    screen.piece("one two ")
    screen.piece("three four five six seven\neight")
    screen.end()
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 20
    assert [line.strip() for line in lines] == [
        "one two three four",
        "five six",
        "one two three four",
        "five six seven",
        "eight",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2, 3, 5, 50])
def test_streamed_text_breaks_at_words_at_every_slicing(size: int) -> None:
    text = "unbelievably long words of all kinds\nand lines, with  two blanks and ünïcödé 你好 你好 end"
    wrap = WordWrap(16)
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    printed = "".join(wrap.feed(piece) for piece in pieces) + wrap.finish()
    assert printed.split() == text.split()
    assert max(map(len, printed.splitlines())) <= 16
    assert "kinds\nand" in printed
    assert WordWrap(4).feed("https://example.org") == "https://example.org"
