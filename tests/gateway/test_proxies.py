"""Which proxy an address is reached by: the rules of urllib, curl's networks, and Go's loopback."""

import urllib.request

import pytest

from cortex_trio import ConfigError
from cortex_trio.gateway.settings.proxies import DIRECT, is_excepted, is_loopback, proxy_for

PROXY = "http://proxy.example:3128"


def chosen(url: str, **environ: str) -> str:
    return proxy_for(url, environ).reveal()


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        ("https://api.example/v1", {"HTTPS_PROXY": PROXY}, PROXY),
        ("https://api.example/v1", {"https_proxy": PROXY}, PROXY),
        ("https://api.example/v1", {"HTTP_PROXY": PROXY}, ""),
        ("http://api.example/v1", {"HTTP_PROXY": PROXY}, PROXY),
        ("http://api.example/v1", {"HTTPS_PROXY": PROXY}, ""),
        ("http://api.example/v1", {"ALL_PROXY": PROXY}, PROXY),
        ("https://api.example/v1", {"all_proxy": PROXY}, PROXY),
        ("https://api.example/v1", {"ALL_PROXY": "http://all:1", "HTTPS_PROXY": PROXY}, PROXY),
        ("https://api.example", {"https_proxy": PROXY, "HTTPS_PROXY": "http://upper:1"}, PROXY),
        ("https://api.example", {"https_proxy": "", "HTTPS_PROXY": "http://upper:1"}, ""),
        ("https://api.example", {"HTTPS_PROXY": "proxy.example:3128"}, PROXY),
        ("https://api.example", {"HTTPS_PROXY": f" {PROXY} "}, PROXY),
        ("https://api.example", {"HTTPS_PROXY": ""}, ""),
        ("https://api.example", {"HTTPS_PROXY": f'"{PROXY}"'}, PROXY),  # docker --env-file
        ("https://api.example", {"https_proxy": f"'{PROXY}'"}, PROXY),
        ("https://api.example", {"https_proxy": '""', "HTTPS_PROXY": PROXY}, ""),
        ("https://api.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": '"localhost,api.example"'}, ""),
        ("https://api.example", {"HTTPS_PROXY": PROXY, "no_proxy": "'*'"}, ""),
        ("http://api.example", {"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}, ""),
        ("http://api.example", {"http_proxy": PROXY, "REQUEST_METHOD": "GET"}, PROXY),
        ("https://api.example", {"HTTPS_PROXY": PROXY, "REQUEST_METHOD": "GET"}, PROXY),
        ("https://api.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": "api.example"}, ""),
        ("https://api.example", {"HTTPS_PROXY": PROXY, "no_proxy": "api.example"}, ""),
        ("https://api.example", {"HTTPS_PROXY": PROXY, "no_proxy": "", "NO_PROXY": "api.example"}, PROXY),
        ("https://api.example", {"https_proxy": "socks5://[", "NO_PROXY": "*"}, ""),
    ],
)
def test_the_variables_choose_the_proxy(url: str, environ: dict[str, str], proxy: str) -> None:
    assert chosen(url, **environ) == proxy


@pytest.mark.parametrize(
    ("no_proxy", "excepted"),
    [
        ("", False),
        ("*", True),
        ("other.example, *", True),
        ("api.example.com", True),
        ("API.Example.COM", True),
        ("example.com", True),
        (".example.com", True),
        ("*.example.com", True),
        ("ample.com", False),
        ("api.example.com:8443", True),
        ("api.example.com:443", False),
        ("other.example,example.com", True),
        ("other.example example.com", True),
        ("https://api.example.com", True),
        ("api.example.com.", True),
        ("example", False),
        ("[", False),
        (",,", False),
    ],
)
def test_no_proxy_is_a_list_of_suffixes(no_proxy: str, excepted: bool) -> None:
    assert is_excepted("api.example.com", 8443, no_proxy) is excepted


@pytest.mark.parametrize(
    "no_proxy", ["", "*", "api.example.com", "example.com", ".example.com", "ample.com", "x,example.com"]
)
def test_rules_of_urllib_are_followed(no_proxy: str) -> None:
    theirs = urllib.request.proxy_bypass_environment("api.example.com", {"no": no_proxy} if no_proxy else {})  # type: ignore[attr-defined]
    assert is_excepted("api.example.com", 443, no_proxy) is bool(theirs)


@pytest.mark.parametrize(
    ("host", "no_proxy", "excepted"),
    [
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3:8000", True),
        ("fd00::7", "fd00::/8", True),
        ("fd00::7", "fd00::7", True),
        ("fd00::7", "[fd00::7]:8000", True),
        ("fd00::7", "[fd00::7]:8001", False),
    ],
)
def test_no_proxy_takes_addresses_and_networks(host: str, no_proxy: str, excepted: bool) -> None:
    assert is_excepted(host, 8000, no_proxy) is excepted


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "[::1]", "model.localhost"])
def test_an_address_of_this_machine_needs_a_proxy_of_this_machine(host: str) -> None:
    url = f"http://{host}:11434/v1"
    assert is_loopback(host.strip("[]"))
    assert chosen(url, HTTP_PROXY=PROXY) == ""
    assert chosen(url, HTTP_PROXY="http://localhost:8080") == "http://localhost:8080"
    assert proxy_for(url, {"HTTP_PROXY": "http://localhost:8080"}, is_local=True) is DIRECT


def test_another_machine_that_serves_ollama_is_reached_as_any_other() -> None:
    assert proxy_for("http://gpu.example:11434", {"HTTP_PROXY": PROXY}, is_local=True).reveal() == PROXY


@pytest.mark.parametrize(
    "text", ["ftp://proxy:1", "http://", "http://me:secret-of-me@proxy:port", "socks://proxy:1"]
)
def test_a_variable_that_is_no_proxy_is_named_without_its_password(text: str) -> None:
    with pytest.raises(
        ConfigError, match=r"^HTTPS_PROXY: an address like http://user:password@host:port"
    ) as caught:
        chosen("https://api.example", HTTPS_PROXY=text)
    assert "secret-of-me" not in str(caught.value)
    assert chosen("http://api.example", HTTPS_PROXY=text) == ""
