"""How soon the death of an instance is known to a connected client and its calls are settled.

What is measured, once for each round: three service processes share a name and eight threads
of one client call them without a pause, four of them a handler that is idempotent. One service
gets SIGKILL.

- Not chosen: from just before the SIGKILL until `Client.instances()` no longer shows the victim
  as up; looked at every 2 ms.
- Settled: from just before the SIGKILL until the last call that had begun before the victim was
  no longer chosen has returned or raised. An idempotent call is to move to another instance and
  return; one that is not ends in PeerLost, or returns when the victim did not hold it.

Both figures are the worst of all rounds, in seconds.
"""

from __future__ import annotations

import argparse
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import figures
import paired
from figures import Message
from paired import Parent

INSTANCES = 3
CALLERS = 8
WORK_S = 0.005
"""How long a handler takes, so that calls are in flight at any moment."""

SETTLE_S = 5.0
WATCH_S = 10.0
"""How long the client looks for the victim's end before it gives up."""


def services(parent: Parent, config: Message) -> None:
    """One instance, until its stdin ends or a SIGKILL does."""
    import zmqkit

    with zmqkit.Service(config["name"]) as service:

        @service.handler(idempotent=True)
        def again(number: int) -> int:
            time.sleep(WORK_S)
            return number

        @service.handler
        def once(number: int) -> int:
            time.sleep(WORK_S)
            return number

        service.start()
        parent.on_end = service.stop
        parent.send(port=port_of(service.endpoint))
        service.serve()


def port_of(address: str) -> str:
    """The last part of an address; it tells instances of one host apart."""
    return address.rpartition(":")[2]


@dataclass(slots=True)
class Call:
    """One call of one thread: which handler, when, and the name of the error it ended in."""

    method: str
    begun_at: float
    ended_at: float = 0.0
    error: str = ""


@dataclass(slots=True)
class Load:
    """Threads that call without a pause until they are told to stop."""

    client: Any
    calls: list[Call] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        for number in range(CALLERS):
            method = "again" if number % 2 else "once"
            thread = threading.Thread(target=self._call, args=[method], daemon=True)
            self.threads.append(thread)
            thread.start()

    def stop(self) -> int:
        """End the threads; the number that still hang after SETTLE_S."""
        self.stopped.set()
        until = time.monotonic() + SETTLE_S
        for thread in self.threads:
            thread.join(max(0.0, until - time.monotonic()))
        return sum(thread.is_alive() for thread in self.threads)

    def _call(self, method: str) -> None:
        import zmqkit

        number = 0
        while not self.stopped.is_set():
            call = Call(method, time.monotonic())
            self.calls.append(call)
            try:
                assert self.client.call(method, number) == number
            except zmqkit.ZmqkitError as error:
                call.error = type(error).__name__
            call.ended_at = time.monotonic()
            number += 1


def client(parent: Parent, config: Message) -> None:
    """Call all instances, watch the victim disappear, and say what became of the calls."""
    import zmqkit

    with zmqkit.Client(config["name"]) as client:
        client.ready(INSTANCES)
        load = Load(client)
        load.start()
        parent.send(running=True)
        victim: str = parent.receive()["victim"]
        assert is_up(client, victim), f"no instance at port {victim}: {client.instances()}"
        parent.send(watching=True)
        until = time.monotonic() + WATCH_S
        while is_up(client, victim) and time.monotonic() < until:
            time.sleep(0.002)
        gone_at = time.monotonic()
        killed_at: float = parent.receive()["killed_at"]
        time.sleep(1.0)  # the others go on alone
        hung = load.stop()
        parent.result(
            gone_s=gone_at - killed_at, **settled(load.calls, killed_at, gone_at, hung)
        )


def is_up(client: Any, port: str) -> bool:
    """Whether the client would choose the instance at that port."""
    return any(
        instance["state"] == "up" and port_of(instance["address"]) == port
        for instance in client.instances()
    )


def settled(calls: list[Call], killed_at: float, gone_at: float, hung: int) -> Message:
    """What became of the calls that could meet the death, and of those after it."""
    met = [call for call in calls if call.begun_at < gone_at and call.ended_at > killed_at]
    last_at = max((call.ended_at for call in met), default=killed_at)
    return {
        "settled_s": (time.monotonic() if hung else last_at) - killed_at,
        "exposed": len(met),
        "returned": sum(not call.error for call in met),
        "peer_lost": sum(call.error == "PeerLost" for call in met),
        "other_errors": sum(call.error not in ("", "PeerLost") for call in met),
        "idempotent_failed": sum(bool(call.error) for call in calls if call.method == "again"),
        "failed_later": sum(bool(call.error) for call in calls if call.begun_at >= gone_at),
        "hung": hung,
    }


def sample() -> Message:
    """One round: three instances, one client, one SIGKILL."""
    with paired.Family() as family:
        name = paired.unique_name()
        instances = [family.start("services", name=name) for _ in range(INSTANCES)]
        ports = [instance.receive()["port"] for instance in instances]
        caller = family.start("client", name=name)
        caller.receive()
        time.sleep(0.5)
        caller.send(victim=ports[0])
        caller.receive()
        time.sleep(0.05)
        killed_at = time.monotonic()
        instances[0].kill()
        caller.send(killed_at=killed_at)
        return caller.receive()


COUNTED = (
    "exposed",  # of these calls, which could meet the death,
    "returned",  # so many returned and the next three did not
    "peer_lost",
    "other_errors",
    "hung",
    "idempotent_failed",  # in the whole round
    "failed_later",  # of those begun when the victim was no longer chosen
)
FIGURE = figures.Figure("failover", "SIGKILL", "s", "<=")


def rows(samples: list[Message]) -> list[figures.Row]:
    """The worst of both figures."""
    gone_s = max((sample["gone_s"] for sample in samples), default=None)
    settled_s = max((sample["settled_s"] for sample in samples), default=None)
    return [
        figures.limit_row("SIGKILL to not chosen", FIGURE, gone_s, 0.5),
        figures.limit_row("SIGKILL to calls settled", FIGURE, settled_s, SETTLE_S),
    ]


def measure(options: argparse.Namespace) -> list[Message]:
    """All rounds, each printed."""
    samples = []
    for number in range(options.rounds):
        samples.append(sample())
        if not options.json:
            print(f"  round {number + 1}: {describe(samples[-1])}", flush=True)
    return samples


def describe(sample: Message) -> str:
    """One round in words."""
    times = f"not chosen {sample['gone_s']:.3f} s, settled {sample['settled_s']:.3f} s"
    return f"{times}; " + ", ".join(f"{key} {sample[key]}" for key in COUNTED)


def main() -> None:
    options = figures.arguments(
        "How soon an instance's death is known and settled."
    ).parse_args()
    if not options.json:
        print(f"SIGKILL of one of {INSTANCES} instances; {options.rounds} rounds")
    samples = [] if options.only == "reference" else measure(options)
    totals = {key: sum(sample[key] for sample in samples) for key in COUNTED}
    figures.finish(FIGURE, rows(samples), options, **totals)


PARTS = {"services": services, "client": client}

if __name__ == "__main__":
    paired.run(main, PARTS)
