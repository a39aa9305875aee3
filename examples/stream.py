"""A handler that is a generator: its values come one by one, at the pace of whoever reads them.

Prints:

    3 ... 2 ... 1 ... lift-off
    the generator was closed after 3
    RemoteError ValueError: -1 is no number of seconds
"""

import logging
import threading
from collections.abc import Iterator

import zmqkit

# A service logs what its handlers raise, which nobody needs to see here.
logging.getLogger("zmqkit").setLevel(logging.CRITICAL)

service = zmqkit.Service("example-stream")
closed = threading.Event()


@service.handler
def countdown(seconds: int) -> Iterator[object]:
    if seconds < 0:
        raise ValueError(f"{seconds} is no number of seconds")
    try:
        yield from range(seconds, 0, -1)
        yield "lift-off"
    finally:
        closed.set()


with service, zmqkit.Client("example-stream") as client:
    thread = threading.Thread(target=service.serve)
    thread.start()
    print(*client.stream("countdown", 3), sep=" ... ")

    closed.clear()
    with client.stream("countdown", 1_000_000) as values:
        taken = [value for value, _ in zip(values, range(3), strict=False)]
    closed.wait(5)
    print("the generator was closed after", len(taken))

    try:
        next(client.stream("countdown", -1))
    except zmqkit.RemoteError as error:
        print("RemoteError", error)
    service.stop()
    thread.join()
