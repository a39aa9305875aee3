"""Requests that a broker keeps: one process submits them, another collects the replies.

A process submits an order. The broker is killed, and started again on the same folder. Then
another process, which knows the order's id alone, collects the reply. The broker in a shell:

    zmqkit run majordomo-durable --name example-keeper --set journal.path=requests

Prints:

    submitted order-17
    the broker was killed, and started again
    order-17: 3 tea are on their way
"""

import logging
import subprocess
import sys
import tempfile
import threading

import zmqkit

BROKER = "example-keeper"
NAME = "example-shop"

service = zmqkit.Service(NAME, via=BROKER)


@service.handler(idempotent=True)  # so it may run once more if its answer is lost on the way
def ship(item: str, quantity: int) -> str:
    return f"{quantity} {item} are on their way"


def broker(folder: str) -> "subprocess.Popen[str]":
    """Start a broker, which ends with its standard input."""
    return subprocess.Popen(
        [
            sys.executable, "-m", "zmqkit", "run", "majordomo-durable", "--name", BROKER,
            "--set", f"journal.path={folder}", "--until-eof",
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def submit() -> str:
    """Submit an order, and return its id. The order is on the broker's disk by then."""
    with zmqkit.Client(NAME, timeout_s=20, wait_s=20) as client:
        return client.options(id="order-17").submit("ship", "tea", quantity=3).id


def collect(order: str) -> None:
    """Print the reply to an order. The broker keeps it for a day."""
    with zmqkit.Client(NAME, timeout_s=20, wait_s=20) as client:
        print(f"{order}: {client.collect(order)}")


def main() -> None:
    # That a service has no broker for some seconds is a warning, and it is meant here.
    logging.getLogger("zmqkit").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, service:
        serving = threading.Thread(target=service.serve)
        serving.start()
        first = broker(folder)
        order = submit()
        print("submitted", order)
        first.kill()
        first.communicate()
        second = broker(folder)
        print("the broker was killed, and started again", flush=True)
        subprocess.run([sys.executable, __file__, order], check=True)
        service.stop()
        serving.join()
        second.communicate()


if __name__ == "__main__":
    if sys.argv[1:]:
        collect(sys.argv[1])
    else:
        main()
