"""A user's program with mistakes: a type checker finds one in each line marked so."""

from __future__ import annotations

import sys

import zmqkit
import zmqkit.asyncio

service = zmqkit.Service("orders", concurency=2)  # wrong


@service.handler(idempotnt=True)  # wrong
def price(item: str) -> float:
    return {"tea": 2.5}[item]


def hurried(client: zmqkit.Client) -> zmqkit.BoundClient:
    client.options(timeot=1)  # wrong
    client.options(priority="high")  # wrong
    return client.options(timeout_s=0.5).options(atempts=2)  # wrong


def failures(client: zmqkit.Client, pusher: zmqkit.Pusher) -> int:
    count: str = client.stats()["failed"]  # wrong
    pusher.push("cat.png", prioritty=9)  # wrong
    return client.stats()["fialed"] + len(count)  # wrong


def busiest(client: zmqkit.Client) -> str:
    return max(client.instances(), key=lambda row: row["outstandin"])["address"]  # wrong


def read(subscriber: zmqkit.Subscriber) -> None:
    for message in subscriber:
        print(message.topc, message.body)  # wrong
        print(message.published_at.year)  # wrong
    print(subscriber.stats()["mising"])  # wrong
    print(subscriber.publishers()[0]["lable"])  # wrong


async def ask(client: zmqkit.asyncio.Client) -> None:
    await client.options(timeot=1).call("price", "tea")  # wrong
    print(client.stats()["retried"])  # wrong
    with zmqkit.asyncio.Client("orders"):  # wrong
        pass


if __name__ == "__main__":
    sys.exit(service.run(drain=30))  # wrong
