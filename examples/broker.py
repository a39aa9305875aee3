"""A Majordomo broker: one address for clients and services, neither of which knows the other.

The service listens nowhere. It registers with the broker, which it finds by its name; the
client finds the service by its name, and is none the wiser. A call that nobody serves yet
waits at the broker. The same in a shell:

    zmqkit run majordomo --name example-majordomo
    zmqkit serve math --via example-majordomo
    zmqkit call math sqrt 2

Prints:

    2 tea cost 5.0
    the client talks to the broker: True
    the service listens: False
"""

import subprocess
import sys
import threading

import zmqkit

BROKER = "example-majordomo"

service = zmqkit.Service("example-kiosk", via=BROKER)


@service.handler(idempotent=True)
def price(item: str, quantity: int = 1) -> float:
    return {"tea": 2.5, "coffee": 3.0}[item] * quantity


def main() -> None:
    broker = subprocess.Popen(
        [sys.executable, "-m", "zmqkit", "run", "majordomo", "--name", BROKER, "--until-eof"],
        stdin=subprocess.PIPE,  # its end ends the broker
        stdout=subprocess.PIPE,
        text=True,
    )
    assert broker.stdout is not None
    # majordomo 'example-majordomo' at tcp://127.0.0.1:41777, …
    address = broker.stdout.readline().split(" at ")[1].split(",")[0]
    with service:
        thread = threading.Thread(target=service.serve)
        thread.start()
        with zmqkit.Client("example-kiosk") as client:
            print("2 tea cost", client.call("price", "tea", quantity=2))
            [instance] = client.instances()
            print("the client talks to the broker:", instance["address"] == address)
            print("the service listens:", service.endpoint != "")
        service.stop()
        thread.join()
    broker.communicate()


if __name__ == "__main__":
    main()
