"""Two instances of a service in processes of their own; one is killed with calls in flight.

The handler is declared idempotent, so the calls that the dead instance held move to the other.

Prints:

    two instances answer
    100 of 100 calls answered, some of them twice tried: True
    one instance answers
"""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import zmqkit

NAME = "example-failover"


def serve() -> None:
    """One instance, until its standard input ends."""
    service = zmqkit.Service(NAME)

    @service.handler(idempotent=True)
    def work(number: int) -> int:
        time.sleep(0.005)
        return number

    def stop_at_eof() -> None:
        sys.stdin.read()
        service.stop()

    with service:
        service.start()
        thread = threading.Thread(target=stop_at_eof)
        thread.start()
        service.serve()
        thread.join()


def main() -> None:
    command = [sys.executable, __file__, "serve"]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(2)]
    try:
        with zmqkit.Client(NAME) as client, ThreadPoolExecutor(20) as pool:
            if client.ready(2, timeout_s=20) == 2:
                print("two instances answer")
            calls = [pool.submit(client.call, "work", number) for number in range(100)]
            calls[30].result()
            processes[0].kill()
            answered = sum(call.result() == number for number, call in enumerate(calls))
            retried = client.stats()["retries"] != 0
            print(f"{answered} of 100 calls answered, some of them twice tried: {retried}")
            if [each["state"] for each in client.instances()].count("up") == 1:
                print("one instance answers")
    finally:
        for process in processes:
            process.communicate()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        main()
