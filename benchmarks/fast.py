"""What the extra `fast` brings to asyncio roles: calls with it, against the same without it.

`--extra` takes uvloop or msgspec alone. `--body` chooses 100 bytes or a record of six fields.
What is measured is calls per second with 200 in flight or, with `--latency`, the median time of
one call at a time.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

import call_asyncio
import calls_window
import figures
import paired
from figures import Message, Reference
from paired import BODY, Parent

RECORD = {
    "id": 4711, "item": "tea", "price": 2.5, "quantity": 3, "at": "2026-11-24T10:15:00Z",
    "paid": True,
}  # fmt: skip
BODIES: dict[str, Any] = {"bytes": BODY, "record": RECORD}
WINDOW = 200


def run(work: Coroutine[Any, Any, None], config: Message) -> None:
    """Run this on the loop that the side has."""
    if "uvloop" in config["having"]:
        import uvloop

        uvloop.run(work)
    else:
        asyncio.run(work)


def choose_codec(config: Message) -> None:
    """Have msgspec look as if it were not installed where the side has none."""
    if "msgspec" not in config["having"]:
        sys.modules["msgspec.msgpack"] = None  # type: ignore[assignment]  # ImportError


def server(parent: Parent, config: Message) -> None:
    choose_codec(config)
    import zmqkit.asyncio

    async def serve() -> None:
        async with zmqkit.asyncio.Service(config["name"]) as service:

            @service.handler
            def echo(body: object) -> object:
                return body

            parent.on_end = service.stop
            parent.send(address=service.name)
            await service.serve()

    run(serve(), config)


def client(parent: Parent, config: Message) -> None:
    choose_codec(config)
    import zmqkit.asyncio

    body = BODIES[config["body"]]

    async def measure() -> None:
        async with zmqkit.asyncio.Client(config["address"]) as client:
            await client.ready()
            if config["latency"]:
                call = client.call
                found = await call_asyncio.latency(lambda: call("echo", body), 4000, body)
                parent.result(**found)
                return
            await calls_window.our_rate(client, WINDOW, calls_window.WARM_UP_S, body)
            rate = await calls_window.our_rate(client, WINDOW, config["seconds"], body)
            parent.result(value=rate)

    run(measure(), config)


def main() -> None:
    parser = figures.arguments(__doc__)
    parser.add_argument("--extra", choices=["uvloop", "msgspec", "both"], default="both")
    parser.add_argument("--body", choices=list(BODIES), default="bytes")
    parser.add_argument("--latency", action="store_true", help="one call at a time")
    parser.add_argument("--seconds", type=float, default=1.0, help="per sample; default 1")
    figures.add_pin(parser, "apart")
    options = parser.parse_args()
    parts = ["uvloop", "msgspec"] if options.extra == "both" else [options.extra]

    def sample(having: list[str]) -> Message:
        with paired.Family(options.pin) as family:
            config: Message = {
                "having": having,
                "body": options.body,
                "latency": options.latency,
                "seconds": options.seconds,
            }
            name = paired.unique_name()
            address = family.start("server", name=name, **config).receive()["address"]
            return family.start("client", address=address, **config).receive()

    caption = f"{'call, p50' if options.latency else f'calls, {WINDOW} in flight'}, asyncio"
    figure = figures.Figure(
        "fast",
        f"{caption}, {options.body}, with {' and '.join(parts)}",
        "µs" if options.latency else "calls/s",
        "<=" if options.latency else ">=",
    )
    without = Reference("without", lambda: sample([]))
    figures.compare(figure, lambda: sample(parts), [without], options)


if __name__ == "__main__":
    paired.run(main, {"server": server, "client": client})
