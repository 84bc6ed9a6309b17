"""Recorded answers of both OpenAI APIs, put back as history: nothing is lost that the server wants back."""

import base64
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from hearing import folded

from cortex_trio.failures import Failure
from cortex_trio.messages import ChatRequest, Message, Text, ToolCall, ToolResult, tool, user
from cortex_trio.providers import PROVIDERS
from cortex_trio.simulator.request import identity_of
from cortex_trio.simulator.servers import SERVERS
from cortex_trio.wire.chat_completions.dialect import ChatCompletions
from cortex_trio.wire.chat_completions.message_fields import LISTS, VALUES
from cortex_trio.wire.codec import Dialect
from cortex_trio.wire.responses.dialect import Responses
from cortex_trio.wire.server import ReceivedRequest

Json = dict[str, Any]

CHAT = ChatCompletions(reasoning_field="reasoning_content")
RESPONSES = PROVIDERS["openai_responses"].dialect


@attrs.frozen
class Answer:
    name: str
    body: bytes
    streamed: bool

    def objects(self) -> Iterator[Json]:
        """The JSON objects of the answer: one if it is whole."""
        if not self.streamed:
            yield json.loads(self.body)
            return
        for line in self.body.decode(errors="replace").splitlines():
            if line.startswith("data:") and line[5:].strip().startswith("{"):
                yield json.loads(line[5:])


@pytest.fixture(scope="module")
def answers(shared_dir: Path) -> Callable[[str], list[Answer]]:
    """The recorded answers of a dialect, as the corpus names it."""
    with gzip.open(shared_dir / "wire" / "corpus" / "answers.jsonl.gz", "rt") as lines:
        corpus = [json.loads(line) for line in lines]

    def of(dialect: str) -> list[Answer]:
        return [
            Answer(f"{at} {each['product']}", base64.b64decode(each["body"]), each["kind"] == "stream")
            for at, each in enumerate(corpus)
            if each["dialect"] == dialect
        ]

    return of


def message_of(dialect: Dialect, answer: Answer, provider: str) -> Message | None:
    """The answer as a message for the history; None for one that failed."""
    if answer.streamed:
        decoder = dialect.decoder()
        events = [*decoder.feed(answer.body), *decoder.finish()]
    else:
        events = dialect.decode_reply(answer.body)
    failed = any(isinstance(event, Failure) for event in events)
    return None if failed else folded(events, f"{provider}/m").message()


def body_with(dialect: Dialect, message: Message, provider: str) -> Json:
    """The request that puts the answer back, its calls answered."""
    results = [ToolResult(part.id, "approve") for part in message.parts if isinstance(part, ToolCall)]
    last = (tool(*results),) if results else (user("Go on."),)
    request = ChatRequest(messages=(user("?"), message, *last))
    return json.loads(dialect.encode(request, provider, "m").body or b"null")


def require_accepted(provider: str, body: Json) -> None:
    """Check the request as strictly as the server does. Raises Rejected."""
    name = PROVIDERS[provider].dialect.name
    server = next(each for each in SERVERS[provider].dialects if each.name == name)
    path = server.base_path + ("/responses" if name == "responses" else "/chat/completions")
    received = ReceivedRequest(
        method="POST",
        path=path,
        query={},
        headers={"authorization": "Bearer k"},
        body=body,
        identity=identity_of(1),
    )
    server.parse(received)


