"""A conversation with history, a tool and streaming, in which a worker fails in the middle and another one goes on.

The history stays valid for every provider: the call keeps its result, and the answer that broke off was never in it.
`to_json` saves it. Runs on simulated providers in memory: no API keys, no network.
"""

import trio

from cortex_trio import Conversation, ToolCall, open_cortex
from cortex_trio.simulator import Behaviour, open_simulator

CALL = ToolCall("call_1", "add", '{"numbers": [17, 25]}')


def add(numbers: list[int]) -> int:
    """Add numbers."""
    return sum(numbers)


async def main() -> None:
    async with open_simulator() as simulator:
        simulator.add(
            "openai", Behaviour(text="", tool_calls=[CALL]), Behaviour(text="It is 42.", cut_after=2)
        )
        simulator.add("anthropic", Behaviour(text="It is 42."), Behaviour(text="You are welcome."))

        async with open_cortex(simulator.config(), http_transport=simulator.transport) as cortex:
            conversation = Conversation(cortex, system="Be brief.", tools=[add], window=8_000)
            reply = await conversation.ask("What is 17 + 25?")
            print(f"{reply.worker}: {reply.text}")

            async with conversation.stream("Thank you!", worker="anthropic") as answer:
                async for piece in answer.text():
                    print(piece, end="")
            print()

            for message in conversation.messages:
                print(f"  {message.role}: {message.text or type(message.parts[0]).__name__}")
            again = Conversation.from_json(cortex, conversation.to_json(), tools=[add])
            print(f"saved and read: {len(again.messages)} messages, {again.usage.total_tokens} tokens")


if __name__ == "__main__":
    trio.run(main)
