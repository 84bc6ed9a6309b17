"""A key does not show itself, however one looks at the values that hold it."""

import copy
import json
import logging
import pickle
import traceback

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex_trio import ApiKey, ConfigError, WorkerConfig, api_keys_from
from cortex_trio.gateway.settings.secrets import mask

SECRET = "sk-proj-Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6"
HIDDEN = "YmFyYmF6cXV4Zm9vYm"  # what lies between the ends a mask shows

WAYS_TO_LOOK = {
    "str": str,
    "repr": repr,
    "format": lambda value: f"{value}",
    "format with a width": lambda value: f"{value!s:>80}",
    "percent": lambda value: "%s %r" % (value, value),  # noqa: UP031
    "ascii": ascii,
    "pickle": lambda value: pickle.dumps(value).decode("latin-1"),
    "oldest pickle": lambda value: pickle.dumps(value, protocol=0).decode("latin-1"),
    "unpickled": lambda value: repr(pickle.loads(pickle.dumps(value))),
    "copy": lambda value: repr(copy.copy(value)),
    "deepcopy": lambda value: repr(copy.deepcopy(value)),
    "list": lambda value: str([value, {value: value} if isinstance(value, ApiKey) else value]),
    "json": lambda value: json.dumps([value], default=str),
}


@pytest.mark.parametrize("look", WAYS_TO_LOOK.values(), ids=WAYS_TO_LOOK)
@pytest.mark.parametrize(
    "holder",
    [
        ApiKey(SECRET),
        WorkerConfig(provider="openai", api_keys=(SECRET,)),
        attrs.asdict(WorkerConfig(provider="openai", api_keys=(SECRET,))),
        attrs.astuple(WorkerConfig(provider="openai", api_keys=(SECRET,))),
        attrs.evolve(WorkerConfig(provider="openai", api_keys=(SECRET,)), priority=3),
        api_keys_from([SECRET]),
    ],
    ids=["key", "config", "asdict", "astuple", "evolved", "tuple"],
)
def test_no_representation_shows_the_key(holder: object, look: object) -> None:
    assert callable(look)
    shown = look(holder)
    assert HIDDEN not in shown
    assert SECRET not in shown


def test_a_log_line_shows_the_mask(caplog: pytest.LogCaptureFixture) -> None:
    key = ApiKey(SECRET)
    logging.getLogger("test").warning("asked with %s, %r and %s", key, key, {"key": key})
    assert HIDDEN not in caplog.text
    assert caplog.text.count("sk-proj-Zm9***FyYmF6") == 3


def test_reveal_returns_the_key() -> None:
    assert ApiKey(SECRET).reveal() == SECRET
    assert ApiKey(ApiKey(SECRET)).reveal() == SECRET
    assert ApiKey(f"  {SECRET}\n").reveal() == SECRET


def test_a_copy_within_the_process_keeps_the_key() -> None:
    config = WorkerConfig(provider="openai", api_keys=(SECRET,))
    for copied in (copy.copy(config), copy.deepcopy(config), attrs.evolve(config)):
        assert copied.api_keys[0].reveal() == SECRET
        assert copied == config


def test_an_unpickled_key_has_no_value_and_says_so() -> None:
    label = pickle.loads(pickle.dumps(ApiKey(SECRET)))
    assert label.masked == ApiKey(SECRET).masked
    assert label != ApiKey(SECRET)
    with pytest.raises(ConfigError, match="pickled") as caught:
        label.reveal()
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "masked"),
    [
        ("sk-proj-abcdefghijklmnopqrstuvxyz789", "sk-proj-abc***xyz789"),
        ("123456789012345678901234", "12345678901***901234"),
        ("12345678901234567890123", "123***23"),
        ("123456789012", "123***12"),
        ("12345678901", "***"),
        ("x", "***"),
    ],
)
def test_a_mask_is_enough_to_recognise_a_key_and_too_little_to_use_it(key: str, masked: str) -> None:
    assert mask(key) == masked
    assert str(ApiKey(key)) == masked
    assert repr(ApiKey(key)) == f"ApiKey({masked})"


printable = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=80)


@given(printable)
def test_a_mask_never_holds_the_middle_of_a_key(key: str) -> None:
    shown = mask(key)
    assert len(shown.replace("***", "", 1)) <= max(0, len(key) - 7)


@given(printable, printable)
def test_keys_are_equal_when_their_values_are(one: str, other: str) -> None:
    assert (ApiKey(one) == ApiKey(other)) == (one == other)
    assert len({ApiKey(one), ApiKey(other)}) == len({one, other})
    assert ApiKey(one) != one


