"""A model for llama.cpp that counts: after a message that ends with a number it says the next ones, otherwise ,1,2,3.

Its answer is known to the last character, so a test sees where it was cut. The weights are made here: attention and
feed-forward are zero, so the last token alone decides which token follows. Its embedding is a random vector of ±1, and
the row of the next number in the output matrix is the same vector, but longer.
"""

import random
import struct
from array import array
from collections.abc import Sequence
from pathlib import Path

NAME = "counting"
LAST = 5_000
"""The number after which an answer ends."""
CONTEXT_TOKENS = 8_192
WIDTH = 64
GAIN = 4.0
"""The logit of the next number is then GAIN x WIDTH, so far above all others that no temperature changes the answer."""

TEMPLATE = """
{%- for tool in tools or [] %}{{ '\\n' + (tool | tojson) }}{% endfor %}
{%- for message in messages %}
{%- if loop.first or message.role != 'user' %}{{ '\\n' }}
{%- if message.reasoning_content %}{{ '<think>' + message.reasoning_content + '</think>' }}{% endif %}
{{- message.content or '' }}
{%- if message.tool_calls %}
{%- set call = message.tool_calls[0].function %}
{{- '<tool_call>' + ({'name': call.name, 'arguments': call.arguments} | tojson) + '</tool_call>' }}
{%- endif %}
{%- endif %}
{%- endfor %}"""
"""The chat template. Nothing follows the last message, and of the user it has the first message only: where a request
to continue follows an answer that broke off, the prompt ends with that answer."""
TOOL_CALL = ("<tool_call>",)
"""A lead for `write`. llama.cpp's grammar of the tools, which begins here, leaves no other choice than a call."""
REASONING = ("<think>", "hm", "</think>")

SPECIAL = {"<unk>": 2, "<s>": 3, "</s>": 3}  # tokens with llama.cpp's number of their type
BYTES = {f"<0x{byte:02X}>": 6 for byte in range(256)}
SYMBOLS = dict.fromkeys(",0123456789", 1)  # of which llama.cpp's tokenizer merges the numbers
NUMBERS = dict.fromkeys((f",{number}" for number in range(1, LAST + 1)), 1)
TYPE_OF_LEAD = 4

U32, I32, F32, STRING, ARRAY = 4, 5, 6, 8, 9  # GGUF's types of a value
ALIGNMENT = 32

ZERO = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


def count(first: int, last: int = LAST) -> str:
    """Return what the model says from one number to another."""
    return "".join(f",{number}" for number in range(first, last + 1))


def is_cut(text: str) -> bool:
    """Whether it is a part of the answer, neither nothing nor all of it."""
    return text not in ("", count(1)) and count(1).startswith(text)


FROM_THE_START = "Count"
"""A question whose answer, `count(1)`, takes the model a second or more."""
NEAR_THE_END = f"Go on from ,{LAST - 10}"
TEN = count(LAST - 9)
"""The answer to NEAR_THE_END."""
TOO_LONG = "9" * (CONTEXT_TOKENS + 100)


def write(path: Path, *lead: str) -> None:
    """Write the model as a file in the format GGUF, version 3.

    Args:
        path: of the file.
        lead: tokens that it says before it counts from 1.
    """
    tokens = {**SPECIAL, **BYTES, **SYMBOLS, **dict.fromkeys(lead, TYPE_OF_LEAD), **NUMBERS}
    names = list(tokens)
    fields = [
        _field("general.architecture", STRING, "llama"),
        _field("general.name", STRING, NAME),
        _field("llama.context_length", U32, CONTEXT_TOKENS),
        _field("llama.embedding_length", U32, WIDTH),
        _field("llama.feed_forward_length", U32, WIDTH),
        _field("llama.block_count", U32, 1),
        _field("llama.attention.head_count", U32, 1),
        _field("llama.attention.layer_norm_rms_epsilon", F32, 1e-6),
        _field("llama.rope.dimension_count", U32, WIDTH),
        _field("tokenizer.ggml.model", STRING, "llama"),
        _array("tokenizer.ggml.tokens", STRING, names),
        _array("tokenizer.ggml.scores", F32, [0.0] * len(names)),
        _array("tokenizer.ggml.token_type", I32, list(tokens.values())),
        _field("tokenizer.ggml.bos_token_id", U32, names.index("<s>")),
        _field("tokenizer.ggml.eos_token_id", U32, names.index("</s>")),
        _field("tokenizer.chat_template", STRING, TEMPLATE),
    ]
    tensors = _tensors(names, [*lead, *NUMBERS])
    described, data = bytearray(), bytearray()
    for name, (shape, values) in tensors.items():
        described += _text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        described += struct.pack("<IQ", 0, len(data))  # 0 is the type of 32-bit floats
        data += _padded(values.tobytes())
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields)) + b"".join(fields) + described
    path.write_bytes(_padded(head) + data)


def _tensors(names: Sequence[str], answer: Sequence[str]) -> dict[str, tuple[Sequence[int], "array[float]"]]:
    embeddings, outputs = _embeddings_and_outputs(names, answer)
    square, ones = array("f", bytes(4 * WIDTH * WIDTH)), array("f", [1.0] * WIDTH)
    table, matrix, vector = (WIDTH, len(names)), (WIDTH, WIDTH), (WIDTH,)
    return {
        "token_embd.weight": (table, embeddings),
        "output.weight": (table, outputs),
        "output_norm.weight": (vector, ones),
        **{f"blk.0.{name}_norm.weight": (vector, ones) for name in ("attn", "ffn")},
        **{f"blk.0.{name}.weight": (matrix, square) for name in ZERO},
    }


def _embeddings_and_outputs(
    names: Sequence[str], answer: Sequence[str]
) -> tuple["array[float]", "array[float]"]:
    chance = random.Random(16)
    start = chance.choices((-1.0, 1.0), k=WIDTH)  # the embedding of all tokens that are not in an answer
    own = {name: chance.choices((-1.0, 1.0), k=WIDTH) for name in answer}
    before = dict(zip([*answer, "</s>"], [start, *own.values()], strict=True))
    nothing = [0.0] * WIDTH
    embeddings, outputs = array("f"), array("f")
    for name in names:
        embeddings.extend(own.get(name, start))
        outputs.extend(GAIN * x for x in before.get(name, nothing))
    return embeddings, outputs


def _field(name: str, kind: int, value: str | float) -> bytes:
    return _text(name) + struct.pack("<I", kind) + _value(kind, value)


def _array(name: str, kind: int, values: Sequence[str | float]) -> bytes:
    head = _text(name) + struct.pack("<IIQ", ARRAY, kind, len(values))
    return head + b"".join(_value(kind, value) for value in values)


def _value(kind: int, value: str | float) -> bytes:
    if isinstance(value, str):
        return _text(value)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f"}[kind], value)


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % ALIGNMENT)
