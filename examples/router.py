"""A router: one address in front of services, which it finds as clients do.

Neither side knows of it. The client is given the router's address here; by name alone it would
find the services and the router. The same in a shell:

    zmqkit run router --name example-tea --set frontend.bind=tcp://127.0.0.1:5556
    zmqkit serve math --name example-tea
    zmqkit call tcp://127.0.0.1:5556/example-tea sqrt 2

Prints:

    2 tea cost 5.0
    the service saw the id of the client's call: True
    the client talks to the router: True
"""

import subprocess
import sys
import threading

import zmqkit

NAME = "example-tea"

service = zmqkit.Service(NAME)
seen: list[str] = []


@service.handler(idempotent=True)
def price(item: str, quantity: int = 1) -> float:
    seen.append(zmqkit.current_request().id)
    return {"tea": 2.5, "coffee": 3.0}[item] * quantity


def main() -> None:
    router = subprocess.Popen(
        [sys.executable, "-m", "zmqkit", "run", "router", "--name", NAME, "--until-eof"],
        stdin=subprocess.PIPE,  # its end ends the router
        stdout=subprocess.PIPE,
        text=True,
    )
    assert router.stdout is not None
    # router 'example-tea' at tcp://127.0.0.1:41777, …
    address = router.stdout.readline().split(" at ")[1].split(",")[0]
    with service:
        thread = threading.Thread(target=service.serve)
        thread.start()
        with zmqkit.Client(f"{address}/{NAME}") as client:
            print("2 tea cost", client.call("price", "tea", quantity=2))
            # The last 16 digits of an id are the number of the call at its client.
            print("the service saw the id of the client's call:", int(seen[0][16:], 16) == 1)
            [instance] = client.instances()
            print("the client talks to the router:", instance["address"] == address)
        service.stop()
        thread.join()
    router.communicate()


if __name__ == "__main__":
    main()
