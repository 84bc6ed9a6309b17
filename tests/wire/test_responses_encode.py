"""What a Responses request looks like: what the caller set under the wire's names, and a history item by item."""

import json
from typing import Any

import attrs
import pytest

from cortex_trio.failures import InvalidRequest
from cortex_trio.messages import (
    ChatRequest,
    Document,
    Image,
    Message,
    Opaque,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    assistant,
    system,
    user,
)
from cortex_trio.providers import PROVIDERS
from cortex_trio.wire.codec import Unsupported
from cortex_trio.wire.responses.dialect import Responses
from cortex_trio.wire.strict_schema import strict_schema

KIND = PROVIDERS["openai_responses"]
OURS = "openai_responses/m"
PIXEL = Image(data=b"\x89PNG", media_type="image/png")
PIXEL_PART = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw=="}
WEATHER = Tool("weather", "Tells it", {"type": "object", "properties": {"city": {"type": "string"}}})
CALL = ToolCall("c1", "weather", '{"city":"Rome"}')
CALL_ITEM = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city":"Rome"}'}


def body(
    *messages: Message, model: str = "m", provider: str = "openai_responses", **options: Any
) -> dict[str, Any]:
    request = ChatRequest(messages=messages or (user("Hi"),), **options)
    found: dict[str, Any] = json.loads(
        PROVIDERS[provider].dialect.encode(request, provider, model).body or b""
    )
    return found


def items(*messages: Message) -> list[Any]:
    found: list[Any] = body(*messages)["input"]
    return found


# ------------------------------------------------------------------ options


def test_a_plain_request_asks_for_nothing_but_encrypted_reasoning_and_to_be_forgotten() -> None:
    assert body() == {
        "model": "m",
        "input": [{"role": "user", "content": "Hi"}],
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "stream": True,
    }
    assert "stream" not in body(stream=False)


def test_every_option_has_its_name() -> None:
    schema = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    said = body(
        max_tokens=100, temperature=0.5, top_p=0.9, reasoning="low", tools=(WEATHER,), response_schema=schema
    )
    assert {name: said[name] for name in ("max_output_tokens", "temperature", "top_p", "reasoning")} == {
        "max_output_tokens": 100,
        "temperature": 0.5,
        "top_p": 0.9,
        "reasoning": {"effort": "low"},
    }
    assert said["text"] == {
        "format": {"type": "json_schema", "name": "response", "schema": schema, "strict": True}
    }


@pytest.mark.parametrize(("strict", "sent"), [(None, False), (False, False), (True, True)])
def test_a_tool_is_flat_and_never_strict_by_silence(strict: bool | None, sent: bool) -> None:
    [tool] = body(tools=(attrs.evolve(WEATHER, strict=strict),))["tools"]
    assert tool == {
        "type": "function",
        "name": "weather",
        "description": "Tells it",
        "parameters": strict_schema(WEATHER.parameters or {}) if sent else WEATHER.parameters,
        "strict": sent,
    }


def test_a_tool_without_description_or_parameters_is_legal() -> None:
    [tool] = body(tools=(Tool("now", "", {}),))["tools"]
    assert "description" not in tool
    assert tool["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ("weather", {"type": "function", "name": "weather"}),
    ],
)
def test_a_tool_choice(choice: str, sent: object) -> None:
    assert body(tools=(WEATHER,), tool_choice=choice)["tool_choice"] == sent


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-4.1", "gpt-3.5-turbo", "ft:gpt-4o:acme::1"])
def test_a_model_that_does_not_think_is_not_asked_for_its_thoughts(model: str) -> None:
    assert "include" not in body(model=model)
    assert "include" in body(model=model, provider="xai_responses")


def test_a_summary_is_asked_for_where_the_dialect_is_set_to() -> None:
    dialect = Responses(beside=PROVIDERS["openai"].dialect, summary="auto")
    http = dialect.encode(ChatRequest(messages=(user("Hi"),), reasoning="high"), "p", "m")
    assert json.loads(http.body or b"")["reasoning"] == {"effort": "high", "summary": "auto"}


