"""docs/serve.md names every option and every field of a virtual key, and the log's fields."""

import argparse
import re
from pathlib import Path

import attrs

from cortex_trio.cli.arguments import parser
from cortex_trio.server.access_log import Access
from cortex_trio.server.virtual_keys import VirtualKey

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_it_lists_exactly_the_options() -> None:
    arguments = parser().parse_args(["serve"])
    hidden = {"command", "no_color", "listen_fd", "spare_fd", "store_socket"}
    options = {f"--{name.replace('_', '-')}" for name in vars(arguments) if name not in hidden}
    assert set(re.findall(r"`(--[a-z-]+)", section("Options"))) - {"--key"} == options - {"--key"}
    assert isinstance(arguments, argparse.Namespace)


def test_it_lists_exactly_the_fields_of_a_virtual_key() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", section("Virtual keys"), re.MULTILINE)
    assert listed == [field.name for field in attrs.fields(VirtualKey)]


def test_it_lists_the_fields_of_the_log() -> None:
    text = section("What it withstands")
    fields = [field.name for field in attrs.fields(Access) if field.name != "headers"]
    assert [name for name in fields if not re.search(rf"\b{name}\b", text)] == []


def test_bytes_have_units() -> None:
    for text, expected in {"1000": 1000, "32MiB": 32 * 1024**2, "5MB": 5_000_000, "1k": 1000}.items():
        assert parser().parse_args(["serve", "--max-body", text]).max_body == expected
