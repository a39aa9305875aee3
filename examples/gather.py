"""All instances of a name are asked at once; one of them is slow, and one fails.

Prints:

    3 instances were asked
    answered: kitchen, 21.5 °C
    failed: no method 'read'; there are calibrate
    has not answered in time: 1 instance
    the first one alone: kitchen, 21.5 °C
"""

import threading

import zmqkit

NAME = "example-gather"

over = threading.Event()


def kitchen() -> str:
    """Answer at once."""
    return "kitchen, 21.5 °C"


def cellar() -> str:
    """Answer too late."""
    over.wait(20)
    return "cellar, 9.0 °C"


def calibrate() -> None:
    """Be another method than the one that is asked for."""


sensors = [zmqkit.Service(NAME) for _ in range(3)]
sensors[0].handler(kitchen, name="read")
sensors[1].handler(cellar, name="read")
sensors[2].handler(calibrate)
for sensor in sensors:
    sensor.start()
    threading.Thread(target=sensor.serve).start()

with zmqkit.Client(NAME) as client:
    client.ready(3, timeout_s=20)
    answers = client.options(timeout_s=1).gather("read")
    print(len(answers), "instances were asked")
    late = [each for each in answers if isinstance(each.error, zmqkit.CallTimeout)]
    failed = [each for each in answers if isinstance(each.error, zmqkit.NoMethod)]
    [answered] = [each for each in answers if each.error is None]
    print("answered:", answered.value)
    print("failed:", failed[0].error)
    print("has not answered in time:", len(late), "instance")
    print("the first one alone:", client.options(instance=answered.instance).call("read"))

over.set()
for sensor in sensors:
    sensor.close()
