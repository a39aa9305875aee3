"""Pushes that return once a disk has the task: a journal's, or a streamer's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import zmqkit
from tests.roles.kit import BOUND_S, Kit, until


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return str(tmp_path / "streamer.journal")


def held(streamer: Any) -> int:
    """How many tasks the streamer has that are not done."""
    stats = streamer.stats()
    return int(stats["waiting"]) + int(stats["leased"])


def test_a_durable_push_is_on_the_disk_of_a_streamer(kit: Kit, journal: str) -> None:
    streamer = kit.streamer(journal=journal)
    pusher = kit.pusher(durable=True)
    ticket = pusher.push("body", timeout_s=BOUND_S)
    assert held(streamer) == 1 and ticket.state == "leased"
    assert pusher.close(0) == 1
    assert pusher.stats()["passed_on"] == 1
    streamer.close()
    again = kit.streamer(journal=journal)
    assert held(again) == 1
    kit.working(lambda body: body)
    until(lambda: again.stats()["done"] == 1)


def test_a_durable_push_without_a_disk_is_refused(kit: Kit) -> None:
    kit.streamer()
    pusher = kit.pusher()
    with pytest.raises(zmqkit.ConfigError, match="zmqkit run streamer-durable --name"):
        pusher.push(1, durable=True, timeout_s=0.05)
    assert pusher.stats()["accepted"] == 0


def test_a_task_that_is_done_first_is_durable_enough(kit: Kit, journal: str) -> None:
    kit.streamer(journal=journal)
    kit.working(lambda body: body)
    pusher = kit.pusher()
    for number in range(20):
        assert pusher.push(number, durable=True, timeout_s=BOUND_S).result(BOUND_S) == number


def test_the_constructor_says_what_is_durable(kit: Kit, journal: str) -> None:
    with pytest.raises(zmqkit.UsageError, match="durable is 1"):
        kit.pusher(count=0, durable=1)
    pusher = kit.pusher(count=0, journal=journal)
    ticket = pusher.push(1, durable=False)
    assert ticket.state == "waiting"
    pusher.close(0)
    assert kit.pusher(count=0, journal=journal).stats()["accepted"] == 1


def test_an_outbox_hands_its_tasks_over(kit: Kit, journal: str, tmp_path: Path) -> None:
    outbox = str(tmp_path / "outbox.journal")
    first = kit.pusher(count=0, journal=outbox)
    ids = [each.id for each in first.push_many(range(3))]
    streamer = kit.streamer(journal=journal)
    until(lambda: held(streamer) == 3)
    tasks = kit.core(first).ledger.tasks.values()
    until(lambda: all(each.journal for each in tasks))
    assert first.stats()["passed_on"] == 3
    first.close(0)
    assert kit.pusher(count=0, journal=outbox).stats()["accepted"] == 0
    kit.working(lambda body: body)
    until(lambda: streamer.stats()["done"] == 3)
    assert len(set(ids)) == 3


@pytest.mark.parametrize("is_durable", [False, True])
def test_a_ticket_says_that_a_streamer_goes_on_after_the_close(
    kit: Kit, journal: str, is_durable: bool
) -> None:
    streamer = kit.streamer(journal=journal if is_durable else None)
    pusher = kit.pusher()
    ticket = pusher.push("body")
    until(lambda: held(streamer) == 1)
    waiting = kit.start(ticket.result)
    assert pusher.close(0) == 1
    assert ticket.state == "leased"
    for ask in (waiting.result, ticket.result):
        with pytest.raises(zmqkit.CallCancelled, match="a streamer has the task, and goes on"):
            ask()
    kit.working(lambda body: body)
    until(lambda: streamer.stats()["done"] == 1)
