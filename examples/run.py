"""A program that serves until SIGTERM, finishes what it took, and ends with exit code 0.

Prints:

    asked while it lives, told to end, answered: tea is ready
    exit code 0
"""

import os
import signal
import subprocess
import sys
import time

import zmqkit

NAME = "example-run"


def serve() -> int:
    """The program; whoever runs it, a shell or systemd, ends it by a signal."""
    service = zmqkit.Service(NAME)

    @service.handler
    def brew(item: str) -> str:
        os.kill(os.getpid(), signal.SIGTERM)  # somebody ends the program just now
        time.sleep(0.1)
        return f"{item} is ready"

    return service.run()


def main() -> None:
    program = subprocess.Popen([sys.executable, __file__, "serve"], stderr=subprocess.DEVNULL)
    with zmqkit.Client(NAME, timeout_s=20) as client:
        client.ready(timeout_s=20)
        answer = client.call("brew", "tea")
        print("asked while it lives, told to end, answered:", answer)
    print("exit code", program.wait(20))


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        sys.exit(serve())
    main()
