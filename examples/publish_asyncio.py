"""A publisher that waits for its slowest subscriber, and one that wants the latest alone.

Prints:

    the patient one read 5000 messages, none missing
    the hurried one read the latest: 4999
    together came [0, 1, 2]
"""

import asyncio

from zmqkit.asyncio import Publisher, Subscriber

NAME = "example-ticks"
COUNT = 5000


async def main() -> None:
    async with (
        Publisher(NAME, policy="block") as publisher,
        Subscriber(NAME) as patient,
        Subscriber(NAME, latest=True) as hurried,
    ):
        await publisher.ready(2, timeout_s=20)

        async def publish() -> None:
            for number in range(COUNT):
                await publisher.publish("tick", number)  # one turn of the loop is one packet

        publishing = asyncio.create_task(publish())
        read = 0
        async for message in patient:
            read += 1
            if message.body == COUNT - 1:
                break
        await publishing
        missing = patient.stats()["missing"] or "none"
        print("the patient one read", read, "messages,", missing, "missing")

        async for message in hurried:
            if message.body == COUNT - 1:
                print("the hurried one read the latest:", message.body)
                break

        async with publisher.batch() as batch:  # leaves as a whole, at the end of the block
            for number in range(3):
                await batch.publish("tock", number)
        messages = [await patient.receive(timeout_s=20) for _ in range(3)]
        print("together came", [message.body for message in messages])


asyncio.run(main())
