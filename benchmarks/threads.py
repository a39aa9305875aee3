"""Calls per second of one blocking client shared by eight threads, against the same with one.

Both sides are ours: the same client and service, first used by one thread, then by all.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import figures
import paired
from figures import Message
from paired import BODY, Parent, echo_server

WARM_UP_S = 0.3


def ours_client(parent: Parent, config: Message) -> None:
    import zmqkit

    with zmqkit.Client(config["address"]) as client:
        client.ready()
        rate(client, config["threads"], WARM_UP_S)
        parent.result(value=rate(client, config["threads"], config["seconds"]))


def rate(client: Any, thread_count: int, seconds: float) -> float:
    """Calls per second of `thread_count` threads that each call one after the other."""
    counts: list[int] = []
    start = threading.Barrier(thread_count + 1)
    stopped = threading.Event()

    def caller() -> None:
        count, call, is_stopped = 0, client.call, stopped.is_set
        start.wait()
        while not is_stopped():
            call("echo", BODY)
            count += 1
        counts.append(count)

    assert client.call("echo", BODY) == BODY
    threads = [threading.Thread(target=caller, daemon=True) for _ in range(thread_count)]
    for thread in threads:
        thread.start()
    start.wait()
    begun = time.perf_counter()
    time.sleep(seconds)
    stopped.set()
    for thread in threads:
        thread.join()
    elapsed_s = time.perf_counter() - begun
    if len(counts) != thread_count:
        raise SystemExit("a thread's call failed")
    return sum(counts) / elapsed_s


def main() -> None:
    parser = figures.arguments(__doc__)
    parser.add_argument("--threads", type=figures.positive, default=8)
    parser.add_argument("--seconds", type=float, default=1.0, help="per sample; default 1")
    figures.add_pin(parser)
    options = parser.parse_args()

    def sample(threads: int) -> Message:
        return paired.serve_and_call(
            "ours", options.pin, threads=threads, seconds=options.seconds
        )

    caption = f"calls, blocking, {options.threads} threads on one client"
    figures.compare(
        figures.Figure("threads", caption, "calls/s", ">="),
        lambda: sample(options.threads),
        [figures.Reference("one thread", lambda: sample(1), 2.0)],
        options,
    )


PARTS = {"ours_server": echo_server, "ours_client": ours_client}

if __name__ == "__main__":
    paired.run(main, PARTS)
