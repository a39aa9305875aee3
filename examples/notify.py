"""One-way messages: sent without waiting for a reply, counted once their handlers have run.

Prints:

    heard lamp on
    heard door shut
    done 2 of 2
"""

import threading

import zmqkit

service = zmqkit.Service("example-events")
heard: list[str] = []
complete = threading.Event()


@service.handler
def event(what: str) -> None:
    heard.append(what)
    if len(heard) == 2:
        complete.set()


with service:
    thread = threading.Thread(target=service.serve)
    thread.start()
    client = zmqkit.Client("example-events")
    client.notify("event", "lamp on")
    client.notify("event", "door shut")
    complete.wait(5)
    client.close()
    for what in heard:
        print("heard", what)
    stats = client.stats()
    print("done", stats["delivered"], "of", stats["accepted"])
    service.stop()
    thread.join()
