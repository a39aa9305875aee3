"""Late subscribers get the last value of each topic; one that missed messages gets them later.

Prints:

    joined late: kitchen 21.5, hall 18.0
    then: kitchen 22.0
    cleared: hall
    all of kitchen that is kept: 20.0 21.5 22.0
    missing: 0
"""

import zmqkit

NAME = "example-last-value"

with zmqkit.Publisher(NAME, history=zmqkit.History(messages=100, age_s=3600)) as publisher:
    publisher.publish("kitchen", 20.0)
    publisher.publish("kitchen", 21.5)
    publisher.publish("hall", 18.0)

    with zmqkit.Subscriber(NAME, history=1, recover=True) as subscriber:
        last = [subscriber.receive(timeout_s=20) for _ in range(2)]
        assert all(message.recovered for message in last)  # they come from the history
        print("joined late:", ", ".join(f"{each.topic} {each.body}" for each in last))

        publisher.publish("kitchen", 22.0)
        message = subscriber.receive(timeout_s=20)
        print("then:", message.topic, message.body)

        publisher.clear("hall")  # nobody who comes later gets a value of it
        message = subscriber.receive(timeout_s=20)
        assert message.cleared and message.body is None
        print("cleared:", message.topic)
        missing = subscriber.stats()["missing"]  # what was lost and is not kept any more

    with zmqkit.Subscriber(NAME, topics=["kitchen"], history=100) as subscriber:
        bodies = [str(subscriber.receive(timeout_s=20).body) for _ in range(3)]
        print("all of kitchen that is kept:", *bodies)
    print("missing:", missing)
