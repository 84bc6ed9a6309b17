"""What an answer of generateContent holds goes back with the next request: signatures on their parts, the token."""

import json
from typing import Any

import attrs
import pytest

from cortex_trio.events import Finished, FinishReason, ReasoningSeal, ReplyBuilder, TextDelta, WholePart
from cortex_trio.messages import ChatRequest, Message, Reasoning, Text, ToolResult, assistant, tool, user
from cortex_trio.simulator.request import identity_of
from cortex_trio.wire.gemini.dialect import Gemini
from cortex_trio.wire.gemini.parse import StreamForm
from cortex_trio.wire.gemini.render import GeminiRenderer, render_reply
from cortex_trio.wire.gemini.server import GeminiServer
from cortex_trio.wire.server import Operation, ParsedRequest, ReceivedRequest

MODEL = "gemini-3.8-flash"
ORIGIN = f"gemini/{MODEL}"
DIALECT = Gemini()

Json = dict[str, Any]


def answered(*responses: Json, stream: bool = False) -> Message:
    built = ReplyBuilder(ORIGIN)
    if stream:
        decoder = DIALECT.decoder()
        for response in responses:
            built.add_all(decoder.feed(f"data: {json.dumps(response)}\r\n\r\n".encode()))
        built.add_all(decoder.finish())
    else:
        built.add_all(DIALECT.decode_reply(json.dumps([*responses]).encode()))
    assert built.finish is not None
    return built.message()


def said(*parts: Json, reason: str | None = "STOP", **fields: Any) -> Json:
    candidate = {"content": {"parts": parts, "role": "model"}, "index": 0, **fields}
    return {"candidates": [{**candidate, "finishReason": reason} if reason else candidate]}


def sent(*messages: Message, model: str = MODEL, provider: str = "gemini") -> Json:
    """The body, which the server side accepts and reads as it was sent."""
    request = ChatRequest(messages=messages)
    http = DIALECT.encode(request, provider, model)
    body: Json = json.loads(http.body or b"")
    received = ReceivedRequest(
        method="POST",
        path="/v1beta" + http.path.partition("?")[0],
        query={"alt": "sse"},
        headers={"x-goog-api-key": "k"},
        body=body,
        identity=identity_of(1),
    )
    again = GeminiServer().chat_request(received, origin=f"{provider}/{model}")
    assert json.loads(DIALECT.encode(again, provider, model).body or b"") == body
    return body


# ------------------------------------------------------------------ signatures

PARTS: list[Json] = [
    {"text": "I think.", "thought": True, "thoughtSignature": "VGhvdWdodA=="},
    {"text": "Here is one", "thoughtSignature": "VGV4dA=="},
    {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}, "thoughtSignature": "SW1hZ2U="},
    {"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "Q29kZQ=="},
    {"functionCall": {"id": "call_9", "name": "f", "args": {"a": 1}}, "thoughtSignature": "Q2FsbA=="},
]


@pytest.mark.parametrize("stream", [True, False])
def test_a_signature_goes_back_on_the_part_it_came_on(stream: bool) -> None:
    message = answered(said(*PARTS), stream=stream)
    contents = sent(user("Hi"), message, tool(ToolResult("call_9", "ok")))["contents"]
    assert contents[1]["parts"] == PARTS


def test_pieces_of_a_text_are_joined_but_not_with_a_signed_one() -> None:
    message = answered(
        said({"text": "It "}, reason=None),
        said({"text": "rains "}, reason=None),
        said({"text": "now", "thoughtSignature": "QQ=="}, reason=None),
        said({"text": "."}),
        stream=True,
    )
    assert message.text == "It rains now."
    assert sent(user("Hi"), message, user("Sure?"))["contents"][1]["parts"] == [
        {"text": "It rains "},
        {"text": "now", "thoughtSignature": "QQ=="},
        {"text": "."},
    ]


