"""Every chat request that was recorded, field by field: parsed by the server side, it is encoded as it was sent."""

import json
from pathlib import Path
from typing import Any

import pytest
from conversation import Model
from recorded_requests import CANONICAL, with_whole_images

from cortex_trio.messages import ChatRequest
from cortex_trio.providers import PROVIDERS
from cortex_trio.simulator.servers import SERVERS
from cortex_trio.wire.codec import HttpRequest

FOLDERS = {
    "openai": "openai",
    "xai": "xai",
    "groq": "groq",
    "extras": "openai_compatible",
    "anthropic": "anthropic",
    "gemini": "gemini",
    "cohere": "cohere",
    "ollama": "ollama",
}
"""Whose dialect the requests in a folder are in."""

NOT_OURS = {
    "openai_compat_error_400_prompt_too_long": "Ollama's other dialect, chat completions",
    "openai_compat_error_401": "Ollama's other dialect, chat completions",
    "count_tokens": "counts tokens, asks nothing",
    "error_404_model_removed": "Cohere's version 1",
    "error_403_not_allowed_to_sample": "legacy completions",
    "error_400_empty_messages": "has no messages: such a request is refused before it is encoded",
    "embed_nomic": "embeddings",
    "batch_embed_contents": "embeddings",
    "v2_embed_2026": "embeddings",
    "embeddings_dimensions": "embeddings",
    "embeddings_float": "embeddings",
}
"""Recorded bodies that are no chat request in one of the six dialects."""


def is_chat(name: str, body: Any) -> bool:
    noted_only = not isinstance(body, dict) or "_note" in body  # the body itself was not recorded
    return not noted_only and name not in NOT_OURS


def test_every_recorded_chat_request_is_what_we_would_have_sent(shared_dir: Path) -> None:
    """In one test, for the recordings are found at run time; the message names each request that differs."""
    compared, wrong = 0, []
    for folder, provider in FOLDERS.items():
        for meta_file in sorted((shared_dir / "wire/recordings" / folder).glob("*.meta.json")):
            name = meta_file.name.removesuffix(".meta.json")
            body = json.loads(meta_file.read_text()).get("request_body")
            if not is_chat(name, body):
                continue
            compared += 1
            spoken = f"{provider}_responses" if "input" in body else provider
            if complaint := difference(spoken, with_whole_images(body)):
                wrong.append(f"{folder}/{name}: {complaint}")
    assert not wrong, "\n".join(wrong)
    assert compared > 95


def difference(provider: str, recorded: dict[str, Any]) -> str:
    """The fields that differ; empty for none."""
    dialect, model = PROVIDERS[provider].dialect, recorded.get("model", "m")
    http = dialect.encode(read(Model(provider, model), recorded), provider, model)
    sent, wanted = (CANONICAL[dialect.name](body) for body in (json.loads(http.body or b""), recorded))
    names = sorted(name for name in sent.keys() | wanted.keys() if sent.get(name) != wanted.get(name))
    return "; ".join(f"{name} is {sent.get(name)!r:.600}, was {wanted.get(name)!r:.600}" for name in names)


def read(model: Model, body: dict[str, Any]) -> ChatRequest:
    """A body as the server side of its dialect reads it."""
    path = model.encode(ChatRequest(messages=(), stream=bool(body.get("stream")))).path
    request = model.received(HttpRequest("POST", path, json.dumps(body).encode()))
    return SERVERS[model.name].dialect_for(request).chat_request(request.received())


@pytest.mark.parametrize("name", sorted(NOT_OURS))
def test_what_is_left_out_is_there_to_be_left_out(shared_dir: Path, name: str) -> None:
    assert list((shared_dir / "wire/recordings").glob(f"*/{name}.meta.json"))
