"""A user's program in which a type checker finds nothing."""

from __future__ import annotations

import asyncio
import sys
import time

import zmqkit
import zmqkit.asyncio
from zmqkit.types import ClientInstance, ClientOptions, ClientStats

service = zmqkit.Service("orders")


@service.handler(idempotent=True, replace=True)
def price(item: str, quantity: int = 1) -> float:
    return {"tea": 2.5}[item] * quantity


@service.handler
def version() -> str:
    return zmqkit.__version__


def hurried(client: zmqkit.Client) -> zmqkit.BoundClient:
    """A client with options of its own."""
    options: ClientOptions = {"timeout_s": 0.5, "headers": {"user": "ada"}}
    return client.options(**options).options(priority=9, copy=False)


def total(client: zmqkit.BoundClient) -> float:
    """Values that came from elsewhere are Any: what they are is said where they are used."""
    value: float = client.call("price", "tea", quantity=2)
    return value + sum(client.stream("prices"))


def busiest(client: zmqkit.Client) -> str:
    def load(row: ClientInstance) -> int:
        return row["outstanding"]

    return max(client.instances(), key=load)["address"]


def failures(client: zmqkit.Client) -> int:
    stats: ClientStats = client.stats()
    return stats["failed"] + sum(stats["dropped"].values())


def read(name: str) -> None:
    with zmqkit.Publisher(name, history=1) as publisher, zmqkit.Subscriber(name) as subscriber:
        publisher.publish("celsius", 21.5)
        for message in subscriber:
            print(message.topic.upper(), message.body + 1, message.sequence + 1)
            print(time.time() - message.published_at)
        if subscriber.stats()["missing"]:
            print([row["messages"] or 0 for row in subscriber.lacking()])


def work() -> int:
    worker = zmqkit.Worker("thumbnails", concurrency=4)

    @worker.task(attempts=3)
    def resize(path: str) -> str:
        if zmqkit.current_task().attempt > 1:
            raise zmqkit.Discard("once is enough")
        return path

    return worker.run(drain_s=30, tasks_max=1000)


async def ask() -> int:
    quotes = zmqkit.asyncio.Service("quotes")

    @quotes.handler
    async def quote(item: str) -> float:
        await asyncio.sleep(0)
        return price(item)

    async with zmqkit.asyncio.Client("orders") as client:
        asked = client.options(timeout_s=0.5)
        prices: list[float] = await asyncio.gather(*(asked.call("price", "tea") for _ in "ab"))
        print(sum(prices), client.stats()["retries"] + 1)
    with_results = zmqkit.asyncio.Pusher("thumbnails")
    ticket = await with_results.push({"path": "cat.png"}, priority=9, durable=True)
    print(ticket.id, with_results.stats()["leased"])
    return await quotes.run()


if __name__ == "__main__":
    sys.exit(service.run())