def strings_in(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for each in value.values():
                yield from strings_in(each)
        case list():
            for each in value:
                yield from strings_in(each)


def deltas_of(answer: Answer) -> Iterator[Json]:
    for each in answer.objects():
        for choice in (each.get("choices") or [])[:1]:
            yield choice.get("message") or choice.get("delta") or {}


def test_what_a_server_of_chat_completions_signed_goes_back_as_it_came(
    answers: Callable[[str], list[Answer]],
) -> None:
    seen = set()
    for answer in answers("chat"):
        deltas = [*deltas_of(answer)]
        own = [name for name in (*LISTS, *VALUES) if any(delta.get(name) for delta in deltas)]
        if not own or (message := message_of(CHAT, answer, "openai_compatible")) is None:
            continue
        body = body_with(CHAT, message, "openai_compatible")
        sent = body["messages"][1]
        for name in own:
            seen.add(name)
            if name in VALUES or not answer.streamed:
                assert sent[name] == [delta[name] for delta in deltas if delta.get(name)][-1], answer.name
                continue
            pieces = [block for delta in deltas for block in delta.get(name) or []]
            for field in ("text", "summary", "data", "signature", "id"):
                came = "".join(block.get(field) or "" for block in pieces)
                assert came == "".join(block.get(field) or "" for block in sent[name]), (answer.name, field)
        require_accepted("openai_compatible", body)
    assert seen >= {"reasoning_details", "extra_content", "thought_signature"}


def test_an_answer_of_chat_completions_goes_back_with_text_reasoning_and_calls(
    answers: Callable[[str], list[Answer]],
) -> None:
    count = 0
    for answer in answers("chat"):
        message = message_of(CHAT, answer, "openai_compatible")
        if message is None or not any(isinstance(part, Text | ToolCall) for part in message.parts):
            continue
        count += 1
        body = body_with(CHAT, message, "openai_compatible")
        require_accepted("openai_compatible", body)
        sent = next(each for each in body["messages"] if each["role"] == "assistant")
        reasoning = "".join(getattr(part, "text", "") for part in message.parts if not isinstance(part, Text))
        assert sent["reasoning_content"] == reasoning or (not reasoning and sent["reasoning_content"] == " ")
        calls = [part for part in message.parts if isinstance(part, ToolCall)]
        if all(each["type"] == "function" for each in sent.get("tool_calls", [])) and len(calls) == len(
            sent.get("tool_calls", [])
        ):
            assert (sent["content"] or "") == message.text
            assert [each["function"]["name"] for each in sent.get("tool_calls", [])] == [
                call.name for call in calls
            ]
    assert count > 150


OWN_ITEMS = ("function_call", "custom_tool_call", "reasoning", "message")


def items_of(answer: Answer) -> list[Json]:
    """The output items of an answer, whole. A stream encrypts reasoning anew for its last event, so its ends count."""
    objects = [*answer.objects()]
    ended = [each["item"] for each in objects if each.get("type") == "response.output_item.done"]
    if ended:
        return ended
    for each in reversed(objects):
        response = each if not answer.streamed else each.get("response") or {}
        if response.get("output"):
            return list(response["output"])
    return []


def test_an_answer_of_the_responses_api_goes_back_item_by_item(
    answers: Callable[[str], list[Answer]],
) -> None:
    kinds = set()
    for answer in answers("responses"):
        message = message_of(RESPONSES, answer, "openai_responses")
        if message is None:
            continue
        body = body_with(RESPONSES, message, "openai_responses")
        require_accepted("openai_responses", body)
        sent = [item for item in body["input"][1:-1] if item.get("role") != "user"]
        came = [
            item
            for item in items_of(answer)
            if (item["type"] != "reasoning" or item.get("encrypted_content"))
            and (item["type"] != "message" or any(strings_in([part.get("text") for part in item["content"]])))
        ]
        while came and came[-1]["type"] == "reasoning":
            came.pop()  # the API refuses reasoning without the item it led to
        kinds |= {item["type"] for item in came}
        for item in came:
            match item["type"]:
                case "function_call" if item.get("status") == "incomplete":  # cut: it goes back as text
                    assert any(item["arguments"] in each for each in strings_in(sent)), answer.name
                case "function_call" | "custom_tool_call":
                    twin = next(each for each in sent if each.get("call_id") == item["call_id"])
                    own = {"name", "arguments", "input", "namespace", "caller"} & item.keys()
                    wanted = {name: item[name] for name in own if item[name]}
                    assert {name: twin.get(name) for name in wanted} == wanted, answer.name
                case "reasoning":
                    twin = next(each for each in sent if each.get("id") == item["id"])
                    assert twin["encrypted_content"] == item["encrypted_content"], answer.name
                case "message":
                    texts = [each for each in sent if each.get("role") == "assistant"]
                    assert item.get("phase") in [each.get("phase") for each in texts], answer.name
                case "image_generation_call":
                    assert item["id"] in [each.get("id") for each in sent], answer.name
                case _:
                    assert item in [{**each} for each in sent], answer.name
    assert kinds >= {"function_call", "reasoning", "message", "mcp_approval_request", "apply_patch_call"}


def test_the_signature_of_a_message_of_gemini_goes_back_with_its_call(shared_dir: Path) -> None:
    body = (shared_dir / "wire" / "cases" / "15_gemini_openai_compat_thought_signature.json").read_bytes()
    message = message_of(CHAT, Answer("15", body, streamed=False), "openai_compatible")
    assert message is not None
    own = json.loads(body)["choices"][0]["message"]["extra_content"]
    sent = body_with(CHAT, message, "openai_compatible")["messages"][1]
    assert sent["extra_content"] == sent["tool_calls"][0]["extra_content"] == own
    elsewhere = ChatRequest(messages=(user("?"), message, tool(ToolResult(message.parts[0].id, "1"))))  # type: ignore[union-attr]
    for name in ("openai", "groq", "openai_compatible"):
        assert b"thought_signature" not in (
            PROVIDERS[name].dialect.encode(elsewhere, name, "other").body or b""
        )


def test_the_namespace_of_a_call_goes_back_to_every_model_of_its_provider(shared_dir: Path) -> None:
    body = (shared_dir / "wire" / "cases" / "19_openai_tool_search_namespace.sse").read_bytes()
    message = message_of(RESPONSES, Answer("19", body, streamed=True), "openai_responses")
    assert message is not None
    calls = [part for part in message.parts if isinstance(part, ToolCall)]
    request = ChatRequest(messages=(user("?"), message, tool(*(ToolResult(call.id, "1") for call in calls))))
    for provider, model, goes_back in (("openai_responses", "other", True), ("xai_responses", "m", False)):
        items = json.loads(PROVIDERS[provider].dialect.encode(request, provider, model).body or b"")["input"]
        found = [item.get("namespace") for item in items if item.get("type") == "function_call"]
        assert any(found) is goes_back


def test_commentary_is_not_the_answer_and_goes_back_with_its_phase() -> None:
    def item(text: str, phase: str) -> Json:
        content = [{"type": "output_text", "text": text, "annotations": []}]
        return {
            "type": "message",
            "id": f"msg_{phase}",
            "role": "assistant",
            "content": content,
            "phase": phase,
        }

    output = [item("I look it up.", "commentary"), item("It rains.", "final_answer")]
    whole = json.dumps({"status": "completed", "output": output}).encode()
    reply = folded(RESPONSES.decode_reply(whole), "openai_responses/m")
    assert reply.text == reply.message().text == "It rains."
    assert [part.phase for part in reply.message().parts if isinstance(part, Text)] == [
        "commentary",
        "final_answer",
    ]
    sent = body_with(RESPONSES, reply.message(), "openai_responses")["input"][1:-1]
    assert [(each["content"], each["phase"]) for each in sent] == [
        ("I look it up.", "commentary"),
        ("It rains.", "final_answer"),
    ]
    elsewhere = body_with(PROVIDERS["xai_responses"].dialect, reply.message(), "xai_responses")["input"][1:-1]
    assert not any("phase" in each for each in elsewhere)


def test_the_result_of_a_call_from_a_program_names_the_program() -> None:
    caller = {"type": "program", "caller_id": "prog_1"}
    call = {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "c",
        "name": "f",
        "arguments": "{}",
        "caller": caller,
    }
    whole = json.dumps({"status": "completed", "output": [call]}).encode()
    message = folded(RESPONSES.decode_reply(whole), "openai_responses/m").message()
    sent = body_with(RESPONSES, message, "openai_responses")["input"]
    assert sent[1]["caller"] == sent[2]["caller"] == caller


def test_a_signature_that_comes_after_its_call_is_kept() -> None:
    def chunk(delta: Json) -> bytes:
        return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"

    named = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    late = {"index": 0, "extra_content": {"google": {"thought_signature": "sig"}}}
    body = chunk({"tool_calls": [named]}) + chunk({"tool_calls": [late]}) + b"data: [DONE]\n\n"
    message = message_of(attrs.evolve(CHAT, finish_optional=True), Answer("late", body, streamed=True), "p")
    assert message is not None
    assert [part.signature for part in message.parts if isinstance(part, ToolCall)] == ["sig"]
    assert isinstance(RESPONSES, Responses)
