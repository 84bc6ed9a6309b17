"""A rate limiter: two permits per second, granted in the order of the requests.

Run it: python examples/rate_limiter.py
"""

from collections import deque

import trio
from trio.testing import MockClock

from cortex_trio.otp import Child, Deferred, GenServer, Ref, Supervisor, open_tree


class Limiter(GenServer):
    """At most `number` permits in any `seconds`. A caller waits for its permit, but the server does not."""

    def __init__(self, number: int, seconds: float) -> None:
        self.free, self.seconds = number, seconds
        self.waiting: deque[Deferred[None]] = deque()

    async def permit(self) -> Deferred[None]:
        answer: Deferred[None] = Deferred()
        self.waiting.append(answer)
        self.continue_with(self.hand_out)
        return answer

    async def handle_info(self, message: object) -> None:
        self.free += 1
        await self.hand_out()

    async def hand_out(self) -> None:
        while self.free and self.waiting:
            answer = self.waiting.popleft()
            if not answer.abandoned:  # its caller may have been cancelled
                answer.reply(None)
                self.free -= 1
                self.send_after(self.seconds, "a permit is free again")


async def request(limiter: Ref[Limiter], number: int, patience: float) -> None:
    with trio.move_on_after(patience) as scope:
        await limiter.call(Limiter.permit)
    print(f"{trio.current_time():.1f} s: request {number} {'gave up' if scope.cancelled_caught else 'runs'}")


async def main() -> None:
    limiter: Ref[Limiter] = Ref("limiter")
    async with open_tree(Supervisor([Child(ref=limiter, start=lambda: Limiter(2, seconds=1))])):
        async with trio.open_nursery() as nursery:
            for number, patience in enumerate([9, 9, 9, 0.5, 9, 9], start=1):
                nursery.start_soon(request, limiter, number, patience)
                await trio.sleep(0.1)


trio.run(main, clock=MockClock(autojump_threshold=0))  # in virtual time, so that it takes no real time
