"""The exceptions: what they tell, how they can be caught, and that they travel."""

import pickle

import pytest

from cortex_trio.errors import AllWorkersFailed, ProviderError, StreamInterrupted
from cortex_trio.events import ReplyBuilder, TextDelta
from cortex_trio.failures import (
    ConfigError,
    CortexError,
    Failure,
    FailureKind,
    InvalidRequest,
    NoWorkersAvailable,
)


def provider_error(kind: FailureKind = FailureKind.SERVER, worker: str = "openai") -> ProviderError:
    return ProviderError(Failure(kind, "oops", 500, retry_after=3.0), worker)


def all_failed() -> AllWorkersFailed:
    errors = [provider_error(), provider_error(FailureKind.QUOTA, "groq")]
    return AllWorkersFailed("2 attempts failed", errors, primary=errors[1], retry_after=3.0)


@pytest.mark.parametrize(
    "error",
    [ConfigError("$", "no"), InvalidRequest("no"), NoWorkersAvailable("no"), provider_error(), all_failed()],
    ids=lambda error: type(error).__name__,
)
def test_everything_raised_on_purpose_is_a_cortex_error(error: Exception) -> None:
    with pytest.raises(CortexError):
        raise error


def test_a_config_error_grows_its_path_from_the_leaf_up() -> None:
    leaf = ConfigError("timeout", "a number is needed")
    assert str(leaf.under("$.openai")) == "$.openai.timeout: a number is needed"
    assert (
        str(ConfigError("[1]", "empty").under("api_keys").under("$.openai")) == "$.openai.api_keys[1]: empty"
    )
    assert str(ConfigError("", "empty").under("$.openai")) == "$.openai: empty"
    assert str(ConfigError("", "alone")) == "alone"


def test_a_config_error_survives_pickling() -> None:
    found = pickle.loads(pickle.dumps(ConfigError("$.openai.timeout", "too long")))
    assert (found.path, found.problem) == ("$.openai.timeout", "too long")


def test_errors_survive_pickling_with_all_they_know() -> None:
    """So they may come out of another process, and be copied."""
    builder = ReplyBuilder()
    builder.add(TextDelta("Once"))
    partial = builder.reply(worker="w", provider="p", model="m", attempts=())
    broken = StreamInterrupted(Failure(FailureKind.TRUNCATED), "w", (), partial)
    for error in (provider_error(), broken, NoWorkersAvailable("no", retry_after=2.0)):
        found = pickle.loads(pickle.dumps(error))
        assert (type(found), str(found), vars(found)) == (type(error), str(error), vars(error))
    found = pickle.loads(pickle.dumps(all_failed()))
    assert (str(found), str(found.primary)) == (str(all_failed()), str(all_failed().primary))
    assert (found.retry_after, [e.worker for e in found.exceptions]) == (3.0, ["openai", "groq"])


def test_a_provider_error_says_who_and_what() -> None:
    error = provider_error()
    assert str(error) == "openai: server (HTTP 500): oops"
    assert error.retry_after == 3.0


def test_an_interruption_is_a_provider_error_that_kept_what_came() -> None:
    assert issubclass(StreamInterrupted, ProviderError)


def test_a_group_that_is_split_keeps_its_facts() -> None:
    group = all_failed()
    matched, rest = group.split(lambda error: isinstance(error, ProviderError) and error.worker == "groq")
    for part in (matched, rest):
        assert isinstance(part, AllWorkersFailed)
        assert (part.primary, part.retry_after) == (group.primary, 3.0)
        assert len(part.exceptions) == 1


def test_a_group_can_be_taken_apart_with_except_star() -> None:
    caught: list[str] = []
    try:
        raise all_failed()
    except* ProviderError as errors:
        caught = [error.worker for error in errors.exceptions if isinstance(error, ProviderError)]
    assert caught == ["openai", "groq"]
