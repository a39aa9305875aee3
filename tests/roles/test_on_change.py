"""Functions that are called with the changes of a client's instances."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import zmqkit
from tests.roles.kit import BOUND_S, AsyncKit, Kit, until
from zmqkit.core.effects import Note
from zmqkit.roles.instance_changes import InstanceChanges

pytestmark = pytest.mark.usefixtures("node")


class Told:
    """What a function was called with, and on which thread."""

    def __init__(self) -> None:
        self.changes: list[zmqkit.Change] = []
        self.threads: set[threading.Thread] = set()
        self._came = threading.Semaphore(0)

    def __call__(self, change: zmqkit.Change) -> None:
        self.changes.append(change)
        self.threads.add(threading.current_thread())
        self._came.release()

    def next(self) -> tuple[str, str, str]:
        """The next change: what happened, to whom, and the state."""
        assert self._came.acquire(timeout=BOUND_S), "nothing changed"
        change = self.changes[-1]
        return change.change, change.instance, change.state


@pytest.fixture
def told() -> Told:
    return Told()


def label(kit: Kit, service: Any) -> str:
    return f"{kit.name}-{service.incarnation >> 32:08x}"


def test_who_is_there_comes_first_then_who_comes_and_goes(kit: Kit, told: Told) -> None:
    first = kit.serving(len)
    client = kit.client()
    client.on_change(told)
    assert told.next() == ("added", label(kit, first), "up")
    second = kit.serving(len)
    assert told.next() == ("added", label(kit, second), "up")
    first.close()
    assert told.next() == ("removed", label(kit, first), "gone")
    assert told.changes[0].address == first.endpoint
    assert {change.name for change in told.changes} == {kit.name}


def test_functions_run_where_they_may_take_long(kit: Kit, told: Told) -> None:
    kit.serving(len)
    kit.client().on_change(told)
    told.next()
    [thread] = told.threads
    assert thread.name == ("the user's loop" if isinstance(kit, AsyncKit) else "zmqkit-changes")


def test_a_function_that_was_removed_is_called_no_more(kit: Kit, told: Told) -> None:
    client, other = kit.client(count=0), Told()
    remove = client.on_change(told)
    client.on_change(other)
    kit.serving(len)
    assert told.next() == other.next()
    remove()
    remove()
    kit.serving(len)
    other.next()
    assert len(told.changes) == 1


def test_functions_come_and_go_and_come_again(kit: Kit, told: Told) -> None:
    kit.serving(len)
    client = kit.client()
    for _ in range(3):
        remove = client.on_change(told)
        assert told.next()[0] == "added"
        remove()


def test_who_is_there_comes_first_though_changes_wait(blocking: Kit, told: Told) -> None:
    go_on, client, other = threading.Event(), blocking.client(count=0), Told()

    def wait(change: zmqkit.Change) -> None:
        told(change)
        assert go_on.wait(BOUND_S)

    client.on_change(wait)
    services = [blocking.serving(len)]
    told.next()
    services.append(blocking.serving(len))
    until(lambda: not client._watchers._queue.empty())
    client.on_change(other)
    services.append(blocking.serving(len))
    go_on.set()
    for _ in services:
        other.next()
    assert {each.instance for each in other.changes[:2]} == {
        label(blocking, each) for each in services[:2]
    }
    assert [each.change for each in other.changes] == ["added"] * 3


def test_a_thread_that_cannot_start_harms_nothing_later(
    blocking: Kit, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocking.serving(len)
    client = blocking.client()

    def full(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", full)
        for use in (client.on_change, lambda each: client.begin("len", "four")):
            with pytest.raises(RuntimeError, match="can't start"):
                use(told)
    client.on_change(told)
    assert told.next()[0] == "added"
    assert client.begin("len", "four").result(BOUND_S) == 4


def test_what_a_function_raises_harms_nothing(
    kit: Kit, told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(change: zmqkit.Change) -> None:
        raise LookupError("no such place")

    kit.serving(len)
    client = kit.client()
    client.on_change(fail)
    client.on_change(told)
    told.next()
    kit.serving(len)
    told.next()
    until(lambda: "no such place" in capsys.readouterr().err)


def test_a_function_may_call_and_close(blocking: Kit) -> None:
    blocking.serving(len)
    client = blocking.client()
    done = threading.Event()

    def use(change: zmqkit.Change) -> None:
        assert client.call("len", "four") == 4
        client.close()
        done.set()

    client.on_change(use)
    assert done.wait(BOUND_S)


def test_no_change_is_told_after_close(kit: Kit, told: Told) -> None:
    kit.serving(len)
    client = kit.client()
    client.on_change(told)
    told.next()
    client.close()
    assert len(told.changes) == 1
    with pytest.raises(zmqkit.UsageError, match="closed"):
        client.on_change(told)


def test_what_cannot_be_called_is_an_error(kit: Kit) -> None:
    async def later(change: zmqkit.Change) -> None:
        """It would have to be awaited."""

    for wrong in (5, later):
        with pytest.raises(zmqkit.UsageError, match=r"watch\(name\)"):
            kit.client(count=0).on_change(wrong)


# From the events of a core


@pytest.fixture
def changes() -> InstanceChanges:
    return InstanceChanges("orders")


@pytest.mark.parametrize(
    ("events", "told"),
    [
        (["up"], ["added up"]),
        (["up", "silent", "answering"], ["added up", "changed evasive", "changed up"]),
        (["up", "lost", "up"], ["added up", "changed lost", "changed up"]),
        (["up", "lost", "gone"], ["added up", "changed lost", "removed gone"]),
        (["gone"], []),
        (["up", "gone", "up"], ["added up", "removed gone", "added up"]),
        (["moved"], []),
    ],
)
def test_events_are_told_as_changes(
    changes: InstanceChanges, events: list[str], told: list[str]
) -> None:
    fields = {"name": "orders", "instance": "1a2b3c4d", "endpoint": "tcp://127.0.0.1:1"}
    found = [changes.of(Note(f"instance-{each}", fields)) for each in events]
    assert [f"{each.change} {each.state}" for each in found if each] == told
    assert {each.instance for each in found if each} <= {"orders-1a2b3c4d"}
