"""`cortex-trio chat` with pipes, files and terminals."""

import base64
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import attrs
import pytest
from cli_process import CORTEX, Typed, environment, run, run_in_terminal, simulated

from cortex_trio import Document, FailureKind, File, FinishReason, Image
from cortex_trio.cli.choice import Choice, provider_of
from cortex_trio.cli.prompt import attachment_from
from cortex_trio.gateway.settings.config import Config
from cortex_trio.simulator import Behaviour

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
LONG = " ".join(f"word{number}" for number in range(40))


def body_of(request: object) -> str:
    return json.dumps(getattr(request, "body"))  # noqa: B009


@pytest.mark.slow
async def test_standard_input_comes_in_front_of_the_prompt_and_images_are_attached(tmp_path: Path) -> None:
    (tmp_path / "pixel.bin").write_bytes(PIXEL)
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    options = (
        "-s",
        "Be brief.",
        "-a",
        str(tmp_path / "pixel.bin"),
        "--schema",
        str(tmp_path / "schema.json"),
    )
    async with simulated(openai=Behaviour(text='{"name": "Ada"}')) as simulator:
        ended = await run(
            *CORTEX,
            "chat",
            "Who is it?",
            *options,
            "--json",
            "-q",
            env=environment(simulator.config()),
            stdin=b"a letter\n",
        )
        (request,) = simulator["openai"].requests
    assert (ended.status, ended.err) == (0, "")
    answer = json.loads(ended.out)
    assert (answer["text"], answer["worker"]) == ('{"name": "Ada"}', "openai")
    assert (answer["finish_reason"], answer["attempts"][0]["outcome"]) == ("stop", "served")
    sent = body_of(request)
    assert r"a letter\n\nWho is it?" in sent
    assert "data:image/png;base64," in sent
    assert "Be brief." in sent
    assert "json_schema" in sent


@pytest.mark.slow
async def test_a_text_is_attached_as_text_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("all: test\n")
    (tmp_path / "notes.md").write_text("a note: ü\n")
    files = ("-a", str(tmp_path / "Makefile"), "-a", str(tmp_path / "notes.md"))
    async with simulated(anthropic=Behaviour()) as simulator:
        ended = await run(*CORTEX, "chat", "What?", *files, "-q", env=environment(simulator.config()))
        (request,) = simulator["anthropic"].requests
    assert (ended.status, ended.err) == (0, "")
    for text in ("Makefile", "all: test", "notes.md", r"a note: \u00fc", "What?"):
        assert text in body_of(request)


def test_an_attachment_is_an_image_a_text_or_another_file(tmp_path: Path) -> None:
    def attached(name: str, data: bytes) -> object:
        (tmp_path / name).write_bytes(data)
        return attachment_from(str(tmp_path / name))

    assert attached("photo.txt", PIXEL) == Image(data=PIXEL, media_type="image/png")
    assert attached("photo.heic", b"\0heic") == Image(data=b"\0heic", media_type="image/heic")
    assert attached("a.json", b"{}") == Document("{}", title="a.json")
    assert attached("a.svg", b"<svg/>") == Document("<svg/>", title="a.svg")
    assert attached("a.pdf", b"%PDF-1") == File(data=b"%PDF-1", media_type="application/pdf", name="a.pdf")
    assert attached("talk.wav", b"RIFF") == File(data=b"RIFF", media_type="audio/wav", name="talk.wav")
    assert attachment_from("https://x.test/cat") == Image(url="https://x.test/cat")
    assert attachment_from("https://x.test/a.png?b=c") == Image(url="https://x.test/a.png?b=c")
    pdf = attachment_from("https://x.test/a.pdf?b")
    assert pdf == File(url="https://x.test/a.pdf?b", media_type="application/pdf", name="a.pdf")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("behaviour", "note"),
    [
        (Behaviour(text="One two", finish=FinishReason.LENGTH), "the answer is cut"),
        (Behaviour(text="I cannot.", refusal=True), "the model refused to answer"),
    ],
)
async def test_an_incomplete_answer_is_noted_and_ends_with_status_3(behaviour: Behaviour, note: str) -> None:
    async with simulated(anthropic=behaviour) as simulator:
        ended = await run(*CORTEX, "chat", "Hi", "-q", env=environment(simulator.config()))
    assert (ended.status, ended.out) == (3, f"{behaviour.text}\n")
    assert ended.err.startswith(f"cortex-trio: {note}")


