"""A worker and a client of RFC 7 at our broker, beside a zmqkit client and service.

They know nothing of zmqkit but the broker's address: each is pyzmq and the frames of the RFC,
which any language with ZeroMQ can write. The service `example-shout` is the foreign worker's;
`example-count` is a zmqkit service.

Prints:

    a foreign client at the foreign worker: TEA
    a zmqkit client at the foreign worker: COFFEE
    a foreign client at the zmqkit service: 3
"""

import subprocess
import sys
import threading
import time

import zmq

import zmqkit

BROKER = "example-rfc-majordomo"
READY, REQUEST, REPLY, HEARTBEAT, DISCONNECT = b"\1", b"\2", b"\3", b"\4", b"\5"
BEAT_MS = 2500


def foreign_worker(address: str, name: bytes) -> None:
    """Answer requests to a service in capitals, until the broker says so or is silent."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as broker:
        broker.linger = 0
        broker.connect(address)
        broker.send_multipart([b"", b"MDPW01", READY, name])
        silent = 0
        while silent < 4:
            silent += 1
            if broker.poll(BEAT_MS):
                silent = 0
                _, _, command, *rest = broker.recv_multipart()
                if command == DISCONNECT:
                    break  # one that goes on would connect anew
                if command == REQUEST:
                    client, _, body = rest
                    reply = [client, b"", body.upper()]
                    broker.send_multipart([b"", b"MDPW01", REPLY, *reply])
            else:
                broker.send_multipart([b"", b"MDPW01", HEARTBEAT])


def foreign_call(address: str, name: bytes, body: bytes) -> bytes:
    """Ask a service, and return its reply. All that the RFC has for an error is silence."""
    with zmq.Context() as context, context.socket(zmq.REQ) as broker:
        broker.linger = 0
        broker.connect(address)
        broker.send_multipart([b"MDPC01", name, body])
        if not broker.poll(8000):
            raise TimeoutError(f"{name!r} did not answer")
        _, _, reply = broker.recv_multipart()
        return reply


def wait_for(address: str, name: bytes) -> None:
    """Ask the broker itself, as RFC 8 has it, until a worker of this name has said READY."""
    for _ in range(400):
        if foreign_call(address, b"mmi.service", name) == b"200":
            return
        time.sleep(0.02)
    raise TimeoutError(f"no worker of {name!r}")


service = zmqkit.Service("example-count", via=BROKER)


@service.handler
def mdp(*frames: bytes) -> str:
    """Stands for whatever a client of an RFC asks; its reply is text, sent as UTF-8."""
    return str(sum(map(len, frames)))


def main() -> None:
    broker = subprocess.Popen(
        [sys.executable, "-m", "zmqkit", "run", "majordomo", "--name", BROKER, "--until-eof"],
        stdin=subprocess.PIPE,  # its end ends the broker
        stdout=subprocess.PIPE,
        text=True,
    )
    assert broker.stdout is not None
    # majordomo 'example-rfc-majordomo' at tcp://127.0.0.1:41777, …
    address = broker.stdout.readline().split(" at ")[1].split(",")[0]
    threads = [
        threading.Thread(target=foreign_worker, args=(address, b"example-shout")),
        threading.Thread(target=service.serve),
    ]
    with service, zmqkit.Client("example-shout") as client:
        for thread in threads:
            thread.start()
        for name in (b"example-shout", b"example-count"):
            wait_for(address, name)
        told = foreign_call(address, b"example-shout", b"tea")
        print("a foreign client at the foreign worker:", told.decode())
        told = client.call("mdp", b"coffee")
        print("a zmqkit client at the foreign worker:", told.decode())
        told = foreign_call(address, b"example-count", b"tea")
        print("a foreign client at the zmqkit service:", told.decode())
        service.stop()
        broker.communicate()  # ends it, of which it tells the worker
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
