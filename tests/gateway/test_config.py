"""The configuration: what is read, and the errors for what is not allowed."""

import http.server
import json
import math
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from cortex_trio import ApiKey, Auth, Config, ConfigError, Provider, WorkerConfig
from cortex_trio.gateway.routing.strategies import STRATEGIES
from cortex_trio.gateway.settings.config import KEY_STRATEGIES, worker_config_from
from cortex_trio.messages import ChatRequest, Reasoning, assistant
from cortex_trio.providers import PROVIDERS
from cortex_trio.providers.groq import GROQ

NO_OLLAMA = {"OLLAMA_BASE_URL": "http://127.0.0.1:1"}  # a port without a listener: the probe ends at once


def one_openai(**fields: Any) -> dict[str, Any]:
    return {"openai": {"api_keys": ["sk-valid-key-1"], **fields}}


def problem(mapping: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        Config.from_mapping(mapping)
    return str(caught.value)


# ------------------------------------------------------------------ what is right

EXAMPLE = """{
    "openai": {"api_keys": ["sk-first-of-two-1", "sk-second-of-two-2"], "models": ["gpt-4", "gpt-3.5-turbo"],
               "priority": 5, "timeout": 30000},
    "anthropic": {"api_keys": ["sk-ant-one"], "models": ["claude-3-haiku"], "priority": 10, "timeout": 60000},
    "ollama": {"models": ["gemma3:4b"], "priority": 50, "base_url": "http://localhost:11434"}
}"""


def test_the_documented_example_is_read_to_the_letter_and_into_seconds() -> None:
    config = Config.from_env({"CORTEX_PROVIDERS": EXAMPLE})
    assert dict(config.workers) == {
        "openai": WorkerConfig(
            provider="openai",
            api_keys=("sk-first-of-two-1", "sk-second-of-two-2"),
            models=("gpt-4", "gpt-3.5-turbo"),
            priority=5,
            timeout=30.0,
        ),
        "anthropic": WorkerConfig(
            provider="anthropic",
            api_keys=("sk-ant-one",),
            models=("claude-3-haiku",),
            priority=10,
            timeout=60.0,
        ),
        "ollama": WorkerConfig(
            provider="ollama", models=("gemma3:4b",), priority=50, base_url="http://localhost:11434"
        ),
    }
    assert [key.reveal() for key in config.workers["openai"].api_keys] == [
        "sk-first-of-two-1",
        "sk-second-of-two-2",
    ]


def test_fields_that_are_not_set_have_the_documented_defaults() -> None:
    config = Config.from_mapping(one_openai())
    assert attrs.asdict(config, filter=lambda field, _: field.name != "workers") == {
        "strategy": "priority",
        "key_strategy": "round_robin",
        "health_check_interval": 30.0,
        "health_check_timeout": 5.0,
        "connect_timeout": 5.0,
        "idle_timeout": 30.0,
        "content_timeout": 120.0,
        "total_timeout": 600.0,
        "max_attempts": 4,
        "max_wait": 30.0,
        "max_idle_connections": 64,
        "max_answer_bytes": 128 * 1024 * 1024,
        "rate_limit_rest": None,
        "prices": {},
        "aliases": {},
        "store": None,
        "limits_without_store": "divided",
    }


@pytest.mark.parametrize(
    ("provider", "priority", "timeout", "address"),
    [
        ("openai", 5, 30, "https://api.openai.com/v1"),
        ("anthropic", 10, 60, "https://api.anthropic.com"),
        ("groq", 15, 30, "https://api.groq.com/openai/v1"),
        ("gemini", 20, 30, "https://generativelanguage.googleapis.com/v1beta"),
        ("xai", 25, 30, "https://api.x.ai/v1"),
        ("cohere", 30, 30, "https://api.cohere.com"),
        ("ollama", 50, 45, "http://localhost:11434"),
    ],
)
def test_every_provider_has_its_documented_numbers(
    provider: str, priority: int, timeout: float, address: str
) -> None:
    known = PROVIDERS[provider]
    assert (known.priority, known.timeout, known.base_url) == (priority, timeout, address)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_that_is_implemented_may_be_configured(strategy: str) -> None:
    workers = {"ollama": WorkerConfig(provider="ollama")}
    assert Config(workers=workers, strategy=strategy).strategy == strategy


def test_a_worker_of_another_name_needs_its_provider() -> None:
    config = Config.from_mapping({"fast": {"provider": "groq", "api_keys": ["gsk-1"]}})
    assert config.workers["fast"].kind is GROQ


def test_a_custom_provider_is_a_value() -> None:
    own = Provider(
        name="acme",
        base_url="https://llm.acme.example/v1",
        dialect=GROQ.dialect,
        priority=1,
        health=GROQ.health,
        models=GROQ.models,
        auth=Auth("x-acme-key", ""),
        default_models=("acme-1",),
    )
    config = Config(workers={"acme": WorkerConfig(provider=own, api_keys=("k",))})
    assert config.workers["acme"].kind is own


@pytest.mark.parametrize(("said", "meant"), [("gpt-4", ("gpt-4",)), (["a", "b"], ("a", "b"))])
def test_one_model_may_be_a_str(said: object, meant: tuple[str, ...]) -> None:
    assert Config.from_mapping(one_openai(models=said)).workers["openai"].models == meant


@pytest.mark.parametrize(
    ("milliseconds", "seconds"), [(1, 0.001), (1500, 1.5), (0.5e3, 0.5), (86_400_000, 86_400)]
)
def test_times_of_a_mapping_are_milliseconds(milliseconds: float, seconds: float) -> None:
    assert Config.from_mapping(one_openai(timeout=milliseconds)).workers["openai"].timeout == seconds


# ------------------------------------------------------------------ what is wrong


@pytest.mark.parametrize(
    "read",
    [
        lambda: Config.from_mapping({}),
        lambda: Config.from_env({"CORTEX_PROVIDERS": "{}"}),
        lambda: Config(workers={}),
    ],
    ids=["mapping", "environment", "values"],
)
def test_an_error_about_no_providers_says_how_to_start(read: Callable[[], Config]) -> None:
    with pytest.raises(ConfigError, match=r"no providers: .*CORTEX_PROVIDERS.*OPENAI_API_KEY"):
        read()


@pytest.mark.parametrize("mapping", [[], "openai", 5, None, [{"openai": {}}]])
def test_the_mapping_must_be_an_object(mapping: object) -> None:
    assert problem(mapping).startswith("$: an object of providers is needed, not ")


def test_an_error_about_an_unknown_provider_names_the_known_ones() -> None:
    for said in (problem({"opnai": {}}), problem({"mine": {"provider": "opnai"}})):
        for name in PROVIDERS:
            assert name in said
    assert problem({"opnai": {}}).startswith("$.opnai: ")
    assert problem({"mine": {"provider": "opnai"}}).startswith("$.mine.provider: ")


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 101, 5, None])
def test_a_workers_name_can_be_printed(name: object) -> None:
    said = problem({name: {"provider": "openai", "api_keys": ["k"]}})
    assert "1 to 100 printable characters" in said