@pytest.mark.parametrize(
    ("provider", "options", "what"),
    [
        ("openai_responses", {"stop": ("END",)}, "stop sequences"),
        ("openai_responses", {"reasoning": 2048}, "reasoning as a token budget"),
        ("openai_responses", {"max_tokens": 15}, "max_tokens=15"),
        ("xai_responses", {"reasoning": "minimal"}, "reasoning='minimal'"),
    ],
)
def test_what_it_does_not_support_is_refused_by_name(
    provider: str, options: dict[str, Any], what: str
) -> None:
    with pytest.raises(Unsupported, match=what):
        body(provider=provider, **options)


def test_extra_body_wins() -> None:
    said = body(extra_body={"store": True, "previous_response_id": "resp_1", "include": []})
    assert (said["store"], said["previous_response_id"], said["include"]) == (True, "resp_1", [])


# ------------------------------------------------------------------ who says what


def test_leading_system_messages_are_instructions_and_later_ones_stay_where_they_are() -> None:
    said = body(system("Be brief."), system("Be kind."), user("Hi"), system("Hurry."), user("Well?"))
    assert said["instructions"] == "Be brief.\n\nBe kind."
    assert [item["role"] for item in said["input"]] == ["user", "system", "user"]


def test_a_system_message_that_is_all_there_is_is_input() -> None:
    said = body(system("Say hello."))
    assert "instructions" not in said
    assert said["input"] == [{"role": "system", "content": "Say hello."}]


def test_images_and_documents_of_a_user() -> None:
    far = Image(url="https://example.org/cat.png")
    [item] = items(user("Look", PIXEL, far, Document("A text.", "A title")))
    assert item["content"] == [
        {"type": "input_text", "text": "Look"},
        {"detail": "auto", **PIXEL_PART},
        {"type": "input_image", "detail": "auto", "image_url": "https://example.org/cat.png"},
        {"type": "input_text", "text": "A title\n\nA text."},
    ]


def test_calls_and_results_are_items_that_name_each_other() -> None:
    history = (
        user("Hi"),
        assistant("One moment.", CALL),
        Message("tool", (ToolResult("c1", "Sunny"),)),
    )
    assert items(*history)[1:] == [
        {"role": "assistant", "content": "One moment."},
        CALL_ITEM,
        {"type": "function_call_output", "call_id": "c1", "output": "Sunny"},
    ]


def test_a_result_may_hold_images_and_be_an_error() -> None:
    shown = ToolResult("c1", (Text("Seen."), PIXEL), is_error=True)
    plain = ToolResult("c1", "No.", is_error=True)
    seen = [{"type": "input_text", "text": "Error: "}, {"type": "input_text", "text": "Seen."}, PIXEL_PART]
    for result, output in ((shown, seen), (plain, "Error: No."), (ToolResult("c1", ()), "")):
        *_, item = items(user("Hi"), assistant(CALL), Message("tool", (result,)))
        assert item["output"] == output


def test_a_user_message_may_hold_text_before_and_after_a_result() -> None:
    said = Message("user", (Text("Here:"), ToolResult("c1", "Sunny"), Text("Now go on.")))
    _, _, *sent = items(user("Hi"), assistant(CALL), said)
    kinds = [item.get("type") or item["content"][0]["text"] for item in sent]
    assert kinds == ["Here:", "function_call_output", "Now go on."]


def test_ids_of_other_wires_become_legal_and_stay_paired() -> None:
    call = ToolCall("x" * 65, "weather", "")
    _, sent, result = items(user("Hi"), assistant(call), Message("tool", (ToolResult("x" * 65, "ok"),)))
    assert sent["call_id"] == result["call_id"] == "call_0"
    assert sent["arguments"] == "{}"


def test_an_image_another_model_made_is_shown_by_the_user() -> None:
    roles = [
        item["role"]
        for item in items(user("Draw"), Message("assistant", (Text("Here."), PIXEL)), user("More"))
    ]
    assert roles == ["user", "assistant", "user", "user"]


