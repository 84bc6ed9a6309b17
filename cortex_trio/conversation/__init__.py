"""Agents: tools that are run, and a history that stays valid. Uses a gateway through its public methods only.

events      what `run_tools` reports while it runs
toolbox     the tools of a conversation: runs one call, and returns its result
tool_loop   run_tools: asks and runs tools until there is an answer
history     what a new turn adds to a history, and what of a history is sent; pure
saved       messages as JSON, and back
chat        Conversation
"""

from .chat import Conversation
from .events import RoundEnded, RoundStarted, ToolEnded, ToolStarted
from .tool_loop import run_tools

__all__ = ["Conversation", "RoundEnded", "RoundStarted", "ToolEnded", "ToolStarted", "run_tools"]
