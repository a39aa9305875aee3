"""Who lacks descriptors hears so at once, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import zmqkit
import zmqkit.asyncio
from tests import packets
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.effects import Connect, Send
from zmqkit.drivers.perform import Driver
from zmqkit.errors import ConfigError
from zmqkit.limits import NODE_DESCRIPTORS, ROLE_DESCRIPTORS
from zmqkit.links.descriptors import check_spare
from zmqkit.links.profile import Profile
from zmqkit.links.zeromq import ZeromqLink
from zmqkit.node import node as node_module
from zmqkit.node.node import acquire, release


@contextmanager
def spare(count: int) -> Iterator[None]:
    """As if this process might open so many descriptors more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.open(os.devnull, os.O_RDONLY)]
    while len(held) <= count:
        held.append(os.dup(held[0]))
    for each in held:
        os.close(each)
    resource.setrlimit(resource.RLIMIT_NOFILE, (held[count], hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def opened(kind: str) -> Callable[[str], None]:
    """Begin to use one of the roles, which opens nothing before."""

    def begin(name: str) -> None:
        with getattr(zmqkit, kind)(name):
            pass

    begin.__name__ = kind
    return begin


def use(kind: str) -> Callable[[str], None]:
    """The same with one of asyncio's roles."""

    def begin(name: str) -> None:
        async def scene() -> None:
            role = getattr(zmqkit.asyncio, kind)(name)
            await (role.start() if kind == "Service" else role.ready(1, 0.0))

        with asyncio.Runner() as runner, spare(SPARE):
            runner.run(scene())

    return begin


SPARE = ROLE_DESCRIPTORS - 1
ROLES = [opened(kind) for kind in ("Client", "Service", "Publisher", "Subscriber")]


def test_so_many_can_be_opened_and_are_closed_again() -> None:
    with spare(5):
        check_spare(5, "this")
        check_spare(5, "this")
        with pytest.raises(ConfigError, match=r"this needs 6 .* only 5 more; .*ulimit -n"):
            check_spare(6, "this")
    with spare(0), pytest.raises(ConfigError, match="only 0 more"):
        check_spare(1, "this")


@pytest.mark.parametrize("count", [0, 5, SPARE, NODE_DESCRIPTORS - 1])
@pytest.mark.parametrize("make", ROLES)
@pytest.mark.parametrize("name", ["orders", "memory://orders"])
def test_first_role_without_descriptors_says_so_and_leaves_nothing(
    make: Callable[[str], object], name: str, count: int
) -> None:
    if make.__name__ in ("Service", "Publisher"):
        name = "orders"  # these have a name, and their address apart
    with spare(count), pytest.raises(ConfigError, match="ulimit -n"):
        make(name)
    assert not node_module._nodes


@pytest.mark.parametrize("make", ROLES)
def test_further_role_without_descriptors_says_so_and_leaves_the_others(
    make: Callable[[str], object],
) -> None:
    node = acquire()
    try:
        with spare(SPARE), pytest.raises(ConfigError, match="ulimit -n"):
            make("orders")
        assert len(node_module._nodes[""]) == 1
    finally:
        release(node)
    assert not node_module._nodes


@pytest.mark.parametrize("kind", ["Client", "Service", "Publisher", "Subscriber"])
def test_role_of_a_loop_without_descriptors_says_so(kind: str) -> None:
    with pytest.raises(ConfigError, match="ulimit -n"):
        use(kind)("orders")
    assert not node_module._nodes


def test_connection_without_descriptors_is_made_when_there_are_some(
    caplog: pytest.LogCaptureFixture,
) -> None:
    node = acquire()
    link = ZeromqLink(node.context, Profile.DATA)
    driver = Driver(ClientCore("orders", 1), link)
    try:
        with spare(3):
            for _ in range(3):
                driver.perform([Connect(b"a", "tcp://127.0.0.1:1")])
            assert not link.send(b"a", (b"x",))
        driver.perform([Send(b"a", packets.hello(1))])
        assert list(link._peers) == [b"a"]
        driver.notes.tell()
        [said] = caplog.messages
        assert "a connection to tcp://127.0.0.1:1 needs" in said and "ulimit -n" in said
    finally:
        link.close(0)
        release(node)
