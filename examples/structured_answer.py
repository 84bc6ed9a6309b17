"""An answer is a value of a class, also if the first worker breaks off and the second one makes a mistake.

`response_type` sends the JSON Schema of the class in the form that each provider wants. An answer that does not fit is
asked for once more, with what was wrong. Runs on simulated providers in memory: no API keys, no network.
"""

from typing import Literal

import attrs
import trio

from cortex_trio import open_cortex
from cortex_trio.simulator import Behaviour, open_simulator


@attrs.frozen
class Item:
    name: str
    count: int = 1


@attrs.frozen
class Order:
    """An order of a customer."""

    items: list[Item]
    shipping: Literal["standard", "express"] = "standard"


CUT = '{"items": [{"name": "tea", "cou'
WRONG = '{"items": [{"name": "tea", "count": "two"}], "shipping": "fast"}'
RIGHT = '{"items": [{"name": "tea", "count": 2}, {"name": "cup"}], "shipping": "express"}'


async def main() -> None:
    async with open_simulator() as simulator:
        simulator.add("openai", Behaviour(text=CUT, cut_after=5))  # then its stream ends
        simulator.add("anthropic", Behaviour(text=WRONG), Behaviour(text=RIGHT))

        async with open_cortex(simulator.config(), http_transport=simulator.transport) as cortex:
            answer = await cortex.complete("Two teas and a cup, fast please.", response_type=Order)

    for item in answer.value.items:
        print(f"{item.count} x {item.name}")
    print(f"shipping: {answer.value.shipping}")
    print(f"answered by {answer.reply.worker}, in {len(answer.reply.rounds)} rounds")


if __name__ == "__main__":
    trio.run(main)
