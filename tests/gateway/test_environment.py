"""What the environment says: quotes, every form of OLLAMA_HOST, and an Ollama that may be there or not."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from fronts import serving

from cortex_trio import Config, ConfigError, WorkerConfig, open_cortex
from cortex_trio.gateway.settings import ollama_probe
from cortex_trio.gateway.settings.connection_settings import trusted_by_environment
from cortex_trio.gateway.settings.ollama_probe import PROBE_SECONDS, host_from, served_from
from cortex_trio.http.certificates import HTTP1
from cortex_trio.providers import PROVIDERS

NO_OLLAMA = {"OLLAMA_MODEL": "m"}  # a model that is named is not asked for
VARIABLES = ("CORTEX_PROVIDERS", "OLLAMA_HOST", "OLLAMA_BASE_URL", "OLLAMA_MODEL", "OPENAI_API_KEY")


def keys_of(config: Config, name: str = "openai") -> list[str]:
    return [key.reveal() for key in config.workers[name].api_keys]


# ------------------------------------------------------------------ quotes, as `docker --env-file` leaves them


@pytest.mark.parametrize(
    ("variable", "text", "keys"),
    [
        ("OPENAI_API_KEY", '"sk-quoted-key-1"', ["sk-quoted-key-1"]),
        ("OPENAI_API_KEY", "'sk-quoted-key-1'", ["sk-quoted-key-1"]),
        ("OPENAI_API_KEY", ' "sk-quoted-key-1" ', ["sk-quoted-key-1"]),
        ("OPENAI_API_KEY", "' sk-quoted-key-1 '", ["sk-quoted-key-1"]),
        ("OPENAI_API_KEYS", '"sk-quoted-key-1,sk-quoted-key-2"', ["sk-quoted-key-1", "sk-quoted-key-2"]),
        ("OPENAI_API_KEYS", '"sk-quoted-key-1","sk-quoted-key-2"', ["sk-quoted-key-1", "sk-quoted-key-2"]),
        ("OPENAI_API_KEYS", "'sk-quoted-key-1', 'sk-quoted-key-2'", ["sk-quoted-key-1", "sk-quoted-key-2"]),
        ("OPENAI_API_KEYS", 'sk-quoted-key-1, "sk-quoted-key-2"', ["sk-quoted-key-1", "sk-quoted-key-2"]),
        ("OPENAI_API_KEYS", '["sk-quoted-key-1", "sk-quoted-key-2"]', ["sk-quoted-key-1", "sk-quoted-key-2"]),
        ("OPENAI_API_KEYS", '["sk-quoted-key-1"]', ["sk-quoted-key-1"]),
        ("OPENAI_API_KEYS", "sk-quoted-key-1;sk-quoted-key-2 ", ["sk-quoted-key-1", "sk-quoted-key-2"]),
        (
            "OPENAI_API_KEY",
            "\N{LEFT DOUBLE QUOTATION MARK}sk-quoted-key-1\N{RIGHT DOUBLE QUOTATION MARK}",
            ["sk-quoted-key-1"],
        ),
        ("OPENAI_API_KEY", "\N{ZERO WIDTH NO-BREAK SPACE}sk-quoted-key-1\r\n", ["sk-quoted-key-1"]),
    ],
)
def test_quotes_around_keys_are_not_part_of_them(variable: str, text: str, keys: list[str]) -> None:
    assert keys_of(Config.from_env({variable: text, **NO_OLLAMA})) == keys


@pytest.mark.parametrize("empty", ['""', "''", '" "', '"'])
def test_a_value_of_quotes_alone_is_no_key(empty: str) -> None:
    assert set(Config.from_env({"OPENAI_API_KEY": empty, **NO_OLLAMA}).workers) == {"ollama"}


def test_a_list_of_keys_that_is_json_and_broken_is_named_without_its_keys() -> None:
    with pytest.raises(ConfigError, match=r"OPENAI_API_KEYS: not a JSON list of str") as caught:
        Config.from_env({"OPENAI_API_KEYS": '["sk-quoted-key-1", {}]', **NO_OLLAMA})
    assert "quoted" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"OPENAI_API_KEYS: not a JSON list of str"):
        Config.from_env({"OPENAI_API_KEYS": '["sk-quoted-key-1"', **NO_OLLAMA})


def test_a_key_in_place_of_a_model_is_refused_without_being_shown() -> None:
    """Models are sent to the provider, and show in logs and events."""
    key = "sk-proj-4b2f9a7c1d8e6f3a5b9c"
    for environ in (
        {"OPENAI_API_KEY": "sk-quoted-key-1", "OPENAI_MODEL": key},
        {
            "CORTEX_PROVIDERS": json.dumps(
                {"openai": {"api_keys": ["sk-quoted-key-1"], "models": ["gpt-a", key]}}
            )
        },
    ):
        with pytest.raises(ConfigError, match="looks like an API key") as caught:
            Config.from_env({**environ, **NO_OLLAMA})
        assert "4b2f" not in str(caught.value)
        assert "models[" in str(caught.value)


def test_quotes_around_the_path_of_the_cas_are_dropped(tmp_path: Path) -> None:
    cas = tmp_path / "ca.pem"
    cas.write_text((Path(__file__).parents[1] / "http" / "localhost.pem").read_text())
    for environ in ({"SSL_CERT_FILE": f'"{cas}"'}, {"SSL_CERT_DIR": f"'{tmp_path}'"}):
        assert trusted_by_environment(environ, HTTP1) is not None
        config = Config.from_env({"OPENAI_API_KEY": "sk-quoted-key-1", **environ, **NO_OLLAMA})
        assert config.workers["openai"].verify == next(iter(environ.values())).strip("\"'")


def test_quotes_around_every_other_variable_are_dropped_as_well() -> None:
    providers = json.dumps({"openai": {"api_keys": ["sk-quoted-key-1"]}})
    assert keys_of(Config.from_env({"CORTEX_PROVIDERS": f"'{providers}'"})) == ["sk-quoted-key-1"]
    config = Config.from_env(
        {
            "OPENAI_API_KEY": "sk-quoted-key-1",
            "OPENAI_MODEL": '"gpt-a","gpt-b"',
            "OPENAI_BASE_URL": "'http://gate.example/v1'",
            "OPENAI_TIMEOUT": '"1500"',
            "HEALTH_CHECK_INTERVAL": '"15000"',
            "WORKER_POOL_STRATEGY": "'random'",
            **NO_OLLAMA,
        }
    )
    worker = config.workers["openai"]
    assert (worker.models, worker.base_url, worker.timeout) == (
        ("gpt-a", "gpt-b"),
        "http://gate.example/v1",
        1.5,
    )
    assert (config.health_check_interval, config.strategy) == (15.0, "random")


# ------------------------------------------------------------------ proxies and CAs of an environment that is given


def test_the_proxies_of_a_given_environment_are_those_of_its_workers(tmp_path: Path) -> None:
    environ = {"OPENAI_API_KEY": "sk-any-key-12", "HTTPS_PROXY": "me:hunter2hunter2@proxy:3128", **NO_OLLAMA}
    config = Config.from_env(environ)
    assert config.workers["openai"].proxy == "http://me:hunter2hunter2@proxy:3128"
    assert config.workers["ollama"].proxy is None
    assert "hunter2" not in repr(config)
    with pytest.raises(ConfigError, match="SSL_CERT_FILE: there is no CA file"):
        Config.from_env({**environ, "SSL_CERT_FILE": str(tmp_path / "none.pem")})


# ------------------------------------------------------------------ OLLAMA_HOST

HOSTS = [
    # of Ollama's own tests (envconfig)
    ("1.2.3.4", "http://1.2.3.4:11434"),
    (":1234", "http://127.0.0.1:1234"),
    ("1.2.3.4:1234", "http://1.2.3.4:1234"),
    ("example.com", "http://example.com:11434"),
    ("example.com:1234", "http://example.com:1234"),
    (":66000", "http://127.0.0.1:11434"),
    (":-1", "http://127.0.0.1:11434"),
    ("[::1]", "http://[::1]:11434"),
    ("::1", "http://[::1]:11434"),
    ("[::1]:1337", "http://[::1]:1337"),
    (" 1.2.3.4 ", "http://1.2.3.4:11434"),
    ('"1.2.3.4"', "http://1.2.3.4:11434"),
    (' " 1.2.3.4 " ', "http://1.2.3.4:11434"),
    ("'1.2.3.4'", "http://1.2.3.4:11434"),
    ("http://1.2.3.4", "http://1.2.3.4"),
    ("http://1.2.3.4:4321", "http://1.2.3.4:4321"),
    ("https://1.2.3.4", "https://1.2.3.4"),
    ("https://1.2.3.4:4321", "https://1.2.3.4:4321"),
    ("https://example.com/ollama", "https://example.com/ollama"),
    ("ollama.com", "https://ollama.com"),
    # what a server listens on
    ("0.0.0.0", "http://127.0.0.1:11434"),
    ("0.0.0.0:11434", "http://127.0.0.1:11434"),
    ("http://0.0.0.0:8080", "http://127.0.0.1:8080"),
    ("[::]", "http://[::1]:11434"),
    ("[::]:8080", "http://[::1]:8080"),
    ("::", "http://[::1]:11434"),
    # and other common forms
    ("localhost", "http://localhost:11434"),
    ("localhost:", "http://localhost:11434"),
    ("localhost:port", "http://localhost:11434"),
    ("localhost:0", "http://localhost:11434"),
    ("localhost/", "http://localhost:11434"),
    ("localhost:8080/", "http://localhost:8080"),
    ("localhost:8080/path/", "http://localhost:8080/path"),
    ("HTTP://localhost", "http://localhost"),
    ("http://localhost:99999", "http://localhost"),
    ("https://[::1]", "https://[::1]"),
    ("[0001:002:003:0004::1]:56789", "http://[1:2:3:4::1]:56789"),
    ("http://", "http://127.0.0.1"),
    ("/", "http://127.0.0.1:11434"),
]


@pytest.mark.parametrize(("text", "address"), HOSTS)
def test_ollamas_own_variable_is_read_as_ollama_reads_it(text: str, address: str) -> None:
    assert host_from(text) == address
    config = Config.from_env({"OLLAMA_HOST": text, "OLLAMA_MODEL": "m"})
    assert config.workers["ollama"].base_url == address


@pytest.mark.parametrize(
    "text", [text for text, _ in HOSTS if text not in ("http://", "/", "HTTP://localhost")]
)
def test_ollamas_python_client_goes_to_the_same_address(text: str) -> None:
    client = pytest.importorskip("ollama._client", reason="Ollama's own client is not installed")
    try:
        theirs = client._parse_host(text.strip(" \"'"))
    except ValueError:
        return  # it refuses a port that Ollama itself replaces by the default
    ours = host_from(text) or ""
    if any(wildcard in text for wildcard in ("0.0.0.0", "::]", "ollama.com")) or text in ("::", "::1"):
        return  # it would connect to the address of a listener, or takes the end of an IPv6 address for a port
    assert theirs.replace("0001:002:003:0004", "1:2:3:4") in (
        ours,
        f"{ours}:80",
        f"{ours}:443",
        ours.replace("/ollama", ":443/ollama"),
        ours.replace(":11434", ":0"),
    )


BAD_HOSTS = [
    "ftp://host",
    "unix:///run/ollama.sock",
    "http://[bad",
    "a host",
    "host?x=1",
    "me:pw@host",
    "a:b:c",
    "1.2.3.400",
    "ho\x1bst",
]


@pytest.mark.parametrize("more", [{}, NO_OLLAMA], ids=["no model", "a model"])
@pytest.mark.parametrize("text", BAD_HOSTS)
def test_a_host_nothing_can_connect_to_leaves_ollama_out_with_a_line_in_the_log(
    text: str, more: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    config = Config.from_env({"OPENAI_API_KEY": "sk-any-key-12", "OLLAMA_HOST": text, **more})
    assert set(config.workers) == {"openai"}
    assert "ollama is left out: " in caplog.text
    assert "\x1b" not in caplog.text


@pytest.mark.parametrize("bad", [{"OLLAMA_TIMEOUT": "soon"}, {"OLLAMA_API_KEY": "a b c"}])
async def test_nothing_else_about_an_ollama_that_was_only_found_stops_the_gateway(
    bad: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    async with open_ollama(["gemma3:4b"]) as host:
        environ = {"OPENAI_API_KEY": "sk-any-key-12", "OLLAMA_HOST": host, **bad}
        config = await trio.to_thread.run_sync(Config.from_env, environ)
    assert set(config.workers) == {"openai"}
    assert "ollama is left out: " in caplog.text


# ------------------------------------------------------------------ the models of an Ollama


def tags(*models: dict[str, Any]) -> bytes:
    return json.dumps({"models": list(models)}).encode()


@asynccontextmanager
async def open_ollama(models: list[Any], *, after: float = 0) -> AsyncIterator[str]:
    """Serve /api/tags on a port of this machine; gives OLLAMA_HOST."""
    body = tags(*({"name": model} if isinstance(model, str) else model for model in models))

    async def answer(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        await trio.sleep(after)
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    async with serving(answer) as port:
        yield f"127.0.0.1:{port}"


def bert(name: str, family: str = "bert") -> dict[str, Any]:
    return {"name": name, "details": {"family": family, "families": [family]}}


@pytest.mark.parametrize(
    ("listed", "first"),
    [
        (["nomic-embed-text:latest", "gemma3:4b"], "gemma3:4b"),
        ([bert("all-this:latest"), bert("that:1b", "nomic-bert"), {"name": "qwen3:8b"}], "qwen3:8b"),
        (["mxbai-embed-large", "bge-m3:latest", "all-minilm:l6", "llama9:1b"], "llama9:1b"),
        (["snowflake-arctic-embed2", "qwen3-embedding:4b", "embeddinggemma", "qwen3:4b"], "qwen3:4b"),
        (["library/bge-large:335m", "gpt-oss:20b"], "gpt-oss:20b"),
        (
            [
                {"name": "own:1b", "capabilities": ["embedding"]},
                {"name": "next:1b", "capabilities": ["completion"]},
            ],
            "next:1b",
        ),
        (
            [{"name": "embedded-systems-expert", "capabilities": ["completion", "tools"]}],
            "embedded-systems-expert",
        ),
        (["gemma3:4b", "nomic-embed-text"], "gemma3:4b"),
        ([{"name": "m", "details": None}], "m"),
    ],
)
async def test_a_chat_goes_to_the_first_model_that_can_answer_one(listed: list[Any], first: str) -> None:
    async with open_ollama(listed) as host:
        config = await trio.to_thread.run_sync(Config.from_env, {"OLLAMA_HOST": host})
    models = config.workers["ollama"].models
    assert models[0] == first
    assert len(models) == len(listed)  # `embed(model=…)` may ask for the others


async def test_an_ollama_for_embeddings_alone_has_no_embedding_model_as_its_default(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_ollama(["nomic-embed-text", "bge-m3"]) as host:
        config = await trio.to_thread.run_sync(Config.from_env, {"OLLAMA_HOST": host})
    assert config.workers["ollama"].models == (
        *PROVIDERS["ollama"].default_models,
        "nomic-embed-text",
        "bge-m3",
    )
    served = served_from([{"name": "nomic-embed-text"}])
    monkeypatch.setattr("cortex_trio.gateway.settings.environment.ollama_models", lambda _: served)
    assert set(Config.from_env({"OPENAI_API_KEY": "sk-any-key-12"}).workers) == {"openai"}
    assert "only models for embeddings (nomic-embed-text): set OLLAMA_MODEL" in caplog.text


# ------------------------------------------------------------------ without blocking


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_an_ollama_that_is_silent_costs_half_a_second_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow_name_server(*_: Any, **__: Any) -> Any:
        time.sleep(3)  # in the probe's own thread, which nothing waits for
        raise OSError("no such host")

    monkeypatch.setattr(ollama_probe.http.client.socket, "create_connection", slow_name_server)
    began = time.monotonic()
    assert ollama_probe.ollama_models("http://slow.example:11434") is None
    assert time.monotonic() - began < PROBE_SECONDS + 0.3


async def test_opening_and_reloading_let_other_tasks_run_while_an_ollama_is_asked(
    variables: pytest.MonkeyPatch,
) -> None:
    """The server answers in this event loop: were that blocked, it could not."""
    async with open_ollama(["gemma3:4b"], after=0.05) as host, open_ollama(["qwen3:4b"], after=0.05) as other:
        variables.setenv("OLLAMA_HOST", host)
        variables.setenv("HEALTH_CHECK_INTERVAL", "0")
        async with open_cortex() as cortex:
            assert [info.models for info in await cortex.list_workers()] == [("gemma3:4b",)]
            variables.setenv("OLLAMA_HOST", other)
            await cortex.reload()
            assert [info.models for info in await cortex.list_workers()] == [("qwen3:4b",)]


async def test_a_reload_that_is_cancelled_while_an_ollama_is_asked_ends_at_once(
    variables: pytest.MonkeyPatch,
) -> None:
    async with open_ollama(["gemma3:4b"], after=30) as host:
        worker = WorkerConfig(provider="openai", api_keys=["sk-any-key-12"])
        async with open_cortex(Config(workers={"w": worker}, health_check_interval=0)) as cortex:
            variables.setenv("OLLAMA_HOST", host)
            began = trio.current_time()
            with trio.move_on_after(0.05) as scope:
                await cortex.reload()
            assert scope.cancelled_caught
            assert trio.current_time() - began < 10
            assert [info.name for info in await cortex.list_workers()] == ["w"]