@pytest.mark.slow
async def test_a_model_that_is_not_configured_is_used_with_the_provider_that_has_it() -> None:
    async with simulated(openai=Behaviour(), anthropic=Behaviour()) as simulator:
        ended = await run(*CORTEX, "chat", "-m", "claude-next-9", "Hi", env=environment(simulator.config()))
        (request,) = simulator["anthropic"].requests
    assert (ended.status, request.body["model"]) == (0, "claude-next-9")


@pytest.mark.slow
async def test_a_wait_is_noted() -> None:
    async with simulated(openai=Behaviour(text="Now.")) as simulator:
        limited = Behaviour(status=429, retry_after=1)
        simulator["openai"].behave(limited, Behaviour(text="Now."))
        ended = await run(*CORTEX, "chat", "Hi", env=environment(simulator.config()))
    assert (ended.status, ended.out) == (0, "Now.\n")
    assert re.search(
        r"^waiting for openai, which is cooling down after rate_limit: at most \d s$", ended.err, re.M
    )


@pytest.mark.slow
async def test_a_pipe_gets_no_answer_twice_after_a_restart() -> None:
    cut = Behaviour(text="One two three", cut_after=2)
    async with simulated(openai=cut, anthropic=Behaviour(text="Four.")) as simulator:
        ended = await run(
            *CORTEX, "chat", "Hi", "--on-interrupt", "restart", env=environment(simulator.config())
        )
    assert (ended.status, ended.out) == (0, "Four.\n")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("-a", "no-such.png"), "no-such.png: No such file or directory"),
        (("-a", "/dev/null"), "-a /dev/null: null is empty"),
        (("-a", sys.executable), "neither an image, nor text, nor a file of a known type"),
        (("--schema", "[1]"), "[1]: No such file or directory"),
        (("--schema", "{"), "--schema : not JSON"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(
    options: tuple[str, ...],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from cortex_trio.__main__ import main

    for name in [name for name in environment() if name == "CORTEX_PROVIDERS"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CORTEX_PROVIDERS", '{"openai": {"api_keys": ["sk-of-a-test-0001"]}}')
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["chat", "Hi", *options]) in (1, 2)
    assert sentence in capsys.readouterr().err


# ------------------------------------------------------------------ outputs that fail


@pytest.mark.slow
@pytest.mark.parametrize(
    ("redirection", "sentence"),
    [
        (">/dev/full", "cortex-trio: standard output: No space left on device"),
        (">&-", "cortex-trio: standard output is closed"),
    ],
)
async def test_an_output_that_cannot_be_written_is_one_sentence(redirection: str, sentence: str) -> None:
    async with simulated(openai=Behaviour()) as simulator:
        command = f"{sys.executable} -m cortex_trio chat -q Hi {redirection}"
        ended = await run("sh", "-c", command, env=environment(simulator.config()))
    assert (ended.status, ended.err) == (1, f"{sentence}\n")


@pytest.mark.slow
async def test_facts_that_cannot_be_written_do_not_cost_the_answer() -> None:
    async with simulated(openai=Behaviour(text="Here.")) as simulator:
        command = f"unset PYTHONUNBUFFERED; {sys.executable} -m cortex_trio chat Hi 2>/dev/full"
        ended = await run("sh", "-c", command, env=environment(simulator.config()))
    assert (ended.status, ended.out) == (0, "Here.\n")


# ------------------------------------------------------------------ terminals


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "has_colours", "has_ascii"),
    [
        ({"LANG": "C.UTF-8"}, True, False),
        ({"NO_COLOR": "1", "LANG": "C.UTF-8"}, False, False),
        ({"TERM": "dumb", "LANG": "C.UTF-8"}, False, False),
        ({"LANG": "C"}, True, True),
    ],
)
async def test_a_terminal_gets_what_it_can_show(
    variables: Mapping[str, str], has_colours: bool, has_ascii: bool
) -> None:
    good, overloaded = Behaviour(text=f"Voilà… {LONG}"), Behaviour(error=FailureKind.OVERLOADED)
    async with simulated(openai=overloaded, anthropic=good) as simulator:
        env = environment(simulator.config(), **variables)
        ended = await run_in_terminal(*CORTEX, "chat", "Hi", env=env)
    assert ended.status == 0
    assert ("\x1b[" in ended.out) == has_colours
    assert ended.out.isascii() == has_ascii
    answer = [line for line in ended.out.splitlines() if "word" in line]
    assert max(map(len, answer)) <= 80
    assert " ".join(" ".join(answer).split()).endswith(LONG)


