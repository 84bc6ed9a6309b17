"""The border to dialects, which may be a user's own. Whatever one raises that it was not asked to raise, or returns
that is not what was asked for, is a bug of its own: a failure of one attempt, told once with its traceback, and the
end of nothing else. Cancellation and whatever else is no Exception goes through.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import final

from ...failures import Failure, FailureKind, InvalidRequest, scrub
from ...failures.classify import holds
from ...providers import Provider
from ...wire.codec import Decoder, HttpRequest
from ..settings.secrets import ApiKey

log = logging.getLogger("cortex_trio")


class DialectFailed(Exception):
    """A dialect has a bug; what that proves is the Failure. Its cause is the bug, unless a key would show in it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


@final
class DialectGuard:
    """Asks dialects, and keeps in mind which bugs were told already: each once, however often it strikes."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str, str]] = set()  # provider, hook, type of the error

    def encode_request(
        self,
        provider: str,
        hook: str,
        encode: Callable[[], HttpRequest],
        make_decoder: Callable[[], Decoder],
    ) -> tuple[HttpRequest, Decoder]:
        """Return the request and the decoder of its answer.

        Args:
            provider: its name, for the log.
            hook: the method of the dialect that `encode` calls.
            encode: makes the request.
            make_decoder: makes the decoder.

        Raises:
            InvalidRequest: the dialect has no way to express the request.
            DialectFailed: the dialect has a bug.
        """
        with self.guard(provider, hook):
            request = encode()
            if not isinstance(request, HttpRequest):
                raise TypeError(f"it returned {type(request).__name__}, not an HttpRequest")
        with self.guard(provider, "decoder"):
            decoder = make_decoder()
            if not callable(getattr(decoder, "feed", None)):
                raise TypeError(f"it returned {type(decoder).__name__}, not a Decoder")
        return request, decoder

    def models(self, provider: Provider, body: bytes, key: ApiKey | None) -> Sequence[str]:
        """The models a list names. Raises DialectFailed, also for a body that is no list (a protocol failure)."""
        try:
            return tuple(provider.dialect.decode_models(body))
        except ValueError as error:
            text = scrub(str(error), (key.reveal(),) if key else ())
            failure = Failure(FailureKind.PROTOCOL, text, phase="body")
        except Exception as error:
            bug = self.bug(provider.name, "decode_models", error, key)
            raise bug from bug.__cause__
        finally:
            del body  # it may repeat the key
        raise DialectFailed(failure)

    @contextmanager
    def guard(self, provider: str, hook: str) -> Iterator[None]:
        """Around a hook that is asked before there is a key."""
        try:
            yield
        except InvalidRequest:
            raise
        except Exception as error:
            bug = self.bug(provider, hook, error, None)
            raise bug from bug.__cause__

    def bug(self, provider: str, hook: str, error: Exception, key: ApiKey | None) -> DialectFailed:
        """The failure that `error` is, to be raised; it is logged when it is news."""
        name = type(error).__name__
        text = f"a bug in the dialect of {provider}: {hook} raised {name}"
        failed = DialectFailed(
            Failure(FailureKind.CRASHED, text, phase="connect" if key is None else "stream")
        )
        if key is None or not _shows(error, key):
            failed.__cause__ = error
        if (provider, hook, name) not in self._told:
            self._told.add((provider, hook, name))
            told = scrub("".join(traceback.format_exception(error)), (key.reveal(),) if key else ())
            log.error("the dialect of %s raised in %s; please report it\n%s", provider, hook, told)
        return failed


def _shows(error: Exception, key: ApiKey) -> bool:
    """Would a traceback with locals show the key, or a piece of it?"""
    try:
        told = traceback.TracebackException.from_exception(error, capture_locals=True)
        return holds("".join(told.format()), key.reveal())
    except Exception:  # what cannot be looked at is not passed on
        return True
