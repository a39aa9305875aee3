"""One engine gives way to another when this host's addresses change, and nothing is lost."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from zeroconf import RecordUpdateListener

from tests.discovery.kit import Peer, Stranger, peers, record, run
from zmqkit.discovery import mdns
from zmqkit.discovery.addresses import Here, here
from zmqkit.model import Reach

pytestmark = pytest.mark.slow

OFTEN = {"watch_s": 0.05, "watch_longest_s": 0.05}
"""How often they are looked at."""


class Interfaces:
    """What a host has, as the test wants it: loopback under changing numbers, or nothing."""

    def __init__(self) -> None:
        self.now = here(Reach.LOCAL)

    def __call__(self, scope: str) -> list[Here]:
        return self.now

    def replace(self) -> None:
        """Have the same address on another interface."""
        self.now = [replace(each, index=each.index + 1) for each in self.now]


@pytest.fixture
def interfaces(monkeypatch: pytest.MonkeyPatch) -> Interfaces:
    """The interfaces that are looked at."""
    interfaces = Interfaces()
    monkeypatch.setattr(mdns, "here", interfaces)
    return interfaces


def test_roles_wait_for_an_interface(mine: str, interfaces: Interfaces) -> None:
    interfaces.now = []

    async def scene() -> None:
        async with peers(mine, 2, **OFTEN) as (left, right):
            ours, withdrawn = record(f"{mine}1"), record(f"{mine}2")
            for each in (ours, withdrawn):
                await left.engine.announce(each)
            await left.engine.withdraw(withdrawn.incarnation)
            assert left.events() == right.events() == ["mdns.failed"]
            assert "no interface" in left.reasons()
            interfaces.now = here(Reach.LOCAL)
            await right.hears(ours)
            assert list(right.records) == [ours.incarnation]
            assert left.renewals == 0

    run(scene())


def test_new_engine_announces_and_knows_what_the_one_before_did(
    mine: str, interfaces: Interfaces
) -> None:
    async def scene() -> None:
        async with peers(mine, 2, **OFTEN) as (left, right):
            ours, theirs, gone = (record(f"{mine}{n}") for n in range(3))
            await left.engine.announce(ours)
            for each in (theirs, gone):
                await right.engine.announce(each)
                await left.hears(each)
            await right.hears(ours)
            for _ in range(3):
                interfaces.replace()
                await left.until(lambda: left.events().count("mdns.renewed") > 0)
                left.told.clear()
            assert left.renewals > 0
            # What was heard before the change is no news after it, and its end is heard.
            await right.engine.withdraw(gone.incarnation)
            await left.misses(gone)
            after = replace(theirs, port=6000)
            await right.engine.announce(after)
            await left.hears(after)
            assert {event for event in left.events() if not event.startswith("mdns.")} == {
                "vanished mdns:loopback",
                "heard mdns:loopback",
            }
            assert left.events().count("heard mdns:loopback") == 1
            # The other side heard but one end, of its own record, and no goodbye of ours.
            assert right.events().count("vanished mdns:loopback") == 1
            assert ours.incarnation in right.records

    run(scene())


def test_engine_stays_while_there_is_no_interface(mine: str, interfaces: Interfaces) -> None:
    async def scene() -> None:
        async with peers(mine, 2, **OFTEN) as (left, right):
            interfaces.now = []
            await left.until(lambda: left.events() == ["mdns.failed"])
            assert left.stranded == [True]
            ours = record(mine)
            await right.engine.announce(ours)
            await left.hears(ours)
            interfaces.now = here(Reach.LOCAL)
            await left.until(lambda: left.events()[-1] == "mdns.renewed")
            assert left.stranded == [True, False]

    run(scene())


def test_announcements_are_repeated(mine: str, interfaces: Interfaces) -> None:
    class Listener(RecordUpdateListener):
        """Hears without asking."""

        def async_update_records(self, zc: Any, now: float, records: Any) -> None:
            for update in records:
                if mine in str(update.new):
                    peer.tell("repeated", update)

    async def scene() -> None:
        async with (
            peers(mine, 1, repeat_s=0.1, **OFTEN) as (peer_of_ours,),
            Stranger() as other,
        ):
            nonlocal peer
            peer = peer_of_ours
            await peer.engine.announce(record(mine))
            await peer.until(lambda: bool(peer.records))
            other.engine.zeroconf.async_add_listener(Listener(), None)
            for _ in range(5):
                peer.told.clear()
                await peer.until(lambda: "repeated" in peer.events())

    peer = Peer(mine)
    run(scene())


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    """As if this process had as many descriptors open as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_engine_that_cannot_start_says_so_once_and_starts_later(
    mine: str, interfaces: Interfaces
) -> None:
    async def scene() -> None:
        peer, ours = Peer(mine), record(mine)
        with no_more_descriptors():
            await peer.engine.open()
            for _ in range(3):
                await peer.engine._look()
        assert peer.events() == ["mdns.failed"]
        assert "Too many open files" in peer.reasons()
        await peer.engine.announce(ours)
        await peer.hears(ours)
        await peer.engine.close()

    run(scene())


def test_failed_change_leaves_the_engine_before(mine: str, interfaces: Interfaces) -> None:
    async def scene() -> None:
        async with peers(mine, 2, **OFTEN) as (left, right):
            with no_more_descriptors():
                interfaces.replace()
                await left.until(lambda: "mdns.failed" in left.events())
                ours = record(mine)
                await right.engine.announce(ours)
                await left.hears(ours)
            await left.until(lambda: "mdns.renewed" in left.events())

    run(scene())
