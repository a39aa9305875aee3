"""Loops over the changes of who is there under a name."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

import zmqkit
import zmqkit.asyncio
from tests.roles.kit import BOUND_S, AsyncKit, Kit

pytestmark = pytest.mark.usefixtures("node")


def watched(kit: Kit, name: str, **options: Any) -> Any:
    """A loop that was not begun yet."""
    if isinstance(kit, AsyncKit):
        return kit.on_loop(zmqkit.asyncio.watch, name, **options)
    return zmqkit.watch(name, **options)


@pytest.fixture
def watching(kit: Kit) -> Iterator[Any]:
    """A loop over the kit's own name, which is ended."""
    loop = watched(kit, kit.name, timeout_s=BOUND_S)
    yield loop
    kit.shut(loop)


def test_who_is_there_comes_first_then_who_comes_and_goes(kit: Kit, watching: Any) -> None:
    first = kit.serving(len)
    [here] = kit.values(watching, 1)
    label = f"{kit.name}-{first.incarnation >> 32:08x}"
    assert here == zmqkit.Change("added", kit.name, "service", label, first.endpoint, "up")
    publisher = kit.publisher()
    [came] = kit.values(watching, 1)
    assert (came.change, came.role, came.address) == ("added", "publisher", publisher.endpoint)
    first.close()
    [went] = kit.values(watching, 1)
    assert (went.change, went.instance, went.state) == ("removed", label, "gone")


def test_other_names_are_not_told_of(kit: Kit, watching: Any) -> None:
    kit.serve(kit.service(f"{kit.name}x"))
    kit.serving(len)
    [change] = kit.values(watching, 1)
    assert change.name == kit.name


def test_the_loop_ends_when_its_time_is_over(kit: Kit) -> None:
    assert kit.values(watched(kit, kit.name, timeout_s=0.01)) == []


def test_the_loop_ends_when_it_is_closed_elsewhere(blocking: Kit) -> None:
    loop = zmqkit.watch(blocking.name)
    reading = blocking.start(list, loop)
    blocking.serving(len)
    threading.Timer(0, loop.close).start()
    assert len(reading.result()) <= 1
    assert list(loop) == []


def test_a_url_is_not_watched(kit: Kit) -> None:
    with pytest.raises(zmqkit.UsageError, match="on_change"):
        watched(kit, "tcp://127.0.0.1:5555")
    with pytest.raises(zmqkit.UsageError, match="timeout_s"):
        watched(kit, kit.name, timeout_s="soon")


def test_a_loop_that_is_left_ends_by_itself(blocking: Kit) -> None:
    blocking.serving(len)
    for change in zmqkit.watch(blocking.name):
        assert change.change == "added"
        break
    for thread in threading.enumerate():
        if thread.name == "zmqkit-close":
            thread.join(BOUND_S)
