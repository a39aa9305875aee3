"""Many calls at once on an event loop, to handlers of three kinds.

Prints:

    squares [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]
    a hundred naps of 50 ms took less than half of their five seconds: True
    a slow one, off the loop: done
"""

import asyncio
import time

from zmqkit.asyncio import Client, Service

service = Service("example-concurrent")


@service.handler
def square(number: int) -> int:
    """A quick one runs on the loop as it is."""
    return number * number


@service.handler
async def nap(duration_s: float) -> None:
    """One that waits lets the others run."""
    await asyncio.sleep(duration_s)


@service.handler(thread=True)
def grind() -> str:
    """A slow one that does not wait for anything goes to a thread."""
    sum(range(1_000_000))
    return "done"


async def main() -> None:
    async with service, Client("example-concurrent") as client:
        await service.start()
        calls = (client.call("square", number) for number in range(10))
        print("squares", await asyncio.gather(*calls))
        begun_at = time.monotonic()
        await asyncio.gather(*(client.call("nap", 0.05) for _ in range(100)))
        quick = time.monotonic() - begun_at < 2.5
        print("a hundred naps of 50 ms took less than half of their five seconds:", quick)
        print("a slow one, off the loop:", await client.call("grind"))


asyncio.run(main())
