"""Other queues that keep their tasks on a disk: their servers, pushers and workers as parts.

A server is a process of its own on a free port, with its files in the folder of the sample; its
configuration has the disk written before anything is acknowledged. RabbitMQ is the one that
runs on this machine already, as its nodes need more than a folder.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from calls_window import WARM_UP_S
from figures import Message
from paired import BODY, Parent

HOST = "127.0.0.1"
RABBIT_PORT = 5672
STARTED_S = 10.0
CONNECT_S = 0.5
LOOK_S = 0.001
"""How often a pusher looks whether all tasks are done."""


# What is there.


NEEDS = {
    "redis": ("redis", "redis-server"),
    "huey": ("huey", ""),
    "rabbit": ("pika", ""),
    "nats": ("nats", "nats-server"),
}
"""The package of each side, and the server that is started."""


def missing(side: str) -> str:
    """Say what a side lacks on this machine; nothing when it can run."""
    package, server = NEEDS[side]
    if not importlib.util.find_spec(package):
        return f"the package {package} is not installed"
    if server and not shutil.which(server):
        return f"there is no {server}"
    if side == "rabbit" and not listens(RABBIT_PORT):
        return f"nobody listens on port {RABBIT_PORT}"
    return ""


def listens(port: int) -> bool:
    """Whether a server of this machine takes connections on the port."""
    with suppress(OSError), socket.create_connection((HOST, port), CONNECT_S):
        return True
    return False


# Servers.


def run_server(parent: Parent, port: int, command: list[str]) -> None:
    """Run a server until the parent ends this part."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        parent.on_end = server.terminate
        until = time.monotonic() + STARTED_S
        while not listens(port):
            if server.poll() is not None or time.monotonic() > until:
                server.kill()
                raise SystemExit(f"{command[0]} does not listen on port {port}")
            time.sleep(0.02)
        parent.send(port=port)


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        port: int = taken.getsockname()[1]
        return port


def redis_server(parent: Parent, config: Message) -> None:
    port = free_port()
    settings = f"--bind {HOST} --port {port} --appendonly yes --appendfsync always --save"
    run_server(parent, port, ["redis-server", *settings.split(), "", "--dir", config["folder"]])


def nats_server(parent: Parent, config: Message) -> None:
    port, file = free_port(), Path(config["folder"], "nats.conf")
    store = f"{{ store_dir: {json.dumps(config['folder'])}, sync_interval: always }}"
    file.write_text(f'listen: "{HOST}:{port}"\njetstream {store}\n')
    log = str(Path(config["folder"], "log"))
    run_server(parent, port, ["nats-server", "-c", str(file), "-l", log])


# Pushers.


def measure(
    parent: Parent, config: Message, push_for: Callable[[float], int], left: Callable[[], int]
) -> None:
    """Hand over the rates of a pusher that pushes for so many seconds and returns how many.

    left: how many tasks are not done yet; they are waited for where there are workers.
    """

    def rates(seconds: float) -> Message:
        begun = time.perf_counter()
        count = push_for(seconds)
        pushed_s = time.perf_counter() - begun
        while config["workers"] and left():
            time.sleep(LOOK_S)
        return {"value": count / pushed_s, "done": count / (time.perf_counter() - begun)}

    rates(WARM_UP_S)
    parent.result(**rates(config["seconds"]))


def redis_pusher(parent: Parent, config: Message) -> None:
    import redis

    client, stream, window = redis.Redis(HOST, config["port"]), config["name"], config["window"]

    def push_for(seconds: float) -> int:
        until, count = time.perf_counter() + seconds, 0
        while time.perf_counter() < until:
            pipeline = client.pipeline(transaction=False)
            for _ in range(window):
                pipeline.xadd(stream, {"body": BODY})
            count += len(pipeline.execute())
        return count

    measure(parent, config, push_for, lambda: client.xlen(stream))


def huey_tasks(config: Message) -> tuple[Any, Callable[[bytes], object]]:
    """Huey on a file of the folder, and what pushes a task."""
    import huey

    queue = huey.SqliteHuey(
        config["name"], filename=str(Path(config["folder"], "huey")), fsync=True, results=False
    )

    @queue.task(name="work")  # type: ignore[untyped-decorator]
    def work(body: bytes) -> bytes:
        return body

    return queue, work


def huey_pusher(parent: Parent, config: Message) -> None:
    queue, push = huey_tasks(config)

    def push_for(seconds: float) -> int:
        until, count = time.perf_counter() + seconds, 0
        while time.perf_counter() < until:
            push(BODY)
            count += 1
        return count

    measure(parent, config, push_for, queue.pending_count)


