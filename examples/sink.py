"""Results for somebody else than the pusher: a sink takes each, and says when it has it.

A first sink reads a result and closes before it accepted that: another sink gets it again.

Prints:

    pushed cat.png and dog.png
    the pusher gets: None
    a first sink read a result, and did not accept it
    a second sink has: small/cat.png, small/dog.png
    nothing is left: True
"""

import threading

import zmqkit

NAME = "example-sink"


def main() -> None:
    worker = zmqkit.Worker(NAME)

    @worker.task
    def shrink(path: str) -> str:
        return f"small/{path}"

    with zmqkit.Pusher(NAME) as pusher, worker:
        worker.start()
        working = threading.Thread(target=worker.work)
        working.start()

        tickets = pusher.push_many(["cat.png", "dog.png"], results="sink")
        print("pushed cat.png and dog.png")
        with zmqkit.Sink(NAME) as first:
            if first.receive(timeout_s=20) is not None:
                # The end of the block comes before the next `receive`, which would accept it.
                results = "a first sink read a result, and did not accept it"
        taken = read(2)
        # The ticket is done once a sink has the result, which goes to nobody else.
        print("the pusher gets:", tickets[0].result(timeout_s=20))
        print(results)
        print("a second sink has:", ", ".join(taken))
        tickets[1].result(timeout_s=20)
        print("nothing is left:", pusher.stats()["waiting"] == 0)
        worker.stop()
        working.join()


def read(count: int) -> list[str]:
    """Return so many results, in the order of their text."""
    taken: dict[str, str] = {}
    with zmqkit.Sink(NAME) as sink:
        while len(taken) < count:
            result = sink.receive(timeout_s=20)  # accepts the one before
            if result is None:
                break
            taken[result.id] = str(result.value)  # by id, for a result may come twice
        sink.acknowledge()  # the last one
    return sorted(taken.values())


if __name__ == "__main__":
    main()
