"""A streamer: one queue between all pushers and workers of a name, which outlives them.

Two pushers are gone before there is a worker. The streamer has their tasks on disk, so it may
be killed and started again, too. The same in a shell:

    zmqkit run streamer-durable --name example-streamer --set journal.path=tasks.journal
    zmqkit push example-streamer cat.png --no-wait

Prints:

    two pushers came and went
    urgent.png is first, then cat.png
"""

import logging
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import zmqkit

NAME = "example-streamer"


def streamer(journal: Path) -> "subprocess.Popen[str]":
    """Start a streamer, and return once it can be found; it ends with its standard input."""
    process = subprocess.Popen(
        [
            sys.executable, "-m", "zmqkit", "run", "streamer-durable", "--name", NAME,
            "--set", f"journal.path={journal}", "--until-eof",
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()  # streamer of 'example-streamer' at tcp://…
    return process


def push(body: str, priority: int) -> None:
    """Push a task as a web request would: it returns once the streamer has it on disk."""
    with zmqkit.Pusher(NAME, durable=True) as pusher:
        pusher.push(body, priority=priority, timeout_s=20)
        pusher.close(0)  # does not wait for the task, which is the streamer's from now on


def work(count: int) -> list[str]:
    """Do so many tasks, and return them in the order in which they came."""
    done: queue.Queue[str] = queue.Queue()
    worker = zmqkit.Worker(NAME)
    worker.task(done.put)
    with worker:
        worker.start()
        working = threading.Thread(target=worker.work)
        working.start()
        came = [done.get(timeout=8) for _ in range(count)]
        worker.stop()
        working.join()
    return came


def main() -> None:
    # That a pusher left a task with the streamer is a warning, and it is meant here.
    logging.getLogger("zmqkit").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder, "tasks.journal")
        running = streamer(journal)
        push("cat.png", priority=4)
        push("urgent.png", priority=9)
        print("two pushers came and went")
        print(" is first, then ".join(work(2)))
        running.communicate()


if __name__ == "__main__":
    main()
