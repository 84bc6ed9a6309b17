"""A JSON object keeps its bytes when one value in it is replaced."""

import json

import pytest

from cortex_trio.wire.raw_body import raw_body


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"a"}', b'{"model":"b"}'),
        (
            b'{ "x" : {"model":"a"}, "model" : "a" , "y":[1.0, 2e3]}\n',
            b'{ "x" : {"model":"a"}, "model" : "b" , "y":[1.0, 2e3]}\n',
        ),
        (b'{"m\\u006fdel":"a"}', b'{"m\\u006fdel":"b"}'),
        (b'{"model":null,"model":{"a":"}"}}', b'{"model":"b","model":"b"}'),
        ('{"ü":"\\ud83d\\ude00ü","model":"ä"}'.encode(), '{"ü":"\\ud83d\\ude00ü","model":"b"}'.encode()),
        (b'{"x":1}', b'{"model":"b","x":1}'),
        (b" {} ", b' {"model":"b"} '),
        (b"\xef\xbb\xbf{}", b'{"model":"b"}'),
    ],
)
def test_only_the_value_changes(body: bytes, expected: bytes) -> None:
    found = raw_body(body)
    assert found.value == json.loads(body.decode("utf-8-sig"))
    assert found.with_values({"model": "b"}) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'"x"',
        b"{",
        b'{"a"}',
        b'{"a":}',
        b'{"a":1,}',
        b'{"a":1 "b":2}',
        b"{} {}",
        b'{"a":1}x',
        b"{a:1}",
        b"\xff{}",
        b"{" * 20,
        b'{"a":' + b"[" * 200000,
        b"\xff\xfe{\x00}\x00",
    ],
)
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - JSONDecodeError and UnicodeDecodeError are such errors, too
        raw_body(body)
