"""Where discovery does not reach: a client with a URL, and one that is told whom to ask.

ZMQKIT_PEERS is read when a program's first role is made, so it is set before that here.

Prints:

    by URL: hello ada
    by name, from ZMQKIT_PEERS: hello bob
"""

import os
import socket
import threading

import zmqkit

with socket.create_server(("127.0.0.1", 0)) as free:
    ADDRESS = f"127.0.0.1:{free.getsockname()[1]}"
os.environ["ZMQKIT_PEERS"] = ADDRESS

service = zmqkit.Service("example-static", bind=f"tcp://{ADDRESS}")


@service.handler
def greet(name: str) -> str:
    return f"hello {name}"


with service:
    thread = threading.Thread(target=service.serve)
    thread.start()
    with zmqkit.Client(f"tcp://{ADDRESS}/example-static") as client:
        print("by URL:", client.call("greet", "ada"))
    with zmqkit.Client("example-static") as client:
        print("by name, from ZMQKIT_PEERS:", client.call("greet", "bob"))
    service.stop()
    thread.join()
