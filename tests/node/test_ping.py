"""Pinging processes: nodes in one process, which find each other by hand."""

from __future__ import annotations

from tests.node.offering import Start, offer
from zmqkit.core.effects import Tell
from zmqkit.core.membership.interests import EVERYBODY
from zmqkit.model import Reach
from zmqkit.node.node import Node
from zmqkit.node.ping import Answer, Pinged, Pinger

BOUND_S = 20.0


def find(pinger: Pinger, node: Node, name: str, count: int) -> None:
    """Look for everybody until so many instances of the name are known."""

    def hear(tell: Tell) -> None:
        pass

    node.want(EVERYBODY, hear, role="", reach=Reach.LOCAL)
    while len(pinger.find(name)) < count:
        pass


def test_the_process_of_each_instance_answers(start: Start) -> None:
    first, second = start(), start()
    offer(first, "orders")
    offer(second, "orders", 0xB)
    offer(second, "stock", 0xC)
    second.core.statistics.wall_us = lambda: 10**9
    node = start(first, second)
    with Pinger(node) as pinger:
        find(pinger, node, "orders", 2)
        answers = pinger.ping(timeout_s=BOUND_S)
        assert answers.keys() == {f"{each.process:016x}" for each in (first, second)}
        near, far = (pinger.pinged[f"{each.process:016x}"] for each in (first, second))
        assert (near.sent, near.answered, near.loss, near.pid > 0) == (1, 1, 0.0, True)
        assert near.ahead_s is not None and abs(near.ahead_s) < BOUND_S
        assert far.ahead_s is not None and far.ahead_s < -1e9


def test_an_answer_that_is_too_late_is_lost(start: Start) -> None:
    first = start()
    offer(first, "orders")
    node = start(first)
    with Pinger(node) as pinger:
        find(pinger, node, "orders", 1)
        pinger.ping(timeout_s=BOUND_S)
        assert pinger.ping(timeout_s=0) == {}
        pinged = pinger.pinged[f"{first.process:016x}"]
        assert (pinged.sent, pinged.answered, pinged.loss) == (2, 1, 0.5)


def test_the_quickest_answer_tells_the_clock() -> None:
    pinged = Pinged("b1", sent=4)
    assert (pinged.round_trips(), pinged.ahead_s) == (None, None)
    for round_trip_s, ahead_s in ((0.2, 0.05), (0.1, 0.01), (0.4, 0.2)):
        pinged.take(Answer(round_trip_s, ahead_s))
    assert pinged.round_trips() == (0.1, 0.2, 0.4)
    assert (pinged.ahead_s, pinged.loss) == (0.01, 0.25)
