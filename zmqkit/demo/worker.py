"""A worker of the demo: counts the words of each task until its standard input ends."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from zmqkit.blocking.worker import Worker
from zmqkit.demo.words import count


def main() -> None:
    """Work under the name that the command line gives."""
    with Worker(sys.argv[1]) as worker:
        worker.task(count)
        stop_at_eof(worker.stop)
        print("ready", flush=True)
        worker.work()


def stop_at_eof(stop: Callable[[], None]) -> None:
    """Call `stop` when standard input ends, as it does when the demo dies."""

    def read() -> None:
        sys.stdin.read()
        stop()

    threading.Thread(target=read, daemon=True).start()


if __name__ == "__main__":
    main()
