"""A model calls functions of the program, and the first worker fails between two rounds.

`run_tools` asks, runs the tools that are called side by side, and sends their results back, until there is an answer.
Each round is a call of its own, so another worker can go on where the first one failed. What the simulated model says
is scripted; it runs in memory: no API keys, no network.
"""

import trio

from cortex_trio import ToolCall, ToolEnded, open_cortex, run_tools
from cortex_trio.simulator import Behaviour, open_simulator


async def get_weather(city: str, days: int = 1) -> str:
    """Return the weather of a city.

    Args:
        city: The name of the city, in English.
        days: How many days.
    """
    if city == "Atlantis":
        raise LookupError("there is no city Atlantis")
    await trio.sleep(0.1)  # an async function may wait; the other calls run meanwhile
    return f"{city}: sun for {days} day"


def show(event: object) -> None:
    if isinstance(event, ToolEnded):
        outcome = "failed" if event.result.is_error else "returned"
        print(f"{event.tool_call.name}({event.tool_call.arguments}) {outcome}: {event.result.content}")


async def main() -> None:
    calls = [
        ToolCall("call_1", "get_weather", '{"city": "Paris"}'),
        ToolCall("call_2", "get_weather", '{"city": "Atlantis"}'),
    ]
    async with open_simulator() as simulator:
        simulator.add("openai", Behaviour(text="", tool_calls=calls), Behaviour(status=503))
        simulator.add("anthropic", Behaviour(text="Paris has sun. Atlantis is not a city I know."))

        async with open_cortex(simulator.config(), http_transport=simulator.transport) as cortex:
            question = "How is the weather in Paris and Atlantis?"
            reply = await run_tools(cortex, question, [get_weather], on_event=show)

    print(reply.text)
    print("The rounds were answered by", " and ".join(each.reply.worker for each in reply.rounds))


if __name__ == "__main__":
    trio.run(main)
