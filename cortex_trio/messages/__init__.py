"""The input of a call. Knows no provider and no wire format.

files     media types of files
parts     the parts of a message
message   Message, and short ways to write one
request   Tool and ChatRequest, the value that every dialect encodes
size      how many tokens messages take, estimated

`intake` reads the other forms in which callers may write messages.
"""

from .message import Message, Messages, Role, assistant, system, tool, user
from .parts import (
    Detail,
    Document,
    File,
    Image,
    Opaque,
    Part,
    Phase,
    Reasoning,
    Text,
    ToolCall,
    ToolKind,
    ToolResult,
)
from .request import ChatRequest, Tool

__all__ = [
    "ChatRequest",
    "Detail",
    "Document",
    "File",
    "Image",
    "Message",
    "Messages",
    "Opaque",
    "Part",
    "Phase",
    "Reasoning",
    "Role",
    "Text",
    "Tool",
    "ToolCall",
    "ToolKind",
    "ToolResult",
    "assistant",
    "system",
    "tool",
    "user",
]
