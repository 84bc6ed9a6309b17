"""A store in a Valkey or Redis server, version 7 or later. Needs the extra `cluster` (valkey-glide).

Every operation is one Lua script, so it is atomic, and one round trip. Time is that of the server. All names begin with
the prefix in braces, so that a cluster keeps them on one node. Published entries are numbered: a link that has missed
one, or whose server has lost its data, ends, and the next link reads a snapshot.
"""

from __future__ import annotations

import json
import math
import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, final

import attrs
import trio

from ..failures import ConfigError
from ..otp.nursery import open_flat_nursery
from .entry import LONGEST_SECONDS, Entry
from .lua import NAMES, source_of
from .memory import REMEMBERED_BATCH_SECONDS, UNREAD_ENTRIES
from .store import Claim, StoreLink, StoreUnavailable
from .url import DEFAULT_PREFIX, StoreUrl

if TYPE_CHECKING:
    from glide import GlideClient, GlideClusterClient, Script, TlsAdvancedConfiguration

T = TypeVar("T")

ANSWER_MS = 250
"""Milliseconds after which a command has failed. The client waits so long for a server that has died, too: together
with the beats of a gateway, a dead server is noticed within half a second."""
CONNECT_MS = 500
"""Milliseconds for a new connection."""

FIND_SECONDS = 0.9
"""Seconds to find the nodes of a cluster. The client of one server fails earlier; the actor waits longer."""

LONGEST_REASON = 400
"""Characters; the reason stands at the end of a long text."""

LONGEST_WINDOW_SECONDS = 10 * 366 * 86400.0
"""Of a limit, such as a budget without a period."""


@final
class ValkeyStore:
    """A store in a Valkey or Redis server.

    Args:
        url: such as "valkey://user:password@host:6379/0"; `StoreUrl` describes it.
        prefix: of all names in the server. Gateways with the same prefix share.
        salt: is hashed together with each API key and is equal in all processes. None: that of the URL.

    Raises:
        ConfigError: the URL is wrong, a file of certificates cannot be used, or the extra `cluster` is not installed.
    """

    def __init__(self, url: str | StoreUrl, *, prefix: str = DEFAULT_PREFIX, salt: str | None = None) -> None:
        try:
            import_module("glide")  # here, because loading it takes 60 ms: too long beside requests
        except ImportError as error:
            raise ConfigError("store", "needs valkey-glide: pip install 'cortex-trio[cluster]'") from error
        self.url = url if isinstance(url, StoreUrl) else StoreUrl.parse(url)
        _check_files(self.url)
        if prefix != DEFAULT_PREFIX:
            self.url = attrs.evolve(self.url, prefix=prefix)
        self.place = str(self.url)
        self.salt = self.url.salt.reveal() if salt is None else salt

    def __repr__(self) -> str:
        return f"ValkeyStore({self.place})"

    @asynccontextmanager
    async def open_link(self, process: str) -> AsyncIterator[StoreLink]:
        """Open a link. `process` makes no difference here.

        Raises:
            StoreUnavailable: the server cannot be reached, or has refused the password.
        """
        with _mapped_errors(self.url):
            client = await _new_client(self.url)
        link = _ValkeyLink(client, self.url)
        try:
            await self._connect(client)
            async with open_flat_nursery() as nursery:
                link.nursery = nursery
                yield link
                nursery.cancel_scope.cancel()
        finally:
            with trio.move_on_after(1.0, shield=True):
                await client.close()

    async def _connect(self, client: GlideClient | GlideClusterClient) -> None:
        try:
            with trio.fail_after(FIND_SECONDS), _mapped_errors(self.url):
                await client.ping()
        except trio.TooSlowError:
            raise StoreUnavailable(f"no {'cluster' if self.url.cluster else 'server'} answers") from None
        except StoreUnavailable as error:
            raise StoreUnavailable(f"{error} ({'with' if self.url.tls else 'without'} TLS)") from error


