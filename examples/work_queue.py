"""Tasks for two workers in processes of their own: priorities, further attempts, dead tasks.

One worker is killed. If it was in the middle of a task, the other worker does that.

Prints:

    two workers
    resized cat.png and dog.png
    owl.png needed 2 attempts
    bat.gif has failed: zmqkit.Discard: only png here
    fly.png is dead after 3 attempts: zmqkit.Retry: too small
    slow.png was done by the one that is left: True
    6 accepted, 4 done, 1 failed, 1 dead
"""

import os
import subprocess
import sys
import threading
import time

import zmqkit

NAME = "example-work-queue"


def work() -> None:
    """One worker, until its standard input ends."""
    worker = zmqkit.Worker(NAME)

    @worker.task(attempts=3, backoff_s=0.05)
    def resize(file: str) -> str | int:
        if file.endswith(".gif"):
            raise zmqkit.Discard("only png here")  # no attempt can help
        if file == "fly.png" or (file == "owl.png" and zmqkit.current_task().attempt == 1):
            raise zmqkit.Retry(reason="too small")  # an exception would do; that is logged too
        if file == "slow.png":
            time.sleep(0.5)
            return os.getpid()
        return f"resized {file}"

    def stop_at_eof() -> None:
        sys.stdin.read()
        worker.stop()

    with worker:
        worker.start()
        thread = threading.Thread(target=stop_at_eof)
        thread.start()
        worker.work()
        thread.join()


def main() -> None:
    command = [sys.executable, __file__, "work"]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(2)]
    try:
        with zmqkit.Pusher(NAME) as pusher:
            if pusher.ready(2, timeout_s=20) == 2:
                print("two workers")
            push(pusher)
            lose_a_worker(pusher, processes)
            counts = pusher.stats()
            names = ("accepted", "done", "failed", "dead")
            print(", ".join(f"{counts[name]} {name}" for name in names))
    finally:
        for process in processes:
            process.communicate()


def push(pusher: zmqkit.Pusher) -> None:
    """Push what is done, what needs another attempt, and what nobody can do."""
    cat, dog = pusher.push("cat.png"), pusher.push("dog.png", priority=9)
    print(cat.result(timeout_s=20), "and", dog.result(timeout_s=20).removeprefix("resized "))

    owl, bat, fly = pusher.push_many(["owl.png", "bat.gif", "fly.png"])
    owl.result(timeout_s=20)
    print("owl.png needed", owl.attempts, "attempts")
    try:
        bat.result(timeout_s=20)
    except zmqkit.RemoteError as error:
        print("bat.gif has failed:", error)
    try:
        fly.result(timeout_s=20)
    except zmqkit.RemoteError:
        [dead] = pusher.dead()  # dead.requeue() has it tried again, dead.purge() throws it away
        print("fly.png is", dead.state, "after", dead.attempts, "attempts:", fly.reasons[-1])


def lose_a_worker(pusher: zmqkit.Pusher, processes: list[subprocess.Popen[bytes]]) -> None:
    """Kill a worker while a task is under way, perhaps in its hands."""
    slow = pusher.push("slow.png", id="slow")
    while slow.state != "leased":
        time.sleep(0.01)
    processes[0].kill()
    done_by_other = slow.result(timeout_s=20) == processes[1].pid
    print("slow.png was done by the one that is left:", done_by_other)


if __name__ == "__main__":
    if sys.argv[1:] == ["work"]:
        work()
    else:
        main()
