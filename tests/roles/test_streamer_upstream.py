"""A streamer whose tasks go to another streamer, which is on another network, say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import zmqkit
from tests.roles.kit import BOUND_S, Kit, until
from zmqkit.device.streamer import Streamer
from zmqkit.errors import ConfigError


def double(number: int) -> int:
    if number == 13:
        raise zmqkit.Discard("no such number")
    zmqkit.current_task().progress(number)
    return 2 * number


def there(kit: Kit, **options: Any) -> Streamer:
    """The streamer to which tasks go; it has the workers."""
    streamer = kit.streamer(f"{kit.name}-2", **options)
    kit.start(streamer.run)
    return streamer


def here(kit: Kit, url: str, **options: Any) -> Streamer:
    """The streamer to which tasks are pushed."""
    streamer = kit.streamer(connect=url, **options)
    kit.start(streamer.run)
    return streamer


def test_tasks_pass_and_results_and_errors_come_back(kit: Kit) -> None:
    far = there(kit)
    near = here(kit, f"{far.endpoint}/{far.name}")
    kit.working(double, name=far.name)
    pusher = kit.pusher()
    tickets = [pusher.push(number) for number in (1, 13, 21)]
    assert tickets[0].result(BOUND_S) == 2
    with pytest.raises(zmqkit.RemoteError, match="no such number"):
        tickets[1].result(BOUND_S)
    assert tickets[2].result(BOUND_S) == 42
    assert kit.mapped(pusher, range(20, 120)) == [2 * number for number in range(20, 120)]
    for streamer in (near, far):
        assert (streamer.stats()["done"], streamer.stats()["failed"]) == (102, 1)


def test_a_durable_one_closes_without_what_the_other_one_has(kit: Kit, tmp_path: Path) -> None:
    far = there(kit, journal=tmp_path / "far")
    near = here(kit, far.endpoint, journal=tmp_path / "near")
    pusher = kit.pusher()
    tickets = [pusher.push(number) for number in range(3)]
    until(lambda: far.stats()["accepted"] == 3)
    until(lambda: near.stats()["passed_on"] == 3)
    assert near.close(BOUND_S) == 0
    here(kit, far.endpoint, journal=tmp_path / "near")
    kit.working(double, name=far.name)
    assert [ticket.result(BOUND_S) for ticket in tickets] == [0, 2, 4]
    assert far.stats()["accepted"] == 3


def test_results_go_to_a_sink_over_there(kit: Kit) -> None:
    far = there(kit)
    near = here(kit, far.endpoint)
    kit.working(double, name=far.name)
    sink = kit._kept(kit.sink_class, far.name)
    assert sink.receive(0) is None
    pusher = kit.pusher()
    pusher.push(21, results="sink")
    assert sink.receive(BOUND_S).value == 42
    assert sink.receive(0) is None  # so it has accepted the first
    until(lambda: near.stats()["done"] == 1)


def test_a_streamer_connects_to_an_address_only(kit: Kit) -> None:
    for url in ("thumbnails", "memory://thumbnails", "tcp://127.0.0.1"):
        with pytest.raises(ConfigError):
            Streamer("thumbnails", connect=url)