def test_a_signature_on_an_empty_text_goes_back_on_an_empty_text() -> None:
    message = answered(said({"text": "Rain"}, reason=None), said({"text": "", "thoughtSignature": "QQ=="}))
    assert message.parts == (Text("Rain"), Reasoning("", "QQ==", origin=ORIGIN))
    assert sent(user("Hi"), message, user("Sure?"))["contents"][1]["parts"] == [
        {"text": "Rain"},
        {"text": "", "thoughtSignature": "QQ=="},
    ]


def test_another_model_and_another_provider_get_the_parts_without_signatures() -> None:
    message = answered(said(*PARTS[1:4]))
    for model, provider in ((MODEL, "proxy"), ("gemini-2.5-flash", "gemini")):
        body = sent(user("Hi"), message, user("Sure?"), model=model, provider=provider)
        assert "thoughtSignature" not in json.dumps(body)
        assert body["contents"][1]["parts"][0] == {"text": "Here is one"}


def test_events_of_signed_texts() -> None:
    signed = {"text": "Rain", "thoughtSignature": "QQ=="}
    thought = {"text": "hm", "thought": True, "thoughtSignature": "Qg=="}
    events = DIALECT.decode_reply(json.dumps(said(thought, signed)).encode())
    assert events[1:] == [
        ReasoningSeal("Qg=="),
        TextDelta("Rain", "QQ=="),
        Finished(FinishReason.STOP, "STOP"),
    ]


# ------------------------------------------------------------------ an answer that paused


def paused(text: str, token: str) -> Message:
    return answered(said({"text": text}, reason="CONTINUATION", continuationToken=token))


def test_a_paused_answer_goes_on_as_the_same_request_with_its_token() -> None:
    body = sent(user("Count"), paused("One, ", "dG9r"))
    assert body["continuationToken"] == "dG9r"
    assert body["contents"] == [{"role": "user", "parts": [{"text": "Count"}]}]


def test_after_two_pauses_the_last_token_stands_for_the_whole_answer() -> None:
    body = sent(user("Count"), paused("One, ", "b25l"), paused("two, ", "dHdv"))
    assert (body["continuationToken"], len(body["contents"])) == ("dHdv", 1)


def test_a_token_is_out_of_date_when_another_message_follows() -> None:
    body = sent(user("Count"), paused("One, ", "dG9r"), assistant("two."), user("Thanks"))
    assert "continuationToken" not in body
    assert [content["role"] for content in body["contents"]] == ["user", "model", "model", "user"]


@pytest.mark.parametrize(("model", "provider"), [(MODEL, "proxy"), ("gemini-2.5-flash", "gemini")])
def test_another_model_goes_on_from_the_text_and_gets_no_token(model: str, provider: str) -> None:
    body = sent(user("Count"), paused("One, ", "dG9r"), model=model, provider=provider)
    assert "continuationToken" not in body
    assert body["contents"][1]["parts"] == [{"text": "One, "}]


@pytest.mark.parametrize("stream", [True, False])
def test_the_server_side_renders_a_pause_with_its_token(stream: bool) -> None:
    request = ParsedRequest(
        operation=Operation.CHAT,
        identity=identity_of(1),
        model=MODEL,
        stream=stream,
        form=StreamForm(sse=True),
    )
    message = paused("One, ", "dG9r")
    if stream:
        [_, token] = message.parts
        renderer = GeminiRenderer(request)
        events = (TextDelta("One, "), WholePart(token), Finished(FinishReason.PAUSE))  # type: ignore[arg-type]
        frames = [frame for event in events for frame in renderer.render(event)]
        decoder = DIALECT.decoder()
        heard = [*decoder.feed(b"".join(frame.data for frame in frames)), *decoder.finish()]
    else:
        reply = ReplyBuilder(ORIGIN).reply(worker="w", provider="gemini", model=MODEL, attempts=())
        reply = attrs.evolve(reply, message=message, finish_reason=FinishReason.PAUSE)
        heard = DIALECT.decode_reply(render_reply(request, reply))
    built = ReplyBuilder(ORIGIN)
    built.add_all(heard)
    assert (built.message(), built.finish) == (message, Finished(FinishReason.PAUSE, "CONTINUATION"))
