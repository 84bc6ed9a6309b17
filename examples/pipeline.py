"""A pipeline of three tasks with bounded channels between them. Each task is a child that is restarted if it crashes.

Run it: python examples/pipeline.py
"""

import logging

import trio

from cortex_trio.otp import AutoShutdown, Child, Ref, Restart, Supervisor, Task, run

LINES = ("1", "2", "three", "4", "5")


async def read(lines: trio.MemorySendChannel[str]) -> None:
    async with lines:
        for line in LINES:
            await lines.send(line)  # waits while the channel is full


async def square(lines: trio.MemoryReceiveChannel[str], numbers: trio.MemorySendChannel[int]) -> None:
    async for line in lines:
        await numbers.send(int(line) ** 2)  # "three" crashes this step; only that line is lost
    await numbers.aclose()


async def write(numbers: trio.MemoryReceiveChannel[int]) -> None:
    async for number in numbers:
        print(number)


async def main() -> None:
    logging.getLogger("cortex_trio.otp").setLevel(logging.CRITICAL)  # the crash below is intended
    # The channels and their contents must survive a crash of a step, so they are made outside of it.
    lines_in, lines_out = trio.open_memory_channel[str](2)
    numbers_in, numbers_out = trio.open_memory_channel[int](2)
    steps = {
        "write": lambda: Task(write, numbers_out),
        "square": lambda: Task(square, lines_out, numbers_in),
        "read": lambda: Task(read, lines_in),
    }
    children = [
        Child(ref=Ref(name), start=start, restart=Restart.TRANSIENT, significant=True)
        for name, start in steps.items()
    ]
    with lines_in, lines_out, numbers_in, numbers_out:
        await run(Supervisor(children, auto_shutdown=AutoShutdown.ALL_SIGNIFICANT))
    print("all steps are done")


trio.run(main)
