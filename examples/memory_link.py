"""The same roles inside one process: no socket, no discovery, for tests and small programs.

Prints:

    3
"""

import threading

import zmqkit

service = zmqkit.Service("adder", bind="memory://adder")


@service.handler
def add(a: int, b: int) -> int:
    return a + b


with service:
    thread = threading.Thread(target=service.serve)
    thread.start()
    with zmqkit.Client("memory://adder") as client:
        print(client.call("add", 1, 2))
    service.stop()
    thread.join()
