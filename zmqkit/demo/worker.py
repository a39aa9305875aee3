"""A worker of the demo: counts the words of each task until its standard input ends."""

from __future__ import annotations

import sys
import threading

from zmqkit.blocking.worker import Worker
from zmqkit.demo.words import count


def main() -> None:
    """Work under the name that the command line gives."""
    with Worker(sys.argv[1]) as worker:
        worker.task(count)

        def stop_at_eof() -> None:
            # Standard input also ends when the process that started this one dies.
            sys.stdin.read()
            worker.stop()

        threading.Thread(target=stop_at_eof, daemon=True).start()
        print("ready", flush=True)
        worker.work()


if __name__ == "__main__":
    main()
