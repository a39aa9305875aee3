"""A reader that is slower than its publisher: what it loses is counted, and it may turn away.

Prints:

    nobody reads: 30000 of 40000 are kept, 10000 dropped
    the oldest there is: 10000
    then 29999 of tick, and tock
    read and missing are all that was published: True
    on_gap was told of all that is missing: True
"""

import time
from collections import Counter

import zmqkit

NAME = "example-slow"
COUNT = 40_000
BURST = 20_000

gaps: list[zmqkit.Gap] = []  # what was lost on the way; what its own queue drops is in stats()
heard: Counter[str] = Counter()


def hear(message: zmqkit.Message) -> None:
    """Count a message; the one that says so is the last to be read."""
    heard[message.topic] += 1
    if message.body == "end":
        subscriber.stop()


with (
    zmqkit.Publisher(NAME) as publisher,
    zmqkit.Subscriber(NAME, topics=["tick"], on_gap=gaps.append) as subscriber,
):
    publisher.ready(1, timeout_s=20)
    with publisher.batch() as batch:
        for number in range(COUNT):
            batch.publish("tick", number)
    while subscriber.stats()["received"] < COUNT:
        time.sleep(0.01)
    stats = subscriber.stats()
    kept, dropped = stats["queued"], stats["dropped"]["full"]
    print(f"nobody reads: {kept} of {COUNT} are kept, {dropped} dropped")
    print("the oldest there is:", subscriber.receive(timeout_s=20).body)

    subscriber.subscribe("tock")
    subscriber.unsubscribe("tick")  # what came already is still to be read
    subscriber.ready(1, timeout_s=20)  # until the publisher knows
    publisher.publish("tick", "nobody asks for it any more")
    publisher.publish("tock", "end")
    subscriber.listen(hear, timeout_s=5)
    print("then", heard["tick"], "of tick, and", *(heard.keys() - {"tick"}))

    published = 1
    for number in range(BURST):  # each a packet of its own: some may be lost
        publisher.publish("tock", number)
        published += 1
    while heard["tock"] + sum(gap.missing for gap in gaps) < published:
        publisher.publish("tock", "end")  # what follows a gap shows it
        published += 1
        subscriber.listen(hear, timeout_s=2)
    everything = heard["tock"] + subscriber.stats()["missing"]
    print("read and missing are all that was published:", everything == published)
    told = sum(gap.missing for gap in gaps)
    print("on_gap was told of all that is missing:", told == subscriber.stats()["missing"])