BAD = {
    "empty": ("", "empty"),
    "blank": ("  \n", "empty"),
    "a line break inside": (SECRET[:10] + "\n" + SECRET[10:], "line break"),
    "a carriage return inside": (SECRET[:10] + "\r" + SECRET[10:], "line break"),
    "a NUL": (SECRET + "\0x", "line break"),
    "not ASCII": (SECRET + "é", "printable ASCII"),
    "a typographic dash": (SECRET.replace("-", "–"), "printable ASCII"),
    "a blank inside": (SECRET[:10] + " " + SECRET[10:], "printable ASCII"),
    "a control character": (SECRET + "\x07x", "printable ASCII"),
    "a number": (12345678901234567890, "not int"),
    "nothing": (None, "not NoneType"),
    "bytes": (SECRET.encode(), "not bytes"),
}


@pytest.mark.parametrize(("value", "problem"), BAD.values(), ids=BAD)
def test_a_key_that_a_header_cannot_have_is_refused_by_its_index_without_its_value(
    value: object, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        api_keys_from([SECRET, value])  # type: ignore[list-item]
    assert str(caught.value).startswith("api_keys[1]: ")
    shown = "".join(traceback.format_exception(caught.value))
    assert HIDDEN not in shown.replace("\n", "")


@pytest.mark.parametrize("keys", [SECRET, SECRET.encode(), {SECRET: 1}, {SECRET}, 5, None])
def test_keys_come_in_a_list(keys: object) -> None:
    with pytest.raises(ConfigError, match="a list of str is needed") as caught:
        api_keys_from(keys)  # type: ignore[arg-type]
    assert SECRET not in str(caught.value)


def test_the_same_key_twice_is_one_key() -> None:
    assert api_keys_from([SECRET, f" {SECRET} ", ApiKey(SECRET), "another-key"]) == (
        ApiKey(SECRET),
        ApiKey("another-key"),
    )


def locals_of_our_frames(error: BaseException) -> list[str]:
    """What a traceback with locals would print of the package's own frames, the error's causes included."""
    shown: list[str] = []
    at: BaseException | None = error
    while at is not None:
        for frame, _ in traceback.walk_tb(at.__traceback__):
            if "cortex_trio" in frame.f_code.co_filename and "tests" not in frame.f_code.co_filename:
                shown += [f"{name}={value!r}" for name, value in frame.f_locals.items() if name != "self"]
        at = at.__cause__ or at.__context__
    return shown


@pytest.mark.parametrize("bad", ["bad\nkey-" + SECRET, SECRET + "é"])
def test_a_traceback_with_locals_shows_no_key_in_frames_of_ours(bad: str) -> None:
    with pytest.raises(ConfigError) as caught:
        api_keys_from([SECRET, bad])
    assert not [shown for shown in locals_of_our_frames(caught.value) if HIDDEN in shown]
    with pytest.raises(ConfigError) as caught:
        ApiKey(bad)
    assert not [shown for shown in locals_of_our_frames(caught.value) if HIDDEN in shown]


# ------------------------------------------------------------------ headers, parameters, secret headers

HOLDER = WorkerConfig(
    provider="openai",
    api_keys=("sk-another-key-1",),
    headers={"x-gate": SECRET},
    secret_headers={"x-door": SECRET},
    query={"key": SECRET},
)


@pytest.mark.parametrize("look", WAYS_TO_LOOK.values(), ids=WAYS_TO_LOOK)
@pytest.mark.parametrize(
    "holder",
    [
        HOLDER,
        attrs.asdict(HOLDER),
        attrs.astuple(HOLDER),
        HOLDER.headers,
        HOLDER.query,
        HOLDER.secret_headers,
    ],
    ids=["config", "asdict", "astuple", "headers", "query", "secret headers"],
)
def test_no_representation_shows_the_value_of_a_header_or_a_parameter(holder: object, look: object) -> None:
    assert callable(look)
    shown = look(holder)
    assert HIDDEN not in shown
    assert SECRET not in shown


def test_the_names_of_headers_show() -> None:
    assert "headers=['x-gate']" in repr(HOLDER)
    assert "query=['key']" in repr(HOLDER)


def test_headers_are_a_mapping_like_any_other() -> None:
    assert HOLDER.headers == {"x-gate": SECRET}
    assert dict(HOLDER.headers) == {"x-gate": SECRET} == {**HOLDER.headers}
    assert (len(HOLDER.headers), "x-gate" in HOLDER.headers, HOLDER.headers.get("x")) == (1, True, None)
    assert copy.deepcopy(HOLDER) == HOLDER != attrs.evolve(HOLDER, headers={"x-gate": "other"})
    assert HOLDER.headers != ["x-gate"]
    assert len({HOLDER.headers, copy.copy(HOLDER.headers)}) == 1


def test_pickled_headers_have_names_only_and_a_lookup_is_an_error() -> None:
    label = pickle.loads(pickle.dumps(HOLDER.headers))
    assert [*label] == ["x-gate"]
    assert label == pickle.loads(pickle.dumps(HOLDER.headers))
    with pytest.raises(ConfigError, match="the value of x-gate was pickled"):
        label["x-gate"]
