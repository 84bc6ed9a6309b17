"""Which proxy an address is reached by: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY. Pure.

The rules are those of `urllib.request.getproxies` and `proxy_bypass`, which requests and httpx follow: both cases of
a name, lower case first; HTTP_PROXY is ignored under CGI (CVE-2016-1000110); NO_PROXY holds suffixes of host names,
with or without a port, and `*`. In addition, as in curl and Go: networks in CIDR notation.

One rule is that of Go, in which Ollama's client is written: an address of this machine is reached directly, because a
proxy on another machine has another loopback interface. A proxy on this machine, such as mitmproxy, is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from ...failures import ConfigError
from .fields import proxy_problem
from .process_environ import value_of
from .secrets import ProxyUrl

DIRECT = ProxyUrl("")
"""No proxy."""


def proxy_for(url: str, environ: Mapping[str, str], *, is_local: bool = False) -> ProxyUrl:
    """Return the proxy for `url`, or DIRECT.

    Args:
        url: the address of a provider.
        environ: environment variables.
        is_local: whether the provider is meant for this machine, such as Ollama; then no proxy is used for a loopback
            address, not even one on this machine.

    Raises:
        ConfigError: a variable does not contain the address of a proxy; the error names the variable.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    found = next(filter(None, (_variable(scheme, environ) for scheme in (parts.scheme, "all"))), None)
    if found is None or is_excepted(host, port, _no_proxy(environ)) or (is_local and is_loopback(host)):
        return DIRECT
    name, text = found
    proxy = ProxyUrl(text if "://" in text else f"http://{text}")
    del found, text
    if problem := proxy_problem(proxy):
        del proxy
        raise ConfigError(name, problem)
    if is_loopback(host) and not is_loopback(urlsplit(proxy.reveal()).hostname or ""):
        return DIRECT
    return proxy


def _variable(scheme: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return name and value of the variable that counts. An empty one in lower case cancels the one in upper case."""
    lower, upper = f"{scheme}_proxy", f"{scheme}_proxy".upper()
    if lower in environ:
        return (lower, value) if (value := value_of(environ, lower)) else None
    if scheme == "http" and "REQUEST_METHOD" in environ:
        return None  # under CGI it may come from the header `Proxy:` of a request
    return (upper, value) if (value := value_of(environ, upper)) else None


def _no_proxy(environ: Mapping[str, str]) -> str:
    return value_of(environ, "no_proxy" if "no_proxy" in environ else "NO_PROXY")


def is_excepted(host: str, port: int, no_proxy: str) -> bool:
    """Whether `host` is among the names, suffixes, addresses and networks of NO_PROXY."""
    host = host.lower()
    for entry in no_proxy.replace(",", " ").split():
        name = (entry.partition("://")[2] or entry).lower()
        if name == "*" or _is_same_host(name, host, port) or _is_in_network(host, name):
            return True
    return False


def _is_same_host(name: str, host: str, port: int) -> bool:
    try:
        parts = urlsplit(f"//{name}" if name.count(":") < 2 or name.startswith("[") else f"//[{name}]")
        if parts.port not in (None, port):
            return False
        name = parts.hostname or ""
    except ValueError:
        return False
    name = name.removeprefix("*").lstrip(".").rstrip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _is_in_network(host: str, network: str) -> bool:
    try:
        return ip_address(host) in ip_network(network.strip("[]"), strict=False)
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether `host` is a name or an address of this machine. RFC 6761 §6.3: `localhost` and all names below it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")