def nats_pusher(parent: Parent, config: Message) -> None:
    import nats

    async def push() -> None:
        client = await nats.connect(f"nats://{HOST}:{config['port']}")
        stream = client.jetstream()
        await stream.add_stream(name=config["name"], subjects=[config["name"]])

        async def rate(seconds: float) -> float:
            begun = time.perf_counter()
            until = begun + seconds

            async def loop() -> int:
                count = 0
                while time.perf_counter() < until:
                    await stream.publish(config["name"], BODY)
                    count += 1
                return count

            counts = await asyncio.gather(*(loop() for _ in range(config["window"])))
            return sum(counts) / (time.perf_counter() - begun)

        await rate(WARM_UP_S)
        parent.result(value=await rate(config["seconds"]))
        await client.close()

    asyncio.run(push())


class Confirmed:
    """Keeps a window of persistent messages unconfirmed on a channel of RabbitMQ."""

    def __init__(self, name: str, window: int) -> None:
        self.channel: Any = None
        self._name = name
        self._window = window
        self._unconfirmed: set[int] = set()
        self._tag = 0
        self._until = 0.0
        self._over: asyncio.Future[None] | None = None

    async def rate(self, seconds: float) -> float:
        """Messages per second that were confirmed."""
        begun, first = time.perf_counter(), self._tag
        self._until = begun + seconds
        self._over = asyncio.get_running_loop().create_future()
        self._publish()
        await self._over
        return (self._tag - first) / (time.perf_counter() - begun)

    def confirmed(self, frame: Any) -> None:
        """Take a confirmation, which is of one message or of all up to it."""
        assert self._over is not None
        tag = frame.method.delivery_tag
        if frame.method.NAME != "Basic.Ack":
            self._over.set_exception(RuntimeError("a message was not confirmed"))
        elif frame.method.multiple:
            self._unconfirmed = {each for each in self._unconfirmed if each > tag}
        else:
            self._unconfirmed.discard(tag)
        self._publish()
        if not (self._unconfirmed or self._over.done()):
            self._over.set_result(None)

    def _publish(self) -> None:
        import pika

        properties = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
        while len(self._unconfirmed) < self._window and time.perf_counter() < self._until:
            self.channel.basic_publish("", self._name, BODY, properties)
            self._tag += 1
            self._unconfirmed.add(self._tag)


def rabbit_pusher(parent: Parent, config: Message) -> None:
    import pika
    from pika.adapters.asyncio_connection import AsyncioConnection

    async def push() -> None:
        async def called(call: Callable[..., object], **values: object) -> Any:
            """Wait for the callback of a call, and return what it got."""
            heard = asyncio.get_running_loop().create_future()
            call(**values, **{names[call]: heard.set_result})
            return await heard

        opened = asyncio.get_running_loop().create_future()
        connection = AsyncioConnection(
            pika.ConnectionParameters(HOST, RABBIT_PORT),
            on_open_callback=opened.set_result,
            on_open_error_callback=lambda _, error: opened.set_exception(error),
        )
        await opened
        names = {connection.channel: "on_open_callback"}
        messages = Confirmed(config["name"], config["window"])
        channel = messages.channel = await called(connection.channel)
        names |= dict.fromkeys(
            (channel.queue_declare, channel.confirm_delivery, channel.queue_delete), "callback"
        )
        quorum = {"x-queue-type": "quorum"}
        await called(
            channel.queue_declare, queue=config["name"], durable=True, arguments=quorum
        )
        try:
            await called(channel.confirm_delivery, ack_nack_callback=messages.confirmed)
            await messages.rate(WARM_UP_S)
            value = await messages.rate(config["seconds"])
        finally:
            await called(channel.queue_delete, queue=config["name"])
        parent.result(value=value)
        connection.close()

    asyncio.run(push())


# Workers.


def redis_worker(parent: Parent, config: Message) -> None:
    import redis

    client, stream = redis.Redis(HOST, config["port"]), config["name"]
    with suppress(redis.ResponseError):  # another worker has made the group
        client.xgroup_create(stream, "workers", id="0", mkstream=True)
    parent.send(ready=True)
    while True:  # until the parent ends this process
        read = client.xreadgroup(
            "workers", config["name"], {stream: ">"}, count=config["window"], block=1000
        )
        for _, entries in read:
            ids = [id for id, _ in entries]
            pipeline = client.pipeline(transaction=False)
            pipeline.xack(stream, "workers", *ids).xdel(stream, *ids).execute()


def huey_worker(parent: Parent, config: Message) -> None:
    queue, _ = huey_tasks(config)
    consumer = queue.create_consumer(workers=1, periodic=False)
    parent.send(ready=True)
    consumer.run()


PARTS = {
    "redis_server": redis_server,
    "nats_server": nats_server,
    "redis_pusher": redis_pusher,
    "huey_pusher": huey_pusher,
    "nats_pusher": nats_pusher,
    "rabbit_pusher": rabbit_pusher,
    "redis_worker": redis_worker,
    "huey_worker": huey_worker,
}
