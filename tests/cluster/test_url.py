"""The address of a store: what is read, what is refused, and that a password is never shown."""

import pickle

import pytest

from cortex_trio import Config, ConfigError, WorkerConfig, open_cortex
from cortex_trio.cluster import MemoryStore, StoreUrl, ValkeyStore
from cortex_trio.cluster.url import Secret
from cortex_trio.simulator import open_simulator

WORKERS = {"ollama": WorkerConfig(provider="ollama", models=["m"])}


def test_all_parts_are_read() -> None:
    url = StoreUrl.parse("valkeys://me:p%40ss@cache.example:7000/3?prefix=shop&salt=pepper&cluster=true")
    assert url == StoreUrl(
        (("cache.example", 7000),),
        tls=True,
        user="me",
        password=Secret("p@ss"),
        database=3,
        prefix="shop",
        salt=Secret("pepper"),
        cluster=True,
    )


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("valkey://localhost", [("localhost", 6379)]),
        ("redis://10.0.0.1:7/", [("10.0.0.1", 7)]),
        ("rediss://a:1,b:2,c", [("a", 1), ("b", 2), ("c", 6379)]),
        ("valkey://[::1]:6380/0", [("::1", 6380)]),
        (" valkey://:secret@host ", [("host", 6379)]),
    ],
)
def test_addresses(text: str, addresses: list[tuple[str, int]]) -> None:
    assert list(StoreUrl.parse(text).addresses) == addresses


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost:6379",
        "http://hidden@host",
        "valkey://",
        "valkey://:hidden@",
        "valkey://:hidden@host:0",
        "valkey://:hidden@host:99999",
        "valkey://:hidden@host:port",
        "valkey://:hidden@host/name",
        "valkey://:hidden@host?database=1",
        "valkey://:hidden@host?cluster=yes",
        "valkey://:hidden@[::1",
    ],
)
def test_what_is_no_such_url_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        StoreUrl.parse(text)
    assert caught.value.path == "store"
    assert "hidden" not in str(caught.value)


def test_the_password_and_the_salt_are_never_shown() -> None:
    url = StoreUrl.parse("valkey://me:hidden@host/0?salt=pepper")
    config = Config(workers=WORKERS, store=url)
    pytest.importorskip("glide")
    for text in (str(url), repr(url), repr(config), repr(ValkeyStore(url)), ValkeyStore(url).place):
        assert "hidden" not in text
        assert "pepper" not in text


def test_the_configuration_takes_text_and_the_environment_names_its_variable() -> None:
    assert Config(workers=WORKERS, store="valkey://host").store == StoreUrl.parse("valkey://host")
    variables = {
        "OLLAMA_MODEL": "m",
        "OLLAMA_BASE_URL": "http://127.0.0.1:1",
        "CORTEX_STORE": '"valkey://host:1"',
    }
    found = Config.from_env(variables)
    assert found.store == StoreUrl.parse("valkey://host:1")
    with pytest.raises(ConfigError) as caught:
        Config.from_env({**variables, "CORTEX_STORE": "host:6379"})
    assert caught.value.path == "CORTEX_STORE"
    mapping = {"ollama": {"models": ["m"]}, "$settings": {"store": "valkeys://host"}}
    assert Config.from_mapping(mapping).store == StoreUrl.parse("valkeys://host")
    with pytest.raises(ConfigError) as caught:
        Config.from_mapping({**mapping, "$settings": {"store": "valkeys://:hidden@host:x"}})
    assert "hidden" not in str(caught.value)
    assert "store" in caught.value.path
    with pytest.raises(ConfigError):
        Config(workers=WORKERS, store=6379)  # type: ignore[arg-type]


def test_arguments_replace_what_the_url_says() -> None:
    pytest.importorskip("glide")
    store = ValkeyStore("valkey://host?prefix=a&salt=b")
    assert (store.url.prefix, store.salt) == ("a", "b")
    store = ValkeyStore("valkey://host?prefix=a&salt=b", prefix="c", salt="d")
    assert (store.url.prefix, store.salt) == ("c", "d")


async def test_a_store_that_is_passed_counts_before_that_of_the_configuration(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        workers = {"openai": sim["openai"].worker()}
        config = Config(workers=workers, store="valkey://127.0.0.1:1", health_check_interval=0)
        async with open_cortex(config, http_transport=sim.transport, store=MemoryStore()) as cortex:
            link = cortex.snapshot().cluster
            assert link is not None
            assert link.connected


def test_an_address_can_be_pickled_like_the_configuration_that_has_it() -> None:
    url = StoreUrl.parse("valkey://me:hidden@host/0")
    assert b"hidden" not in pickle.dumps(url)
    assert pickle.loads(pickle.dumps(url)).addresses == url.addresses