def test_an_image_of_its_own_goes_back_as_the_item_it_came_in() -> None:
    about = {"type": "image_generation_call", "id": "ig_1", "status": "completed"}
    made = attrs.evolve(PIXEL, signature=json.dumps(about), origin=OURS)
    sent = items(user("Draw"), assistant(made, "Here."), user("More"))
    assert sent[1:3] == [{**about, "result": "iVBORw=="}, {"role": "assistant", "content": "Here."}]
    for other in (attrs.evolve(made, origin="gemini/m"), attrs.evolve(made, origin=None, signature="c2ln")):
        sent = items(user("Draw"), assistant(other, "Here."), user("More"))
        assert [item["role"] for item in sent] == ["user", "assistant", "user", "user"]
        assert sent[2]["content"][-1] == {"detail": "auto", **PIXEL_PART}


@pytest.mark.parametrize(
    "message",
    [
        Message("tool", "no result"),
        Message("tool", ()),
        Message("system", (PIXEL,)),
        Message("user", (CALL,)),
        Message("assistant", (ToolResult("c1", "said by the model"),)),
    ],
)
def test_what_a_role_cannot_hold_is_refused(message: Message) -> None:
    with pytest.raises(Unsupported):
        body(message, user("Hi"))


# ------------------------------------------------------------------ reasoning, and what only the server understands


def reasoning(
    text: str, encrypted: str | None = "E", id: str | None = "rs_1", origin: str | None = OURS
) -> Reasoning:
    return Reasoning(text, id, encrypted, origin)


def item(*texts: str, id: str = "rs_1", encrypted: str = "E") -> dict[str, Any]:
    summary = [{"type": "summary_text", "text": text} for text in texts]
    return {"type": "reasoning", "id": id, "summary": summary, "encrypted_content": encrypted}


def test_reasoning_goes_back_with_its_id_before_what_it_led_to() -> None:
    history = user("Hi"), assistant(reasoning("Hm."), CALL), Message("tool", (ToolResult("c1", "ok"),))
    assert items(*history)[1:3] == [item("Hm."), CALL_ITEM]


def test_the_parts_of_a_summary_go_back_as_the_parts_of_one_item() -> None:
    parts = reasoning("First.", None), reasoning("\n\nSecond."), reasoning("Third.", "F", "rs_2")
    assert items(assistant(*parts, "So."))[:-1] == [
        item("First.", "Second."),
        item("Third.", id="rs_2", encrypted="F"),
    ]


def test_reasoning_that_was_not_shown_goes_back_without_a_summary() -> None:
    assert items(assistant(reasoning(""), "So."))[0] == item()


@pytest.mark.parametrize(
    "parts",
    [
        (reasoning("Hm.", origin="openai/m"), "So."),
        (reasoning("Hm.", origin="openai_responses/another"), "So."),
        (reasoning("Hm.", origin="xai_responses/m"), "So."),
        (reasoning("Hm.", encrypted=None), "So."),  # cut before it was sealed
        (Reasoning("Hm."), "So."),
        ("So.", reasoning("Hm.")),  # it led to nothing
    ],
    ids=["another API", "another model", "another provider", "unsealed", "of the caller's", "led to nothing"],
)
def test_reasoning_that_would_be_refused_stays_here(parts: tuple[Any, ...]) -> None:
    assert items(assistant(*parts)) == [{"role": "assistant", "content": "So."}]


SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "completed"}


def test_what_the_server_did_itself_goes_back_to_its_model_alone() -> None:
    search = Opaque("web_search_call", json.dumps(SEARCH), OURS)
    assert items(assistant(reasoning("Hm."), search, "So."))[:2] == [item("Hm."), SEARCH]
    elsewhere = attrs.evolve(search, origin="openai_responses/another")
    assert items(assistant(elsewhere, "So.")) == [{"role": "assistant", "content": "So."}]


def test_a_caller_may_answer_a_tool_only_the_server_knows() -> None:
    answer = Opaque("custom_tool_call_output", '{"call_id":"c9","output":"ok"}')
    [sent] = items(Message("tool", (answer,)))
    assert sent == {"type": "custom_tool_call_output", "call_id": "c9", "output": "ok"}


def test_an_opaque_part_that_is_no_object_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no JSON object"):
        items(assistant(Opaque("web_search_call", "[]")))
