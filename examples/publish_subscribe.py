"""Two publishers of a name and a subscriber to some of their topics: the name is all they know.

Prints:

    kitchen.celsius 21.5
    kitchen.lux 300
    hall.celsius 18.0
    none is missing
"""

import zmqkit

NAME = "example-weather"

with (
    zmqkit.Publisher(NAME) as ground_floor,
    zmqkit.Publisher(NAME) as first_floor,
    zmqkit.Subscriber(NAME, topics=["kitchen.", "hall."]) as subscriber,
):
    for publisher in (ground_floor, first_floor):
        assert publisher.ready(1, timeout_s=20) == 1

    ground_floor.publish("cellar.celsius", 12.0)  # nobody asked for it, so nobody is sent it
    with ground_floor.batch() as batch:
        batch.publish("kitchen.celsius", 21.5)
        batch.publish("kitchen.lux", 300)
    for _ in range(2):
        message = subscriber.receive(timeout_s=20)
        print(message.topic, message.body)

    first_floor.publish("hall.celsius", 18.0)
    message = subscriber.receive(timeout_s=20)
    print(message.topic, message.body)
    print("none is missing" if not subscriber.stats()["missing"] else "some are missing")