SECRET = "sk-proj-Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6"
HIDDEN = "cXV4Zm9vYmFy"

BAD_KEYS = {
    "empty": "",
    "blank": "   ",
    "a line break": SECRET[:9] + "\r\n" + SECRET[9:],
    "not ASCII": SECRET + "ü",
    "a number": 123456,
    "null": None,
    "an object": {SECRET: SECRET},
}


@pytest.mark.parametrize("bad", BAD_KEYS.values(), ids=BAD_KEYS)
def test_a_bad_key_is_named_by_its_index_and_never_by_its_value(bad: object) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_mapping({"openai": {"api_keys": [SECRET, bad]}})
    assert str(caught.value).startswith("$.openai.api_keys[1]: ")
    assert HIDDEN not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "environ",
    [
        {"OPENAI_API_KEYS": f"{SECRET},{SECRET[:9]}\n{SECRET[9:]}"},
        {"CORTEX_PROVIDERS": json.dumps({"openai": {"api_keys": [SECRET, SECRET + "ü"]}})},
    ],
    ids=["variables", "json"],
)
def test_a_bad_key_from_the_environment_is_named_by_its_index(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_env({**environ, **NO_OLLAMA})
    assert str(caught.value).startswith("$.openai.api_keys[1]: ")
    assert HIDDEN not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"openai": {"api_keys": [SECRET, SECRET + "ü"]}},
        {"openai": {"api_keys": [SECRET], "timeout": -1}},
        {"openai": {"api_keys": [SECRET], "wrong": 1}},
        {"openai": {"api_keys": [SECRET]}, "opnai": {}},
        {"openai": {"api_keys": SECRET}},
    ],
    ids=["key", "number", "field", "provider", "nesting"],
)
@pytest.mark.parametrize(
    "read",
    [Config.from_mapping, lambda wrong: Config.from_env({"CORTEX_PROVIDERS": json.dumps(wrong)})],
    ids=["mapping", "json"],
)
def test_no_frame_of_ours_in_the_traceback_holds_a_key(
    wrong: dict[str, Any], read: Callable[[Any], Config]
) -> None:
    """A traceback with locals, as error reporters send it, can leak keys."""
    with pytest.raises(ConfigError) as caught:
        read(wrong)
    at: BaseException | None = caught.value
    while at is not None:
        frames = [frame for frame, _ in traceback.walk_tb(at.__traceback__)]
        for frame in (frame for frame in frames if "/tests/" not in frame.f_code.co_filename):
            assert HIDDEN not in repr(dict(frame.f_locals)), frame.f_code.co_qualname
        at = at.__cause__ or at.__context__


