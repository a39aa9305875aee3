"""A program that runs a role until a signal; `test_run.py` starts it, and is told what happens.

python running.py KIND NAME [DRAIN_S]
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection

import zmqkit
import zmqkit.asyncio

KIND, NAME = sys.argv[1:3]
DRAIN_S = float(sys.argv[3]) if sys.argv[3:] else 10.0


def say(word: str) -> None:
    print(word, flush=True)


def hold(value: object = None) -> object:
    """Return once the test has written a line."""
    say("holding")
    sys.stdin.readline()
    return value


async def hold_async(value: object = None) -> object:
    say("holding")
    try:
        await asyncio.to_thread(sys.stdin.readline)
    except asyncio.CancelledError:
        say("cancelled")
        raise
    return value


async def wait_for_ever() -> None:
    say("holding")
    await asyncio.Event().wait()


def hang() -> None:
    say("holding")
    threading.Event().wait()


def rest(begun: Connection) -> None:
    begun.send("begun")
    while True:
        threading.Event().wait(0.05)


def fork() -> int:
    """Have a child wait for a signal, end it, and return its exit code."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=rest, args=[theirs])
    child.start()
    ours.recv()  # Python forgets the signals that come while it forks
    child.terminate()
    child.join()
    assert child.exitcode is not None
    return child.exitcode


def blocking_service(concurrency: int = 1) -> int:
    service = zmqkit.Service(NAME, concurrency=concurrency)
    for handler in (hold, hang, fork):
        service.handler(handler)
    threading.Timer(0, say_when_ready, [service]).start()
    return service.run(drain_s=DRAIN_S)


def say_when_ready(role: zmqkit.Service | zmqkit.Worker) -> None:
    while not role.endpoint:
        threading.Event().wait(0.001)
    say("ready")


def blocking_worker() -> int:
    worker = zmqkit.Worker(NAME)
    worker.task(hold)
    threading.Timer(0, say_when_ready, [worker]).start()
    return worker.run(drain_s=DRAIN_S)


async def asyncio_service() -> int:
    service = zmqkit.asyncio.Service(NAME)
    service.handler(hold_async, name="hold")
    service.handler(wait_for_ever)
    service.handler(hang, thread=True)
    service.handler(hang, name="hang_on_loop")
    asyncio.get_running_loop().call_soon(say, "ready")
    try:
        return await service.run(drain_s=DRAIN_S)
    finally:
        say("finally")


async def signalled_elsewhere() -> int:
    """The signal comes to another thread, which does not wake the loop."""
    service = zmqkit.asyncio.Service(NAME)
    service.handler(hold_async, name="hold")

    def send() -> None:
        while not service.endpoint:
            threading.Event().wait(0.001)
        threading.Event().wait(0.1)  # the loop very likely rests by then
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    threading.Timer(0, send).start()
    asyncio.get_running_loop().call_soon(say, "ready")
    return await service.run(drain_s=DRAIN_S)


async def asyncio_worker() -> int:
    worker = zmqkit.asyncio.Worker(NAME)
    worker.task(hold_async)
    asyncio.get_running_loop().call_soon(say, "ready")
    return await worker.run(drain_s=DRAIN_S)


async def two() -> int:
    """Two roles end at one signal."""
    service = zmqkit.asyncio.Service(NAME)
    service.handler(hold_async, name="hold")
    worker = zmqkit.asyncio.Worker(NAME)
    worker.task(hold_async)
    running = asyncio.gather(service.run(), worker.run())
    asyncio.get_running_loop().call_soon(say, "ready")
    return max(await running)


def main() -> int:
    kinds = {
        "service": blocking_service,
        "pool": lambda: blocking_service(2),
        "worker": blocking_worker,
        "asyncio-service": lambda: asyncio.run(asyncio_service()),
        "asyncio-worker": lambda: asyncio.run(asyncio_worker()),
        "elsewhere": lambda: asyncio.run(signalled_elsewhere()),
        "two": lambda: asyncio.run(two()),
    }
    code = kinds[KIND]()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    say(f"code {code} of {os.getpid()}")
    return code


if __name__ == "__main__":
    sys.exit(main())
