"""What a history costs its publisher, and how soon a late subscriber has got it.

By default the messages per second from publish to iterate, of a publisher that keeps 10,000 of
them, against one that keeps none; in batches or, with `--each`, one by one. With `--late` the
time from making a subscriber until it has read the last value of each of 10,000 topics, whose
publisher runs already. It ends with an error if one is missing or comes twice.
"""

from __future__ import annotations

import time

import figures
import paired
from figures import Message, Reference
from paired import Parent
from publish import ours_client, ours_server

TOPICS = 10_000
KEPT = 10_000
TARGET, LATE_S = 0.8, 0.5


def last_values(parent: Parent, config: Message) -> None:
    """Publish two values of each topic, and keep the last ones."""
    import zmqkit

    parent.on_end = parent.leave
    with zmqkit.Publisher(config["name"], history=1) as publisher:
        for value in (0, 1):
            with publisher.batch() as batch:
                for number in range(TOPICS):
                    batch.publish(f"sensor.{number}.value", [number, value])
        parent.send(ready=True)
        parent.receive()


def late_reader(parent: Parent, config: Message) -> None:
    """Say how long it took to read the last value of each topic."""
    import zmqkit

    begun, came = time.perf_counter(), dict[str, object]()
    with zmqkit.Subscriber(config["name"], history=1) as subscriber:
        for message in subscriber:
            if message.topic in came:
                raise SystemExit(f"{message.topic} came twice")
            came[message.topic] = message.body
            if len(came) == TOPICS:
                break
    seconds = time.perf_counter() - begun
    if came != {f"sensor.{number}.value": [number, 1] for number in range(TOPICS)}:
        raise SystemExit("a last value is missing")
    parent.result(seconds=seconds)


def late() -> float:
    """Seconds until one subscriber has read all last values."""
    name = paired.unique_name()
    with paired.Family() as family:
        publisher = family.start("last_values", name=name)
        publisher.receive()
        seconds = family.start("late_reader", name=name).receive()["seconds"]
        publisher.send(stop=True)
        return float(seconds)


def main() -> None:
    parser = figures.arguments(__doc__)
    parser.add_argument("--each", action="store_true", help="one by one, without a batch")
    parser.add_argument("--late", action="store_true", help="how soon a late subscriber has it")
    parser.add_argument("--seconds", type=float, default=1.0, help="per sample; default 1")
    figures.add_pin(parser)
    options = parser.parse_args()
    if options.late:
        figure = figures.Figure("history_late", "join to 10,000 last values read", "s", "<=")
        rounds = [] if options.only == "reference" else [late() for _ in range(options.rounds)]
        value = figures.percentile(rounds, 50) if rounds else None
        row = figures.limit_row(figure.caption, figure, value, LATE_S)
        figures.finish(figure, [row], options)
        return

    def sample(history: int | None) -> Message:
        return paired.serve_and_call(
            "ours",
            options.pin,
            size=100,
            topics=1,
            each=options.each,
            seconds=options.seconds,
            history=history,
        )

    how = ", one by one" if options.each else ""
    name = "history" + "_each" * options.each
    figure = figures.Figure(name, f"publish with a history{how}", "messages/s", ">=")
    none = Reference("without", lambda: sample(None), TARGET)
    figures.compare(figure, lambda: sample(KEPT), [none], options)


PARTS = {
    "ours_server": ours_server,
    "ours_client": ours_client,
    "last_values": last_values,
    "late_reader": late_reader,
}

if __name__ == "__main__":
    paired.run(main, PARTS)
