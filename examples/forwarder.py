"""A forwarder: one place between many publishers and many subscribers of a name.

The publishers find it by the name. This subscriber is given its address and hears them through
the forwarder alone, as it would in another network. The same in a shell:

    zmqkit run forwarder --name example-forwarder --set frontend.bind=tcp://127.0.0.1:5556
    zmqkit sub tcp://127.0.0.1:5556/example-forwarder

Prints:

    kitchen 21.5 from kitchen
    cellar 12.0 from cellar
    2 subscribers are told of at each publisher
"""

import subprocess
import sys

import zmqkit

NAME = "example-forwarder"


def forwarder() -> "tuple[subprocess.Popen[str], str]":
    """Start a forwarder; return it and its address. It ends with its standard input."""
    process = subprocess.Popen(
        [sys.executable, "-m", "zmqkit", "run", "forwarder", "--name", NAME, "--until-eof"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()  # forwarder of 'example-forwarder' at tcp://…, …
    return process, line.partition(" at ")[2].partition(",")[0]


def main() -> None:
    running, address = forwarder()
    url = f"{address}/{NAME}"
    with (
        zmqkit.Publisher(NAME) as kitchen,
        zmqkit.Publisher(NAME) as cellar,
        zmqkit.Subscriber(url) as subscriber,
        zmqkit.Subscriber(url, topics=["attic"]) as other,
    ):
        names = {}
        for name, publisher, value in (("kitchen", kitchen, 21.5), ("cellar", cellar, 12.0)):
            publisher.ready(2, timeout_s=8)  # both subscribers are behind the forwarder
            names[f"{publisher.incarnation:016x}"[:8]] = name
            publisher.publish(name, value)
            message = subscriber.receive(timeout_s=8)
            assert message is not None
            print(message.topic, message.body, "from", names[message.publisher[-8:]])
        count = kitchen.stats()["subscribers"]
        print(count, "subscribers are told of at each publisher")
        assert other.stats()["received"] == 0
    running.communicate()


if __name__ == "__main__":
    main()
