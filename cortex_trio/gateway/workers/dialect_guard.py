"""Calls dialects, which may be a user's own, and turns their bugs into failures of one attempt.

An unexpected exception of a dialect, or a result of a wrong type, is a bug of the dialect. It is logged once with its
traceback and ends nothing but the attempt. Cancellation, and everything else that is not an Exception, passes through.
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
    """A dialect has a bug.

    Attributes:
        failure: of the attempt. `__cause__` is the exception of the dialect, unless its traceback shows an API key.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


@final
class DialectGuard:
    """Calls dialects. Remembers which bugs were logged, so that each one is logged once."""

    def __init__(self) -> None:
        self._logged: set[tuple[str, str, str]] = set()  # (provider, hook, type of the error)

    def encode_request(
        self,
        provider: str,
        hook: str,
        encode: Callable[[], HttpRequest],
        make_decoder: Callable[[], Decoder],
    ) -> tuple[HttpRequest, Decoder]:
        """Return a request and the decoder for its response.

        Args:
            provider: name of the provider, for the log.
            hook: the method of the dialect that `encode` calls.
            encode: makes the request.
            make_decoder: makes the decoder.

        Raises:
            InvalidRequest: the dialect cannot express the request.
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
        """Return the models in the response to a request for a list of models.

        Args:
            provider: whose dialect decodes.
            body: of the response.
            key: is removed from the texts of errors.

        Raises:
            DialectFailed: the dialect has a bug, or the body is not a list of models (a protocol failure).
        """
        try:
            return tuple(provider.dialect.decode_models(body))
        except ValueError as error:
            text = scrub(str(error), (key.reveal(),) if key else ())
            failure = Failure(FailureKind.PROTOCOL, text, phase="body")
        except Exception as error:
            bug = self.bug(provider.name, "decode_models", error, key)
            raise bug from bug.__cause__
        finally:
            del body  # it may contain the key
        raise DialectFailed(failure)

    @contextmanager
    def guard(self, provider: str, hook: str) -> Iterator[None]:
        """Context manager around a hook that is called before an API key is leased. Raises DialectFailed for a bug."""
        try:
            yield
        except InvalidRequest:
            raise
        except Exception as error:
            bug = self.bug(provider, hook, error, None)
            raise bug from bug.__cause__

    def bug(self, provider: str, hook: str, error: Exception, key: ApiKey | None) -> DialectFailed:
        """Return the exception to raise for `error`, and log the bug if it was not logged before.

        Args:
            provider: name of the provider.
            hook: the method of the dialect that raised `error`.
            error: the bug.
            key: is removed from the log. None before a key is leased.
        """
        name = type(error).__name__
        text = f"a bug in the dialect of {provider}: {hook} raised {name}"
        failed = DialectFailed(
            Failure(FailureKind.CRASHED, text, phase="connect" if key is None else "stream")
        )
        if key is None or not _shows(error, key):
            failed.__cause__ = error
        if (provider, hook, name) not in self._logged:
            self._logged.add((provider, hook, name))
            text = scrub("".join(traceback.format_exception(error)), (key.reveal(),) if key else ())
            log.error("the dialect of %s raised in %s; please report it\n%s", provider, hook, text)
        return failed


def _shows(error: Exception, key: ApiKey) -> bool:
    """Whether a traceback with locals would show the key, or a part of it."""
    try:
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        return holds("".join(shown.format()), key.reveal())
    except Exception:  # an error that cannot be searched is not passed on
        return True
