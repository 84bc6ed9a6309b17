"""The only door to dialects, which may be a user's own.

An exception that a dialect must not raise, or a value of a wrong type, is a bug of the dialect: it fails one attempt
and is logged once, with its traceback. Cancellation, and all that is no Exception, passes through.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence
from typing import final

from ...events import WireEvent
from ...failures import Failure, FailureKind, InvalidRequest, scrub
from ...failures.classify import holds
from ...failures.kinds import Phase
from ...providers import Provider
from ...wire.codec import AdaptableDialect, Decoder, Dialect, HttpRequest
from ..settings.secrets import ApiKey

log = logging.getLogger("cortex_trio")


class DialectFailed(Exception):
    """A dialect has a bug. `failure` says what that proves; the cause is the bug, unless a key would show in it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


@final
class DialectGuard:
    """Calls dialects, and remembers which bugs were logged: each is logged once."""

    def __init__(self) -> None:
        self._logged: set[tuple[str, str, str]] = set()  # provider, hook, type of the error

    def encode_request(
        self,
        provider: str,
        hook: str,
        encode: Callable[[], HttpRequest],
        make_decoder: Callable[[], Decoder],
    ) -> tuple[HttpRequest, Decoder]:
        """Return the request and the decoder of its response.

        Args:
            provider: its name, for the log.
            hook: the method of the dialect that `encode` calls.
            encode: makes the request.
            make_decoder: makes the decoder.

        Raises:
            InvalidRequest: the dialect cannot express the request.
            DialectFailed: the dialect has a bug.
        """
        called = hook
        try:
            request = encode()
            if not isinstance(request, HttpRequest):
                raise TypeError(f"it returned {type(request).__name__}, not an HttpRequest")
            called = "decoder"
            decoder = make_decoder()
            if not callable(getattr(decoder, "feed", None)):
                raise TypeError(f"it returned {type(decoder).__name__}, not a Decoder")
            return request, decoder
        except InvalidRequest:
            raise
        except Exception as error:
            bug = self._bug(provider, called, error, None, "connect")  # there is no key yet
            raise bug from bug.__cause__

    def decode(
        self, provider: str, decoder: Decoder, data: bytes, *, whole_hook: str | None, key: ApiKey | None
    ) -> list[WireEvent]:
        """Return the events of the next bytes of a body.

        Args:
            provider: its name, for the log.
            decoder: a decoder of the dialect.
            data: the bytes; b"" for the end of the body.
            whole_hook: the method of the dialect that decodes the whole body; None if the body is a stream.
            key: the API key of the attempt, which no log may show.

        Raises:
            DialectFailed: the dialect has a bug.
        """
        try:
            events = decoder.feed(data) if data else decoder.finish()
            if not isinstance(events, list):
                raise TypeError(f"it returned {type(events).__name__}, not a list of events")
            return events
        except Exception as error:
            hook = whole_hook or ("feed" if data else "finish")
            bug = self._bug(provider, hook, error, key, "stream")
            raise bug from bug.__cause__

    def adapted(
        self, provider: str, dialect: Dialect, failure: Failure, added: frozenset[str]
    ) -> Dialect | None:
        """Return the dialect of a server that does not know a field which `dialect` adds; None for other failures.

        Args:
            provider: its name, for the log.
            dialect: the dialect in which the request was made.
            failure: how the server has answered.
            added: what the dialect has added to the request.
        """
        if not added or not isinstance(dialect, AdaptableDialect):
            return None
        try:
            adapted = dialect.adapted_to(failure, added)
        except Exception as error:
            self._bug(provider, "adapted_to", error, None, "headers")
            return None
        # A dialect that wraps another has the method of that one, and must not be replaced by it.
        return adapted if type(adapted) is type(dialect) else None

    def models(self, provider: Provider, body: bytes, key: ApiKey | None) -> Sequence[str]:
        """Return the models that a list of models names.

        Raises:
            DialectFailed: the dialect has a bug, or the body is no list of models (a protocol failure).
        """
        try:
            return tuple(provider.dialect.decode_models(body))
        except ValueError as error:
            text = scrub(str(error), (key.reveal(),) if key else ())
            failure = Failure(FailureKind.PROTOCOL, text, phase="body")
        except Exception as error:
            bug = self._bug(provider.name, "decode_models", error, key, "body")
            raise bug from bug.__cause__
        finally:
            del body  # it may repeat the key
        raise DialectFailed(failure)

    def _bug(
        self, provider: str, hook: str, error: Exception, key: ApiKey | None, phase: Phase
    ) -> DialectFailed:
        """Return the exception to raise for `error`; log it the first time."""
        name = type(error).__name__
        text = f"a bug in the dialect of {provider}: {hook} raised {name}"
        failed = DialectFailed(Failure(FailureKind.CRASHED, text, phase=phase))
        if key is None or not _shows(error, key):
            failed.__cause__ = error
        if (provider, hook, name) not in self._logged:
            self._logged.add((provider, hook, name))
            lines = scrub("".join(traceback.format_exception(error)), (key.reveal(),) if key else ())
            log.error("the dialect of %s raised in %s; please report it\n%s", provider, hook, lines)
        return failed


def _shows(error: Exception, key: ApiKey) -> bool:
    """Return whether a traceback with locals would show the key, or a piece of it."""
    try:
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        return holds("".join(shown.format()), key.reveal())
    except Exception:  # an exception that cannot be formatted is not passed on
        return True