async def _new_client(url: StoreUrl) -> GlideClient | GlideClusterClient:
    """Return a client that connects with its first command: without `lazy_connect` it would block the event loop."""
    import glide

    glide.Logger.init(glide.LogLevel.OFF)  # it prints to stderr; the actor logs what matters
    settings: dict[str, Any] = {
        "addresses": [glide.NodeAddress(host, port) for host, port in url.addresses],
        "use_tls": url.tls,
        "credentials": glide.ServerCredentials(url.password.reveal(), url.user) if url.password else None,
        "database_id": url.database,
        "request_timeout": ANSWER_MS,
        "lazy_connect": True,
        # The actor connects again, with pauses. A client that does would report "timed out" instead of the reason.
        "reconnect_strategy": glide.BackoffStrategy(num_of_retries=0, factor=1, exponent_base=1),
    }
    advanced: dict[str, Any] = {"connection_timeout": CONNECT_MS, "tls_config": await _tls_config(url)}
    if url.cluster:
        return await glide.GlideClusterClient.create(
            glide.GlideClusterClientConfiguration(
                **settings, advanced_config=glide.AdvancedGlideClusterClientConfiguration(**advanced)
            )
        )
    return await glide.GlideClient.create(
        glide.GlideClientConfiguration(
            **settings, advanced_config=glide.AdvancedGlideClientConfiguration(**advanced)
        )
    )


async def _tls_config(url: StoreUrl) -> TlsAdvancedConfiguration | None:
    """Return which certificates are trusted and shown. The files are read for each link: they may have been renewed."""
    import glide

    if url.ca is None and url.cert is None:
        return None  # the client reads SSL_CERT_FILE, or the CAs of the system
    return glide.TlsAdvancedConfiguration(
        root_pem_cacerts=await trio.Path(url.ca).read_bytes() if url.ca else None,
        client_cert_pem=await trio.Path(url.cert).read_bytes() if url.cert else None,
        client_key_pem=await trio.Path(url.key or url.cert).read_bytes() if url.cert else None,
    )