BAD_FIELDS: list[tuple[str, Any, str]] = [
    ("timeout", -1, "$.openai.timeout: "),
    ("timeout", 0, "$.openai.timeout: "),
    ("timeout", 1e12, "$.openai.timeout: "),
    ("timeout", 10**400, "$.openai.timeout: "),
    ("timeout", math.nan, "$.openai.timeout: "),
    ("timeout", math.inf, "$.openai.timeout: "),
    ("timeout", True, "$.openai.timeout: "),
    ("timeout", "30000", "$.openai.timeout: "),
    ("timeout", [30000], "$.openai.timeout: "),
    ("timeout", None, "$.openai.timeout: "),
    ("priority", -1, "$.openai.priority: "),
    ("priority", 1.5, "$.openai.priority: "),
    ("priority", 5.0, "$.openai.priority: "),
    ("priority", False, "$.openai.priority: "),
    ("priority", "5", "$.openai.priority: "),
    ("priority", math.nan, "$.openai.priority: "),
    ("priority", 10**400, "$.openai.priority: "),
    ("reasoning_field", "", "$.openai.reasoning_field: the name of a field is needed"),
    ("reasoning_field", "content", "$.openai.reasoning_field: the name of a field is needed"),
    ("reasoning_field", 5, "$.openai.reasoning_field: "),
    ("context_window", 0, "$.openai.context_window: "),
    ("context_window", "128k", "$.openai.context_window: "),
    ("max_concurrency", 0, "$.openai.max_concurrency: "),
    ("max_concurrency", True, "$.openai.max_concurrency: "),
    ("models", [""], "$.openai.models[0]: "),
    ("models", ["gpt-4", 5], "$.openai.models[1]: "),
    ("models", [["gpt-4"]], "$.openai.models[0]: "),
    ("models", {"gpt-4": {}}, "$.openai.models: "),
    ("models", 5, "$.openai.models: "),
    ("models", None, "$.openai.models: "),
    ("api_keys", "sk-valid-key-1", "$.openai.api_keys: "),
    ("api_keys", {"sk-valid-key-1": 1}, "$.openai.api_keys: "),
    ("api_keys", None, "$.openai.api_keys: "),
    ("api_keys", [], "$.openai.api_keys: "),
    ("provider", 5, "$.openai.provider: "),
    ("provider", ["openai"], "$.openai.provider: "),
    ("headers", ["x-team: a"], "$.openai.headers: "),
    ("headers", "x-team: a", "$.openai.headers: "),
    ("headers", {"x-team": 5}, "$.openai.headers.x-team: "),
    ("headers", {"x-team": "a\r\nx-evil: b"}, "$.openai.headers.x-team: "),
    ("headers", {"": "a"}, "$.openai.headers"),
    (
        "headers",
        {"Content-Length": "5"},
        "$.openai.headers.Content-Length: this library sets this header itself",
    ),
    ("headers", {"accept-encoding": "gzip"}, "$.openai.headers.accept-encoding: "),
    ("headers", {"x team": "a"}, "$.openai.headers.x team: "),
    ("base_url", "localhost:11434", "$.openai.base_url: "),
    ("base_url", "ftp://host", "$.openai.base_url: "),
    ("base_url", "http://", "$.openai.base_url: "),
    ("base_url", "", "$.openai.base_url: "),
    ("base_url", "http://host:99999", "$.openai.base_url: "),
    ("base_url", "http://host:port", "$.openai.base_url: "),
    ("base_url", "http://[::1", "$.openai.base_url: "),
    ("base_url", "http://host/v1?key=1", "$.openai.base_url: "),
    ("base_url", "http://host/v1#a", "$.openai.base_url: "),
    ("base_url", "http://a host/v1", "$.openai.base_url: "),
    ("base_url", "http://ho\nst/v1", "$.openai.base_url: "),
    ("base_url", " http://host/v1", "$.openai.base_url: "),
    ("base_url", 5, "$.openai.base_url: "),
    ("base_url", ["http://host"], "$.openai.base_url: "),
    ("api_key", "sk-valid-key-1", "$.openai.api_key: unknown; allowed are "),
    ("Timeout", 5, "$.openai.Timeout: unknown; allowed are "),
    ("openai", {"api_keys": ["k"]}, "$.openai.openai: unknown; allowed are "),
]


