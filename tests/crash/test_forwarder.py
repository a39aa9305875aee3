"""Two forwarders of a name, one of which is killed or stopped under full load."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.crash.stage import Actor, Start, until
from tests.crash.test_topics import joined, judge, rest

pytestmark = pytest.mark.slow

STALL_S = 1.0
KINDS = ("blocking", "asyncio")


@pytest.fixture
def behind(name: str) -> Iterator[Start]:
    """Starts an actor of another name, where there is no publisher but through forwarders."""
    actors: list[Actor] = []

    def start(role: str, kind: str = "blocking", **options: object) -> Actor:
        actors.append(Actor(role, f"{name}-2", kind=kind, **options))
        return actors[-1]

    yield start
    for actor in actors:
        actor.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_second_forwarder_takes_over_and_nothing_is_lost_uncounted(
    start: Start, behind: Start, number: signal.Signals
) -> None:
    publisher = start("publisher", policy="block", stall_s=STALL_S)
    first = behind("forwarder", connect=[publisher.ready])
    subscribers = [behind("subscriber", kind) for kind in KINDS]
    joined(publisher, 2)
    second = behind("forwarder", connect=[publisher.ready])
    publisher.order("go")
    until(lambda: all(each.ask("stats")["read"] > 5000 for each in subscribers))
    assert second.ask("stats")["subscribers"] == 0
    first.send(number)
    until(lambda: second.ask("stats")["subscribers"] == 2)
    before = [each.ask("stats")["read"] for each in subscribers]
    for each, read in zip(subscribers, before, strict=True):
        until(lambda each=each, read=read: each.ask("stats")["read"] > read + 5000)
    for each in subscribers:
        rest(each, publisher)
        judge(each)
