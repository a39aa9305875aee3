"""Each way in which a call can fail, and whether it may have run all the same.

Prints:

    nobody serves that name: NoService, may have run: False
    it has no such method: NoMethod, may have run: False
    the handler raised: RemoteError, may have run: True
    it took too long: CallTimeout, may have run: True
    a set cannot travel: UsageError
"""

import logging
import threading

import zmqkit

# A service logs what its handlers raise, which nobody needs to see here.
logging.getLogger("zmqkit").setLevel(logging.CRITICAL)

service = zmqkit.Service("example-errors")
never = threading.Event()


@service.handler
def divide(a: float, b: float) -> float:
    return a / b


@service.handler
def sleep() -> None:
    never.wait(0.3)


def show(what: str, call: zmqkit.Client, method: str, *args: object) -> None:
    try:
        call.options(timeout_s=0.2, wait_s=0.2).call(method, *args)
    except zmqkit.PeerError as error:
        kind = type(error).__name__
        print(f"{what}: {kind}, may have run: {error.may_have_run}")
    except zmqkit.UsageError as error:
        print(f"{what}: {type(error).__name__}")


with service:
    thread = threading.Thread(target=service.serve)
    thread.start()
    with zmqkit.Client("example-nobody") as client:
        show("nobody serves that name", client, "divide", 1, 2)
    with zmqkit.Client("example-errors") as client:
        client.ready()
        show("it has no such method", client, "multiply", 1, 2)
        show("the handler raised", client, "divide", 1, 0)
        show("it took too long", client, "sleep")
        show("a set cannot travel", client, "divide", {1}, 2)
    service.stop()
    thread.join()