@pytest.mark.parametrize(("field", "value", "beginning"), BAD_FIELDS)
def test_a_bad_field_is_named_with_its_path_and_what_is_allowed(
    field: str, value: Any, beginning: str
) -> None:
    said = problem(one_openai(**{field: value}))
    assert said.startswith(beginning)
    assert len(said) > len(beginning) + 10


def test_an_error_about_an_unknown_field_names_all_known_ones() -> None:
    said = problem(one_openai(apikeys=[]))
    for field in attrs.fields(WorkerConfig):
        assert field.name in said


@pytest.mark.parametrize("worker", [["sk-1"], "sk-1", 5, None])
def test_a_worker_is_an_object(worker: object) -> None:
    assert problem({"openai": worker}).startswith("$.openai: an object is needed, not ")


def test_a_mapping_with_an_extra_level_is_an_unknown_provider() -> None:
    assert problem({"providers": one_openai()}).startswith("$.providers: not a provider (openai, ")


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    for address in ("https://me:hunter2@host/v1", "ftp://me:hunter2@host", "https://me:hunter2@host:99999"):
        said = problem(one_openai(base_url=address))
        assert said.startswith("$.openai.base_url: ")
        assert "hunter2" not in said


@pytest.mark.parametrize(
    ("worker", "path"),
    [
        ({"provider": "openai_compatible", "models": ["m"]}, "$.w.base_url"),
        ({"provider": "openai_compatible", "base_url": "http://host/v1"}, "$.w.models"),
        ({"provider": "anthropic"}, "$.w.api_keys"),
    ],
)
def test_a_field_that_a_provider_needs_is_required(worker: dict[str, Any], path: str) -> None:
    assert problem({"w": worker}).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "text",
    ["{", "not json", "{'openai': {}}", '{"openai": {"api_keys": ["' + SECRET + '"]}', "[" * 100_000, "\x00"],
)
def test_json_that_is_none_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ConfigError, match="not JSON") as caught:
        Config.from_env({"CORTEX_PROVIDERS": text})
    assert str(caught.value).startswith("CORTEX_PROVIDERS: ")
    assert HIDDEN not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("strategy", "fair"),
        ("strategy", None),
        ("strategy", ["priority"]),
        ("key_strategy", "priority"),
        ("health_check_interval", -1),
        ("health_check_interval", math.nan),
        ("health_check_timeout", 0),
        ("connect_timeout", math.inf),
        ("idle_timeout", True),
        ("content_timeout", "120"),
        ("total_timeout", 10**400),
        ("max_attempts", 0),
        ("max_attempts", 33),
        ("max_attempts", 2.0),
        ("max_attempts", None),
        ("max_answer_bytes", 0),
        ("max_answer_bytes", 1e6),
        ("rate_limit_rest", -1),
    ],
)
def test_a_bad_option_of_the_gateway_is_named(field: str, value: Any) -> None:
    workers = {"openai": WorkerConfig(provider="openai", api_keys=("k",))}
    with pytest.raises(ConfigError) as caught:
        Config(**{"workers": workers, field: value})
    assert str(caught.value).startswith(f"{field}: ")


def test_an_error_about_a_bad_strategy_names_the_allowed_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        Config(workers={"o": WorkerConfig(provider="openai", api_keys=("k",))}, key_strategy="fair")
    for name in KEY_STRATEGIES:
        assert name in str(caught.value)