@pytest.mark.slow
async def test_a_conversation_keeps_its_history_and_has_commands(tmp_path: Path) -> None:
    typed = [
        Typed("> ", "My name is Ada.\n"),
        Typed("> ", "And yours?\n"),
        Typed("> ", "/model gpt-5-mini\n"),
        Typed("> ", "/modl\n"),
        Typed("> ", "/retry\n"),
        Typed("> ", "\x04"),
    ]
    async with simulated(openai=Behaviour(text="Hello.")) as simulator:
        env = environment(simulator.config(), XDG_STATE_HOME=str(tmp_path), TERM="xterm")
        ended = await run_in_terminal(*CORTEX, "chat", "-s", "Be brief.", env=env, typed=typed)
        first, second, third = simulator["openai"].requests
    assert ended.status == 0, ended.out
    assert "did you mean /model?" in ended.out
    assert [message["role"] for message in first.body["messages"]] == ["system", "user"]
    roles = ["system", "user", "assistant", "user"]
    assert [message["role"] for message in second.body["messages"]] == roles
    assert [message["role"] for message in third.body["messages"]] == roles
    assert third.body["model"] == "gpt-5-mini"
    assert "Traceback" not in ended.out
    history = tmp_path / "cortex-trio" / "history"
    assert "My name is Ada." in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


@pytest.mark.slow
async def test_ctrl_c_stops_an_answer_and_at_the_prompt_the_conversation(tmp_path: Path) -> None:
    slow = Behaviour(text="word " * 500, tokens_per_second=20)
    typed = [Typed("> ", "Hi\n"), Typed("word word", "\x03"), Typed("> ", "\x03")]
    async with simulated(openai=slow) as simulator:
        env = environment(simulator.config(), XDG_STATE_HOME=str(tmp_path))
        ended = await run_in_terminal(*CORTEX, "chat", env=env, typed=typed)
        assert len(simulator["openai"].requests) == 1
    assert ended.status == 130
    assert "Traceback" not in ended.out


# ------------------------------------------------------------------ models that are not configured


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-5-mini", "openai"),
        ("o3-pro", "openai"),
        ("claude-opus-5", "anthropic"),
        ("gemini-3-pro", "gemini"),
        ("grok-5", "xai"),
        ("command-r7b", "cohere"),
        ("mystery-1", None),
    ],
)
def test_the_provider_of_a_model_is_known_by_its_name(model: str, provider: str | None) -> None:
    names = ("openai", "anthropic", "gemini", "groq", "xai", "cohere")
    config = Config.from_mapping({name: {"api_keys": [f"sk-of-{name}-000001"]} for name in names})
    assert provider_of(model, config.workers) == provider


def test_a_configured_model_and_a_named_worker_are_left_alone() -> None:
    config = Config.from_mapping({"openai": {"api_keys": ["sk-of-a-test-0001"], "models": ["gpt-mine"]}})
    config = attrs.evolve(config, aliases={"gpt-fast": ["openai/gpt-mine"]})
    for choice in (
        Choice("gpt-mine"),
        Choice("gpt-other", worker="openai"),
        Choice("gpt-fast"),
        Choice(),
    ):
        assert choice.for_any_model(config) == choice
