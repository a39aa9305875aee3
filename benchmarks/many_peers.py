"""How soon a newcomer knows a thousand instances of one name, and what it costs to know them.

What is measured, in a fresh process each round, while four processes hold 250 services each:

- Found: the clock starts just before the process makes its node, with all modules imported, and
  wants the name as a client does. It stops when the node was told of the last instance, each of
  which its own process has confirmed. It is judged by the slowest round.
- Idle: processor time of the whole process, in hundredths of one core, over so many seconds
  that begin some seconds later. Whatever else announces on this machine adds to it; on Linux a
  network of its own keeps that away:

      unshare --net sh -c 'ip link set lo up && python benchmarks/many_peers.py'

- Memory: how much the resident set grew from before the node to after those seconds, in KiB for
  each instance; sockets, threads and the cache of zeroconf are in it.
"""

from __future__ import annotations

import argparse
import resource
import threading
import time
from typing import Any

import figures
import paired
from figures import Message
from paired import Child, Parent

PROCESSES = 4
FOUND_S_MAX = 30.0
SETTLE_S = 8.0
FOUND_S, IDLE_PERCENT = 1.0, 1.0
DESCRIPTORS = 8192


def services(parent: Parent, config: Message) -> None:
    """Announce so many services of the name until the parent leaves."""
    import zmqkit

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, most), most))
    kept = [zmqkit.Service(config["name"]) for _ in range(config["count"])]
    for service in kept:
        service.handler(len)
        service.start()
    parent.send(announced=len(kept))
    parent.receive()


def newcomer(parent: Parent, config: Message) -> None:
    """Find every instance of the name, then do nothing for a while."""
    # The libraries that a node would import when it first needs them.
    import zmqkit.discovery.mdns  # noqa: F401
    from zmqkit.core.effects import News, Tell
    from zmqkit.core.membership.interests import key_of
    from zmqkit.model import Reach
    from zmqkit.node import node as nodes

    told: set[int] = set()
    complete = threading.Event()

    def listen(tell: Tell) -> None:
        if tell.news is News.FOUND:
            told.add(tell.incarnation)
        if len(told) == config["count"]:
            complete.set()

    before = resident_kib()
    begun_at = time.monotonic()
    node = nodes.acquire()
    node.want(key_of("service", config["name"]), listen, role="service", reach=Reach.LOCAL)
    complete.wait(FOUND_S_MAX)
    found_s = time.monotonic() - begun_at
    time.sleep(SETTLE_S)
    used_s = time.process_time()
    time.sleep(config["idle_s"])
    used_s = time.process_time() - used_s
    parent.result(
        told=len(told),
        found_s=found_s,
        idle_percent=used_s / config["idle_s"] * 100,
        kib=(resident_kib() - before) / config["count"],
    )


def resident_kib() -> float:
    """The memory of this process that is in use now, not at its most."""
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return pages * resource.getpagesize() / 1024


def measure(options: argparse.Namespace) -> list[Message]:
    """What each newcomer says."""
    name = paired.unique_name()
    share = options.instances // PROCESSES
    config: dict[str, Any] = {"name": name, "count": share}
    with paired.Family() as family:
        holders: list[Child] = [family.start("services", **config) for _ in range(PROCESSES)]
        for holder in holders:
            holder.receive()
        time.sleep(SETTLE_S)
        config = {"name": name, "count": share * PROCESSES, "idle_s": options.idle}
        return [look(family, config, options) for _ in range(options.rounds)]


def look(family: paired.Family, config: dict[str, Any], options: argparse.Namespace) -> Message:
    """One round, which must find everybody."""
    result = family.start("newcomer", **config).receive()
    if result["told"] != config["count"]:
        raise paired.BenchmarkError(
            f"{result['told']} of {config['count']} found within {FOUND_S_MAX:g} s"
        )
    if not options.json:
        words = "  found in {found_s:.2f} s, idle {idle_percent:.2f} %, {kib:.1f} KiB each"
        print(words.format(**result), flush=True)
    return result


def main() -> None:
    parser = figures.arguments("How soon a newcomer knows a thousand instances.", rounds=3)
    parser.add_argument("--instances", type=figures.positive, default=1000)
    parser.add_argument(
        "--idle", type=figures.positive, default=20, help="seconds; default %(default)s"
    )
    options = parser.parse_args()
    results = measure(options) if options.only != "reference" else []
    figures.finish(FIGURE, rows(results), options, instances=options.instances)


FIGURE = figures.Figure("many_peers", "newcomer knows 1000 instances", "s", "<=")
IDLE = figures.Figure("many_peers", "its idle processor time", "% of a core", "<=")
MEMORY = figures.Figure("many_peers", "its memory for each", "KiB", "<=")


def rows(results: list[Message]) -> list[figures.Row]:
    """The slowest time, the greatest cost, and the median of the memory, which has no limit."""
    found = max((each["found_s"] for each in results), default=None)
    idle = max((each["idle_percent"] for each in results), default=None)
    memory = figures.median([each["kib"] for each in results])
    return [
        figures.limit_row(FIGURE.caption, FIGURE, found, FOUND_S),
        figures.limit_row(IDLE.caption, IDLE, idle, IDLE_PERCENT),
        figures.limit_row(MEMORY.caption, MEMORY, memory, None),
    ]


PARTS = {"services": services, "newcomer": newcomer}

if __name__ == "__main__":
    paired.run(main, PARTS)