def test_no_interval_means_no_health_checks() -> None:
    workers = {"openai": WorkerConfig(provider="openai", api_keys=("k",))}
    assert Config(workers=workers, health_check_interval=0).health_check_interval == 0


# ------------------------------------------------------------------ the environment

PREFIXES = [(provider, prefix) for provider in PROVIDERS.values() for prefix in provider.env]
WITH_KEYS = [(provider, prefix) for provider, prefix in PREFIXES if provider.needs_key]


@pytest.mark.parametrize(("provider", "prefix"), WITH_KEYS, ids=[prefix for _, prefix in WITH_KEYS])
def test_every_provider_is_configured_by_its_own_variables(provider: Provider, prefix: str) -> None:
    environ = {
        f"{prefix}_API_KEY": "key-a",
        f"{prefix}_MODEL": "model-1",
        f"{prefix}_BASE_URL": "http://127.0.0.1:2/v9",
        f"{prefix}_TIMEOUT": "1500",
    }
    config = Config.from_env({**environ, **NO_OLLAMA})
    assert config.workers[provider.name] == WorkerConfig(
        provider=provider.name,
        api_keys=("key-a",),
        models=("model-1",),
        base_url="http://127.0.0.1:2/v9",
        timeout=1.5,
    )


def test_several_keys_are_separated_by_commas() -> None:
    config = Config.from_env({"GROQ_API_KEYS": " key-a, key-b ,,", "GROQ_API_KEY": "key-c", **NO_OLLAMA})
    assert config.workers["groq"].api_keys == (ApiKey("key-a"), ApiKey("key-b"))


def test_exactly_the_providers_with_a_key_are_used() -> None:
    environ = {"OPENAI_API_KEY": "a", "XAI_API_KEY": "b", "GROQ_MODEL": "m", "COHERE_API_KEY": " "}
    config = Config.from_env({**environ, **NO_OLLAMA})
    assert set(config.workers) == {"openai", "xai", "ollama"}


def test_the_json_goes_before_all_other_variables() -> None:
    environ = {"CORTEX_PROVIDERS": EXAMPLE, "XAI_API_KEY": "b", "OPENAI_MODEL": "other"}
    config = Config.from_env(environ)
    assert set(config.workers) == {"openai", "anthropic", "ollama"}
    assert config.workers["openai"].models == ("gpt-4", "gpt-3.5-turbo")


def test_the_options_of_the_gateway_come_from_the_environment() -> None:
    environ = {
        "CORTEX_PROVIDERS": EXAMPLE,
        "HEALTH_CHECK_INTERVAL": "15000",
        "HEALTH_CHECK_TIMEOUT": "2500",
        "WORKER_POOL_STRATEGY": "local_first",
        "CORTEX_LIMITS_WITHOUT_STORE": "whole",
    }
    config = Config.from_env(environ)
    assert (config.health_check_interval, config.health_check_timeout) == (15.0, 2.5)
    assert (config.strategy, config.limits_without_store) == ("local_first", "whole")
    assert Config.from_env({**environ, "HEALTH_CHECK_INTERVAL": "0"}).health_check_interval == 0


