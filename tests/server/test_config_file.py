"""The configuration file of a server: JSON and TOML, variables, keys and aliases; mistakes with their place."""

import json
from pathlib import Path

import pytest

from cortex_trio import ConfigError
from cortex_trio.server.config_file import read_config, read_keys
from cortex_trio.server.virtual_keys import Budget, sha256_of

WORKER = {"provider": "openai", "api_keys": ["${A_KEY}"], "models": ["m"]}
ENVIRON = {"A_KEY": "sk-of-a-test-0001"}


def written(tmp_path: Path, content: object, name: str = "config.json") -> Path:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_json_is_read(tmp_path: Path) -> None:
    key = {"name": "team-a", "key_sha256": sha256_of("k"), "budget": {"usd": 5, "per": "day"}}
    content = {"w": WORKER, "$settings": {"aliases": {"fast": ["w/m"]}}, "$keys": [key, "plain"]}
    read = read_config(written(tmp_path, content), ENVIRON)
    assert read.gateway.workers["w"].api_keys[0].reveal() == "sk-of-a-test-0001"
    assert read.gateway.aliases == {"fast": ("w/m",)}
    assert [one.name for one in read.keys] == ["team-a", "key-1"]
    assert read.keys[0].budget == Budget(5, "day")


def test_toml_is_read(tmp_path: Path) -> None:
    content = """
    [w]
    provider = "openai"
    api_keys = ["${A_KEY}"]

    ["$settings"]
    keys = [{name = "team-a", key_sha256 = "%s"}]
    """
    read = read_config(written(tmp_path, content % sha256_of("k"), "config.toml"), ENVIRON)
    assert read.gateway.workers["w"].api_keys[0].reveal() == "sk-of-a-test-0001"
    assert read.keys[0].key_sha256 == sha256_of("k")


def test_a_dollar_can_be_written(tmp_path: Path) -> None:
    content = {"w": {**WORKER, "api_keys": ["a$b$${A_KEY}${A_KEY}"]}}
    read = read_config(written(tmp_path, content), ENVIRON)
    assert read.gateway.workers["w"].api_keys[0].reveal() == "a$b${A_KEY}sk-of-a-test-0001"


SECRET = "sk-very-secret-0123456789"
WRONG = {
    "not JSON": ('{"w": "' + SECRET, "config.json", r"not JSON \(line 1, column"),
    "not TOML": (f'w = "{SECRET}', "config.toml", "not TOML"),
    "no object": ("[]", "config.json", r"\$: an object of providers"),
    "no variable": (
        {"w": {**WORKER, "api_keys": ["a", "${MISSING}"]}},
        "c.json",
        r"\$\.w\.api_keys\[1\].*MISSING",
    ),
    "no name": ({"w": {**WORKER, "base_url": "${a-b}"}}, "c.json", r"\$\.w\.base_url"),
    "worker": ({"w": {**WORKER, "timeout": "soon"}}, "c.json", r"\$\.w\.timeout"),
    "key": (
        {"w": WORKER, "$keys": [{"name": "a", "key_sha256": SECRET}]},
        "c.json",
        r"\$keys\[0\]\.key_sha256",
    ),
    "aliases": ({"w": WORKER, "$settings": {"aliases": {"fast": ["m"]}}}, "c.json", r"aliases\.fast"),
}


@pytest.mark.parametrize(("content", "name", "message"), WRONG.values(), ids=WRONG)
def test_a_mistake_has_its_place(tmp_path: Path, content: object, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_config(written(tmp_path, content, name), ENVIRON)
    assert SECRET not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.json.*No such file"):
        read_config(tmp_path / "absent.json", {})


def test_a_file_of_keys_has_lines_or_json(tmp_path: Path) -> None:
    assert read_keys(written(tmp_path, "# a comment\none\n\n  two  \n")) == ["one", "two"]
    assert read_keys(written(tmp_path, ["one"])) == ["one"]
    with pytest.raises(ConfigError, match="not JSON"):
        read_keys(written(tmp_path, "[one"))
