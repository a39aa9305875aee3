"""A service and a client that know nothing of each other but a name.

Here they are two threads; in two programs on this machine they would be written just so.

Prints:

    2 tea cost 5.0
    0 coffee cost 0.0
"""

import threading

import zmqkit

service = zmqkit.Service("example-orders")


@service.handler
def price(item: str, quantity: int = 1) -> float:
    return {"tea": 2.5, "coffee": 3.0}[item] * quantity


with service:
    thread = threading.Thread(target=service.serve)
    thread.start()
    with zmqkit.Client("example-orders") as client:
        print("2 tea cost", client.call("price", "tea", quantity=2))
        print("0 coffee cost", client.call("price", "coffee", 0))
    service.stop()
    thread.join()