@pytest.mark.parametrize(
    ("variable", "value", "beginning"),
    [
        ("HEALTH_CHECK_INTERVAL", "often", "HEALTH_CHECK_INTERVAL: "),
        ("HEALTH_CHECK_INTERVAL", "-1", "HEALTH_CHECK_INTERVAL: "),
        ("HEALTH_CHECK_INTERVAL", "nan", "HEALTH_CHECK_INTERVAL: "),
        ("HEALTH_CHECK_INTERVAL", "inf", "HEALTH_CHECK_INTERVAL: "),
        ("HEALTH_CHECK_INTERVAL", "1e300", "health_check_interval: "),
        ("HEALTH_CHECK_TIMEOUT", "5s", "HEALTH_CHECK_TIMEOUT: "),
        ("WORKER_POOL_STRATEGY", "fair", "strategy: "),
        ("CORTEX_LIMITS_WITHOUT_STORE", "half", "limits_without_store: "),
        ("OPENAI_TIMEOUT", "soon", "OPENAI_TIMEOUT: "),
        ("OPENAI_TIMEOUT", "0", "$.openai.timeout: "),
        ("OPENAI_BASE_URL", "api.example.com", "$.openai.base_url: "),
        ("OLLAMA_BASE_URL", "http://[bad", "$.ollama.base_url: "),
        ("OLLAMA_BASE_URL", "http://localhost:port", "$.ollama.base_url: "),
    ],
)
def test_a_bad_variable_is_named(variable: str, value: str, beginning: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_env({"OPENAI_API_KEY": "a", **NO_OLLAMA, variable: value})
    assert str(caught.value).startswith(beginning)


def test_the_environment_of_the_process_is_what_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORTEX_PROVIDERS", EXAMPLE)
    assert Config.from_env() == Config.from_env({"CORTEX_PROVIDERS": EXAMPLE})


# ------------------------------------------------------------------ an Ollama on this machine


class Ollama(http.server.ThreadingHTTPServer):
    """A loopback server with one answer for /api/tags."""

    def __init__(self, status: int, body: bytes) -> None:
        self.asked: list[str] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def ollama(request: pytest.FixtureRequest) -> Iterator[Ollama]:
    status, body = getattr(request, "param", (200, b'{"models":[{"name":"gemma3:4b"},{"name":"llama9:1b"}]}'))
    with Ollama(status, body) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.mark.parametrize("variable", ["OLLAMA_BASE_URL", "OLLAMA_HOST"])
def test_an_ollama_server_lists_its_own_models(ollama: Ollama, variable: str) -> None:
    config = Config.from_env({variable: ollama.address})
    assert config.workers["ollama"] == WorkerConfig(
        provider="ollama", models=("gemma3:4b", "llama9:1b"), base_url=ollama.address
    )
    assert ollama.asked == ["/api/tags"]


def test_a_model_that_was_named_is_not_asked_for(ollama: Ollama) -> None:
    config = Config.from_env({"OLLAMA_BASE_URL": ollama.address, "OLLAMA_MODEL": "mine:7b, other"})
    assert config.workers["ollama"].models == ("mine:7b", "other")
    assert ollama.asked == []


@pytest.mark.parametrize(
    "ollama",
    [(500, b""), (200, b"<html>"), (200, b"{}"), (200, b'{"models": 5}'), (404, b'{"models": []}')],
    indirect=True,
    ids=["broken", "a page", "no list", "no list either", "not found"],
)
def test_any_other_server_at_the_address_leaves_the_default_model(ollama: Ollama) -> None:
    config = Config.from_env({"OLLAMA_BASE_URL": ollama.address})
    assert config.workers["ollama"].models == PROVIDERS["ollama"].default_models


def test_a_configured_address_is_used_although_no_server_responds_yet(closed_port: int) -> None:
    config = Config.from_env({"OLLAMA_BASE_URL": f"http://127.0.0.1:{closed_port}"})
    assert config.workers["ollama"].models == PROVIDERS["ollama"].default_models


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1:1", "http://127.0.0.1:1"),
        ("0.0.0.0:1", "http://127.0.0.1:1"),
        ("http://127.0.0.1:1/", "http://127.0.0.1:1"),
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("https://ollama.example", "https://ollama.example"),  # a URL brings the port of its scheme
    ],
)
def test_ollamas_own_variable_is_understood(host: str, address: str) -> None:
    config = Config.from_env({"OLLAMA_HOST": host, "OLLAMA_MODEL": "m"})
    assert config.workers["ollama"].base_url == address


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        (
            {"openai": {"api_keys": [SECRET]}},
            r"workers.openai: a WorkerConfig is needed, not dict; Config.from_mapping",
        ),
        ([SECRET], "workers: names and WorkerConfigs are needed, not list"),
        (None, "workers: names and WorkerConfigs are needed, not NoneType"),
    ],
)
def test_a_config_value_takes_worker_configs_only(workers: Any, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as caught:
        Config(workers=workers)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("capabilities", [5, "tools", [{}], ["sing"]])
def test_unknown_capabilities_are_refused(capabilities: Any) -> None:
    with pytest.raises(ConfigError, match="capabilities: a list of tools, images"):
        WorkerConfig(provider="ollama", models=["m"], capabilities=capabilities)


# ------------------------------------------------------------------ keys in the wrong field, and other strange texts

PASTED = {
    "with a prefix": SECRET,
    "without one": "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmF6",
    "in hexadecimal": "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c",
}
HALVES = HIDDEN, "YmFyYmF6cXV4Zm9v", "69788796a5b4"
WRONG_FIELDS: dict[str, Callable[[str], Any]] = {
    "provider": lambda key: {"w": {"provider": key}},
    "a worker's name": lambda key: {key: {"api_keys": [key]}},
    "a worker's name that is none": lambda key: {f"{key}\n": {"provider": "ollama"}},
    "a worker's name with a bad field": lambda key: {key: {"provider": "openai", "priority": -1}},
    "a field's name": lambda key: one_openai(**{key: 1}),
    "base_url": lambda key: one_openai(base_url=key),
    "base_url with a scheme": lambda key: one_openai(base_url=f"ftp://{key}"),
    "models": lambda key: one_openai(models={key: key}),
    "priority": lambda key: one_openai(priority=key),
    "timeout": lambda key: one_openai(timeout=key),
    "capabilities": lambda key: one_openai(capabilities=[key]),
    "a header's name": lambda key: one_openai(headers={f"{key} x": "v"}),
    "a header's value": lambda key: one_openai(headers={"x-team": f"{key}\n"}),
    "a secret header's value": lambda key: one_openai(secret_headers={"x-team": f"{key} {key}"}),
    "a header of the connection": lambda key: one_openai(headers={"te": key}),
    "query": lambda key: one_openai(query={"": key}),
    "a query's name": lambda key: one_openai(query={key: 1}),
    "proxy": lambda key: one_openai(proxy=key),
    "proxy with a scheme": lambda key: one_openai(proxy=f"ftp://{key}:{key}@proxy"),
    "verify": lambda key: one_openai(verify=key),
    "http2": lambda key: one_openai(http2=key),
    "a worker": lambda key: {"openai": key},
}


@pytest.mark.parametrize("key", PASTED.values(), ids=PASTED)
@pytest.mark.parametrize("mapping_with", WRONG_FIELDS.values(), ids=WRONG_FIELDS)
def test_a_key_in_the_wrong_position_is_not_repeated(mapping_with: Callable[[str], Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_mapping(mapping_with(key))
    error = caught.value
    shown = "".join(traceback.format_exception(error)) + f"{error!r}{error.path}{error.problem}"
    assert not [half for half in HALVES if half in shown]


@pytest.mark.parametrize(
    "variable",
    ["OPENAI_TIMEOUT", "OPENAI_BASE_URL", "HEALTH_CHECK_INTERVAL", "WORKER_POOL_STRATEGY", "HTTPS_PROXY"],
)
@pytest.mark.parametrize("key", PASTED.values(), ids=PASTED)
def test_a_key_in_the_wrong_variable_is_not_repeated(variable: str, key: str) -> None:
    environ = {
        "OPENAI_API_KEY": "sk-valid-key-1",
        **NO_OLLAMA,
        variable: key if variable != "HTTPS_PROXY" else f"x://{key}",
    }
    with pytest.raises(ConfigError) as caught:
        Config.from_env(environ)
    assert not [half for half in HALVES if half in str(caught.value)]


def test_a_key_is_no_name_for_a_worker() -> None:
    """The name shows in logs and events; a short one that only begins like a key is taken."""
    with pytest.raises(ConfigError, match="looks like an API key"):
        Config(workers={SECRET: WorkerConfig(provider="ollama")})
    assert Config(workers={"sk-team-1": WorkerConfig(provider="ollama")})


@pytest.mark.parametrize(
    "mapping",
    [
        {"evil\x1b[2J": {}},
        {"openai": {"api_keys": ["k"], "\x1b[2J": 1}},
        {"w": {"provider": "\x1b[2J"}},
        one_openai(base_url="http://\x1b[2J"),
        one_openai(headers={"\x1b[2J": "x"}),
        one_openai(query={"\x1b[2J": 5}),
        one_openai(verify="/\x1b[2J.pem"),
        one_openai(proxy="\x1b[2J://host"),
        one_openai(capabilities=["\x1b[2J"]),
    ],
)
def test_no_error_text_moves_the_cursor_of_a_terminal(mapping: Any) -> None:
    assert problem(mapping).isprintable()


def test_an_error_text_is_short_whatever_the_server_sent() -> None:
    for mapping in (
        {"w": {"provider": "name " * 10_000}},
        one_openai(**{"field" * 10_000: 1}),
        one_openai(capabilities=["word"] * 10_000),
        one_openai(base_url="http://" + "host " * 10_000),
        one_openai(verify="/folder" * 10_000),
        one_openai(headers={"a b" * 10_000: "x"}),
    ):
        assert len(problem(mapping)) < 1000


@pytest.mark.parametrize(
    ("field", "meant"),
    [
        ("api_key", "api_keys"),
        ("apiKeys", "api_keys"),
        ("model", "models"),
        ("priotity", "priority"),
        ("baseUrl", "base_url"),
    ],
)
def test_an_error_about_an_unknown_field_names_the_closest_one(field: str, meant: str) -> None:
    assert problem(one_openai(**{field: 1})).endswith(f"; did you mean {meant}?")


def test_an_error_about_a_field_like_no_other_names_no_closest_one() -> None:
    assert "did you mean" not in problem(one_openai(zzzzzz=1))


def test_an_error_about_a_misspelt_provider_names_the_closest_one() -> None:
    assert problem({"opnai": {}}).endswith("; did you mean openai?")


# ------------------------------------------------------------------ connection settings


def test_the_connection_settings_of_a_worker_can_be_set_in_a_mapping() -> None:
    fields = {
        "proxy": "http://proxy.example:3128",
        "verify": False,
        "http2": False,
        "query": {"api-version": "2026-10-21"},
        "headers": {"x-team": "blue"},
        "secret_headers": {"x-gate": "gate-secret-0123456789"},
    }
    worker = Config.from_mapping(one_openai(**fields)).workers["openai"]
    assert (worker.proxy, worker.verify, worker.http2) == ("http://proxy.example:3128", False, False)
    assert (worker.query, worker.headers) == ({"api-version": "2026-10-21"}, {"x-team": "blue"})
    assert worker.secret_headers["x-gate"].reveal() == "gate-secret-0123456789"
    assert "gate-secret" not in repr(worker)


@pytest.mark.parametrize(
    ("field", "value", "beginning"),
    [
        ("proxy", 5, "$.openai.proxy: the address of a proxy is needed"),
        ("proxy", "proxy:3128", "$.openai.proxy: an address like http://user:password@host:port"),
        ("verify", "/no/such/file", "$.openai.verify: there is no CA file /no/such/file"),
        ("http2", "yes", "$.openai.http2: true or false is allowed"),
        ("query", "api-version=1", "$.openai.query: an object of names and values is needed, not str"),
        ("query", {"api-version": 1}, "$.openai.query.api-version: a name and a value, both str"),
        ("secret_headers", ["a"], "$.openai.secret_headers: an object of names and values is needed"),
        ("secret_headers", {"x a": "b"}, "$.openai.secret_headers.x a: a header's name"),
        ("secret_headers", {"x-a": ""}, "$.openai.secret_headers.x-a: the API key is empty"),
        (
            "secret_headers",
            {"host": "b", "upgrade": "x"},
            "$.openai.secret_headers.upgrade: this library sets this header",
        ),
        ("base_url", "http://1.2.3.400/v1", "$.openai.base_url: an address like"),
    ],
)
def test_a_bad_connection_setting_is_named(field: str, value: Any, beginning: str) -> None:
    assert problem(one_openai(**{field: value})).startswith(beginning)


def test_an_error_about_a_query_in_an_address_names_the_field_query() -> None:
    said = problem(one_openai(base_url="https://me.openai.azure.com/openai?api-version=2026-10-21"))
    assert 'write the part after the "?" as query={"name": "value"}' in said


def test_reasoning_goes_back_in_the_field_that_a_worker_names() -> None:
    deepseek = worker_config_from(
        "deepseek",
        {
            "provider": "openai_compatible",
            "base_url": "https://api.deepseek.com",
            "models": ["deepseek-v4"],
            "reasoning_field": "reasoning_content",
        },
        "$",
    )
    request = ChatRequest(messages=(assistant(Reasoning("2 + 2"), "4"),))
    body = json.loads(deepseek.kind.dialect.encode(request, "openai_compatible", "deepseek-v4").body or b"")
    assert body["messages"] == [{"role": "assistant", "content": "4", "reasoning_content": "2 + 2"}]


def test_a_provider_without_chat_completions_has_no_field_for_reasoning() -> None:
    with pytest.raises(
        ConfigError, match="reasoning_field: only for providers with the dialect chat_completions"
    ):
        WorkerConfig(provider="anthropic", api_keys=("sk-valid-key-1",), reasoning_field="reasoning")
