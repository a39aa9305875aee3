"""Publishers and subscribers that are killed or paused in the middle of work."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import Any

import pytest

import zmqkit
from tests.crash.stage import BOUND_S, Actor, Start, until
from tests.ports import quiet_endpoint

pytestmark = pytest.mark.slow

PAUSE_S = 10.0
KINDS = pytest.mark.parametrize("kind", ["blocking", "asyncio"])


def joined(publisher: Actor, count: int) -> None:
    """Wait until so many have all their subscriptions in place."""
    publisher.order("join", count)
    assert publisher.event("join") == count


def judge(subscriber: Actor, *, taken_over: bool = False) -> dict[str, Any]:
    """Wait until each message since the first is read, dropped or missing, and only once.

    taken_over: another publisher came to an address, whose messages may be before its WELCOME.
    """

    def settled() -> dict[str, Any]:
        stats: dict[str, Any] = subscriber.ask("stats")
        # A gap is counted as it arrives, and told of as the reader comes for more.
        told = stats["told"] == stats["missing"] and stats["queued"] == 0
        stats["balanced"] = told and published(stats) == accounted(stats)
        return stats

    until(lambda: settled()["balanced"])
    stats = settled()
    assert (stats["wrong"], stats["duplicates"]) == (0, 0)
    assert stats["malformed"].keys() <= ({"source"} if taken_over else set())
    return stats


def published(stats: dict[str, Any]) -> int:
    last: dict[str, int] = stats["last"]
    return sum(last[key] - stats["first"][key] + 1 for key in last)


def accounted(stats: dict[str, Any]) -> int:
    total: int = stats["read"] + sum(stats["dropped"].values()) + stats["missing"]
    return total


def rest(subscriber: Actor, *publishers: Actor, dead: str = "nobody") -> None:
    """Have all publishers rest but one that is dead, and wait until all of theirs has come."""
    for each in publishers:
        each.order("rest")
    count = sum(each.ask("stats")["published"] for each in publishers)

    def come() -> int:
        last = subscriber.ask("stats")["last"]
        return sum(number for key, number in last.items() if not key.startswith(dead))

    until(lambda: come() >= count)


def lossless(stats: dict[str, Any]) -> bool:
    return (stats["missing"], stats["dropped"]) == (0, {})


@KINDS
def test_a_subscriber_goes_on_with_the_others_and_finds_the_next(
    start: Start, kind: str
) -> None:
    # They wait, for nothing tells which of the last messages of a killed one were dropped.
    waits = {"policy": "block", "stall_s": BOUND_S}
    publishers = [start("publisher", **waits) for _ in range(2)]
    subscriber = start("subscriber", kind)
    for each in publishers:
        joined(each, 1)
        each.order("go")
    # Both are read from: either may have rested until now.
    until(lambda: len(subscriber.ask("stats")["last"]) == 6)
    until(lambda: subscriber.ask("stats")["read"] > 10_000)
    labels = subscriber.ask("stats")["labels"]
    publishers[0].kill()
    until(lambda: subscriber.ask("stats")["states"] == ["up"])
    [dead] = {*labels} - {*subscriber.ask("stats")["labels"]}
    before = subscriber.ask("stats")["read"]
    until(lambda: subscriber.ask("stats")["read"] > before + 10_000)
    after = start("publisher", **waits)
    joined(after, 1)
    until(lambda: len(subscriber.ask("stats")["last"]) == 9)
    before = subscriber.ask("stats")["read"]
    after.order("go")
    until(lambda: subscriber.ask("stats")["read"] > before + 10_000)
    rest(subscriber, publishers[1], after, dead=dead)
    assert lossless(judge(subscriber))
    assert subscriber.ask("stats")["states"] == ["up", "up"]


def test_a_publisher_that_returns_at_its_port_is_found(start: Start) -> None:
    first = start("publisher", bind=quiet_endpoint())
    subscriber = start("subscriber")
    joined(first, 1)
    until(lambda: subscriber.ask("stats")["read"] > 3)
    first.kill()
    second = start("publisher", bind=first.ready)
    joined(second, 1)
    until(lambda: len(subscriber.ask("stats")["last"]) == 6)
    assert lossless(judge(subscriber, taken_over=True))


def test_a_subscriber_by_url_follows_a_publisher_that_returns(start: Start) -> None:
    first = start("publisher", bind=quiet_endpoint())
    subscriber = Actor("subscriber", first.ready, kind="blocking")
    try:
        joined(first, 1)
        until(lambda: subscriber.ask("stats")["read"] > 3)
        first.kill()
        second = start("publisher", bind=first.ready)
        joined(second, 1)
        until(lambda: len(subscriber.ask("stats")["last"]) == 6)
        assert lossless(judge(subscriber))
    finally:
        subscriber.close()


@pytest.mark.parametrize("policy", ["drop", "block"])
def test_a_publisher_goes_on_when_a_subscriber_is_killed(start: Start, policy: str) -> None:
    publisher = start("publisher", policy=policy, stall_s=BOUND_S)
    killed, other = start("subscriber"), start("subscriber")
    joined(publisher, 2)
    publisher.order("go")
    until(lambda: other.ask("stats")["read"] > 10_000)
    killed.kill()
    until(lambda: publisher.ask("stats")["subscribers"] == 1)
    before = other.ask("stats")["read"]
    until(lambda: other.ask("stats")["read"] > before + 10_000)
    rest(other, publisher)
    stats = judge(other)
    assert policy == "drop" or lossless(stats)


def test_a_publisher_that_waits_is_freed_from_a_killed_subscriber(start: Start) -> None:
    publisher = start("publisher", policy="block", stall_s=BOUND_S)
    stuck, other = start("subscriber"), start("subscriber")
    joined(publisher, 2)
    stuck.order("hold")
    publisher.order("go")
    until(lambda: other.ask("stats")["read"] > 500)

    def rests() -> bool:
        before = publisher.ask("stats")["published"]
        time.sleep(0.5)
        return bool(publisher.ask("stats")["published"] == before)

    until(rests)
    before = other.ask("stats")["read"]
    stuck.kill()
    until(lambda: other.ask("stats")["read"] > before + 20_000)
    rest(other, publisher)
    assert lossless(judge(other))
    assert publisher.ask("stats")["exclusions"] == 0


@pytest.mark.parametrize("policy", ["drop", "block"])
def test_a_subscriber_that_is_stopped_under_full_load_loses_nothing_uncounted(
    start: Start, policy: str
) -> None:
    publisher = start("publisher", policy=policy, stall_s=2.0, body_bytes=1000)
    paused = [start("subscriber", kind) for kind in ("blocking", "asyncio")]
    other = start("subscriber")
    joined(publisher, 3)
    publisher.order("go")
    until(lambda: all(each.ask("stats")["read"] > 5000 for each in paused))
    for each in paused:
        each.send(signal.SIGSTOP)
    before = other.ask("stats")["read"]
    time.sleep(PAUSE_S)
    during = other.ask("stats")["read"] - before
    for each in paused:
        each.send(signal.SIGCONT)
    assert during > 20_000
    at = [each.ask("stats")["read"] for each in paused]
    for each, read in zip(paused, at, strict=True):
        until(lambda each=each, read=read: each.ask("stats")["read"] > read + 1000)
    publisher.order("rest")
    for each in (*paused, other):
        assert each.alive()
        judge(each)
    assert publisher.alive()
    assert (publisher.ask("stats")["exclusions"] > 0) == (policy == "block")
    assert policy == "drop" or lossless(other.ask("stats"))


@pytest.mark.parametrize(("policy", "count"), [("drop", 1000), ("block", 10_000)])
def test_nothing_is_lost_after_ready_in_forty_joins(
    start: Start, name: str, policy: str, count: int
) -> None:
    publisher = start("publisher", policy=policy, stall_s=BOUND_S, body_bytes=10)
    for _ in range(40):
        with zmqkit.Subscriber(name) as subscriber:
            joined(publisher, 1)
            before = publisher.ask("stats")["published"]
            publisher.order("go", count)
            last, read = dict[str, int](), 0
            while sum(last.values()) < before + count:
                message = subscriber.receive(BOUND_S)
                assert message is not None
                # The first is at most the one behind those published before it joined.
                expected = last.get(message.topic, message.sequence - 1) + 1
                assert message.sequence == expected <= before + count
                last[message.topic] = message.sequence
                read += 1
            assert publisher.event("published") >= before + count
            assert read >= count and lossless(subscriber.stats())
        until(lambda: publisher.ask("stats")["subscribers"] == 0)


COMES_AND_GOES = """
import sys
import zmqkit
for number in range(40):
    name = f"{sys.argv[1]}-{number}"
    with zmqkit.Publisher(name), zmqkit.Subscriber(name) as subscriber:
        subscriber.receive(0.01)
"""


def test_roles_that_are_closed_while_they_connect_do_no_harm(name: str) -> None:
    command = [sys.executable, "-c", COMES_AND_GOES, name]
    assert subprocess.run(command, timeout=BOUND_S).returncode == 0