def _check_files(url: StoreUrl) -> None:
    """Raise ConfigError if a file of certificates cannot be used: the client ignores a CA file without any."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    name = "ca"
    try:
        if url.ca:
            context.load_verify_locations(url.ca)
        name = "cert"
        if url.cert:
            context.load_cert_chain(url.cert, url.key, password="")  # never asks at the terminal
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError; ValueError: a NUL byte in the path
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or "not PEM"
        raise ConfigError("store", f"the file of {name} cannot be used: {reason}") from error


class _mapped_errors:  # noqa: N801, RUF100 - used like contextlib.suppress
    """A context in which the errors of the client are raised as StoreUnavailable."""

    def __init__(self, url: StoreUrl) -> None:
        self._url = url

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        from glide import GlideError

        if isinstance(error, GlideError | OSError):
            text = " ".join(str(error).split()) or type(error).__name__
            if self._url.password:
                text = text.replace(self._url.password.reveal(), "***")
            raise StoreUnavailable(text[:LONGEST_REASON]) from error


@final
class _ValkeyLink:
    """A link: one client with one connection."""

    nursery: trio.Nursery
    """Of the block in which the link is open; set before the link is used."""

    def __init__(self, client: GlideClient | GlideClusterClient, url: StoreUrl) -> None:
        self._client = client
        self._scripts = _load_scripts()
        self._url = url
        self._before = f"{{{url.prefix}}}:"
        self._channel = f"{self._before}news"
        self._data_id: str | None = None  # None before the first beat
        self._received = 0  # the number of the last published entry
        self._expected = 0  # of which the last beat knew

    def _key(self, *parts: str) -> str:
        return self._before + ":".join(parts)

    async def _run(
        self, name: str, keys: Sequence[str], arguments: Iterable[object], read: Callable[[Any], T]
    ) -> T:
        """Run a script and return what `read` makes of its answer. What that cannot read was written by others."""
        with _mapped_errors(self._url):
            answer = await self._client.invoke_script(
                self._scripts[name], list(keys), [str(argument) for argument in arguments]
            )
        try:
            return read(answer)
        except (ValueError, TypeError):
            raise StoreUnavailable(
                f"another program writes to the keys that begin with {self._before}"
            ) from None

    # -------------------------------------------------------------- entries

    async def subscribe(self) -> trio.MemoryReceiveChannel[Entry]:
        with _mapped_errors(self._url):
            await self._client.subscribe({self._channel}, CONNECT_MS)
        send, receive = trio.open_memory_channel[Entry](UNREAD_ENTRIES)
        self.nursery.start_soon(self._receive, send)
        return receive

    async def _receive(self, send: trio.MemorySendChannel[Entry]) -> None:
        with send:
            while True:
                try:
                    with _mapped_errors(self._url):
                        message = await self._client.get_pubsub_message()
                except StoreUnavailable:
                    return  # the channel ends
                decoded = _published(message.message)
                if decoded is None:
                    continue
                self._received = max(self._received, decoded[0])
                try:
                    send.send_nowait(decoded[1])
                except (trio.WouldBlock, trio.BrokenResourceError):
                    return

    async def snapshot(self) -> Sequence[Entry]:
        keys = self._key("names"), self._key("sequence")
        sequence, found = await self._run(
            "snapshot", keys, [self._key("entry", "")], lambda answer: (int(answer[0]), answer[1:])
        )
        self._received = max(self._received, sequence)
        entries = (_stored(text) for text in found)
        return tuple(entry for entry in entries if entry is not None)

    async def put(self, entry: Entry) -> None:
        keys = self._key("entry", entry.name), self._key("names"), self._key("sequence")
        left = _milliseconds(entry.seconds)
        await self._run("put", keys, [entry.name, entry.fact, entry.value, left, self._channel], int)

    async def beat(self, process: str, seconds: float) -> int:
        keys = self._key("processes"), self._key("data"), self._key("sequence")
        milliseconds = _milliseconds(seconds) if seconds else 0
        count, data_id, sequence = await self._run(
            "beat",
            keys,
            [process, milliseconds, secrets.token_hex(8)],
            lambda answer: (int(answer[0]), answer[1], int(answer[2])),
        )
        if self._data_id not in (None, data_id):
            raise StoreUnavailable("the server has lost its data")
        # The entries that the beat before knew must be here by now: they were published before this answer.
        if self._data_id is not None and self._received < self._expected:
            raise StoreUnavailable("published entries were lost")
        self._data_id, self._expected = data_id, sequence
        return count

    # -------------------------------------------------------------- leases, limits, totals

    async def lease(self, name: str, holder: str, seconds: float) -> float:
        arguments = [holder, _milliseconds(seconds)]
        return await self._run("lease", [self._key("lease", name)], arguments, int) / 1000

    async def release(self, name: str, holder: str) -> None:
        await self._run("release", [self._key("lease", name)], [holder], int)

    async def claim(self, name: str, process: str, amount: float, limit: float, seconds: float) -> Claim:
        window = max(1, math.ceil(min(seconds, LONGEST_WINDOW_SECONDS) * 1000))
        arguments = [process, repr(float(amount)), repr(float(limit)), window, secrets.token_hex(8)]
        return await self._run(
            "claim",
            [self._key("limit", name)],
            arguments,
            lambda answer: Claim(float(answer[0]), int(answer[1]) / 1000, _text(answer[2])),
        )

    async def add(self, batch: str, amounts: Mapping[str, float]) -> Mapping[str, float]:
        keys = self._key("totals"), self._key("batch", batch)
        arguments: list[object] = [_milliseconds(REMEMBERED_BATCH_SECONDS)]
        for name, amount in amounts.items():
            arguments += [name, repr(float(amount))]
        return await self._run("add", keys, arguments, _totals)


def _load_scripts() -> dict[str, Script]:
    """Return the scripts; the client sends the text of one only to a server that does not have it.

    Those of one link: when a module keeps them until the interpreter ends, the client's finalizer fails.
    """
    from glide import Script

    return {name: Script(source_of(name)) for name in NAMES}  # type: ignore[no-untyped-call]


def _totals(found: Any) -> Mapping[str, float]:
    pairs = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
    return {_text(name): float(amount) for name, amount in pairs}


def _milliseconds(seconds: float) -> int:
    return max(1, math.ceil(min(seconds, LONGEST_SECONDS) * 1000))


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _published(text: object) -> tuple[int, Entry] | None:
    """Return a published entry and its number; None for what another program has published."""
    try:
        found: Any = json.loads(_text(text))
        number, name, fact, value, left = found
        return int(number), Entry(str(name), str(fact), str(value), left / 1000)
    except (ValueError, TypeError):
        return None


def _stored(text: object) -> Entry | None:
    try:
        found: Any = json.loads(_text(text))
        name, fact, value, left = found
        return Entry(str(name), str(fact), str(value), left / 1000)
    except (ValueError, TypeError):
        return None
