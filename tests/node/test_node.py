"""Several nodes in one process, none of which hears of another by multicast."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest
import zmq

from zmqkit.core.effects import News, Tell
from zmqkit.core.membership.interests import key_of
from zmqkit.discovery import mdns
from zmqkit.discovery.addresses import here
from zmqkit.environment import Environment
from zmqkit.errors import ConfigError, UsageError
from zmqkit.limits import LOOK_S, MembershipLimits
from zmqkit.links.profile import Profile
from zmqkit.links.zeromq import ZeromqLink
from zmqkit.model import Reach, Record
from zmqkit.node import node as node_module
from zmqkit.node.engines import Engines
from zmqkit.node.node import Node

KEY = key_of("service", "orders")
BOUND_S = 30.0

Start = Callable[..., Node]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a node where multicast does not pass; it is closed with the test."""

    async def nowhere(self: Engines, reach: Reach) -> None:
        pass

    monkeypatch.setattr(Engines, "_open", nowhere)
    started: list[Node] = []

    def start(*peers: Node, file: str = "") -> Node:
        given = tuple(f"127.0.0.1:{peer.open_control(Reach.LOCAL)}" for peer in peers)
        started.append(Node(Environment(given, file)))
        return started[-1]

    yield start
    for node in started:
        node.close()


def serve(node: Node, incarnation: int = 0xA) -> None:
    """Have the node list a role."""
    record = Record(
        "orders", "service", incarnation, node.process, (), node.open_control(Reach.LOCAL), 6000
    )
    node.announce(record, Reach.LOCAL)


def news(node: Node) -> Queue[tuple[News, int]]:
    """What the node tells of instances of orders."""
    queue: Queue[tuple[News, int]] = Queue()

    def listen(tell: Tell) -> None:
        if tell.news is not News.HINT:
            queue.put((tell.news, tell.incarnation))

    node.want(KEY, listen, role="service", reach=Reach.LOCAL)
    return queue


def test_two_that_share_a_static_peer_find_each_other(start: Start) -> None:
    shared = start()
    server, user = start(shared), start(shared)
    serve(server)
    assert news(user).get(timeout=BOUND_S) == (News.FOUND, 0xA)
    [row] = user.listings()
    assert row.state == "up"


@pytest.mark.slow
def test_a_latecomer_is_found_within_seconds(start: Start) -> None:
    shared = start()
    user = start(shared)
    told = news(user)
    with pytest.raises(Empty):
        told.get(timeout=0.5)
    server = start(shared)
    serve(server)
    assert told.get(timeout=BOUND_S) == (News.FOUND, 0xA)
    serve(server, 0xB)
    assert told.get(timeout=BOUND_S) == (News.FOUND, 0xB)


def test_the_roles_of_a_static_peer_itself_are_found_too(start: Start) -> None:
    shared = start()
    told = news(start(shared))
    serve(shared)
    assert told.get(timeout=BOUND_S) == (News.FOUND, 0xA)


@pytest.mark.slow
def test_a_static_peer_that_a_file_names_later_is_asked(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "peers"
    file.write_text("# nobody yet\n")
    server = start()
    serve(server)
    user = start(file=str(file))
    told = news(user)
    file.write_text(f"127.0.0.1:{server.open_control(Reach.LOCAL)}\n")
    assert told.get(timeout=BOUND_S + LOOK_S) == (News.FOUND, 0xA)
    file.write_text("# nobody any more\n")
    until(lambda: not user.ask(lambda: user._seeded))


def until(condition: Callable[[], bool]) -> None:
    """Ask again and again until it holds."""
    end = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < end


def test_a_peers_file_that_is_wrong_is_an_error_before_anything_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZMQKIT_PEERS_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="ZMQKIT_PEERS_FILE"):
        node_module.acquire()


def test_a_process_has_no_more_roles_than_its_directory_has_room_for() -> None:
    node = Node(Environment(), MembershipLimits(own_max=2))
    try:
        node.admit()
        node.admit()
        with pytest.raises(UsageError, match="has 2 services and publishers"):
            node.admit()
        node.dismiss()
        node.admit()
    finally:
        node.close()


def test_a_static_peer_on_another_machine_is_not_asked_without_a_word(
    caplog: pytest.LogCaptureFixture, start: Start
) -> None:
    node = Node(Environment(("192.0.2.1:5555", "nowhere.example:1")))
    try:
        for _ in range(2):
            news(node)
        rows = node.static_peers()
    finally:
        node.close()
    assert [row.address for row in rows] == ["192.0.2.1:5555", "nowhere.example:1"]
    assert {row.state for row in rows} == {"not asked: it is on another machine"}
    warned = [record.getMessage() for record in caplog.records]
    assert len(warned) == 2
    assert warned[0].startswith("static peer 192.0.2.1:5555 is on another machine and is not")
    assert "ZMQKIT_INSECURE=1" in warned[0]


@pytest.mark.slow
def test_a_machine_without_a_network_says_so_to_those_who_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mdns, "here", lambda reach: here(reach) if reach is Reach.LOCAL else [])
    told: Queue[str] = Queue()
    node = Node(Environment(space="nobody-else"))  # not the brokers of other tests
    try:
        node.want(KEY, lambda tell: told.put(tell.text), role="service", reach=Reach.PLAIN)
        while "it has no address on a network" not in (said := told.get(timeout=BOUND_S)):
            pass
        assert node.explain(KEY, Reach.PLAIN) == said
    finally:
        node.close()


class HalfMade(zmq.Socket[bytes]):
    """One that a KeyboardInterrupt leaves before its context knows of it."""

    def __init__(self, context: zmq.Context[Any], kind: int) -> None:
        super().__init__(context, kind)
        raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore:Unclosed socket:ResourceWarning")
def test_an_interrupt_while_a_socket_is_made_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(zmq.Context, "_socket_class", HalfMade)
        with pytest.raises(KeyboardInterrupt):
            Node(Environment())  # it would wait for ever for the socket's end
    node = Node(Environment())
    with monkeypatch.context() as patched:
        patched.setattr(zmq.Context, "_socket_class", HalfMade)
        link = ZeromqLink(node.context, Profile.DATA)
        with pytest.raises(KeyboardInterrupt):
            link.bind("tcp://127.0.0.1:0", (0, 0))
        link.close(0)
        node.close()


def test_what_runs_on_the_nodes_thread_may_ask_the_node(start: Start) -> None:
    node = start()
    answers: Queue[object] = Queue()
    node._post(lambda: answers.put(node.open_control(Reach.LOCAL)))
    assert answers.get(timeout=BOUND_S) == node.open_control(Reach.LOCAL)
    node._post(lambda: answers.put(node.listings()))
    assert answers.get(timeout=BOUND_S) == []


def test_a_node_that_is_closed_on_its_own_thread_closes(start: Start) -> None:
    node = Node(Environment((), ""))
    returned: Queue[None] = Queue()
    node._post(lambda: returned.put(node.close()))
    returned.get(timeout=BOUND_S)
    node._thread.join(BOUND_S)
    assert not node._thread.is_alive()
    for each in threading.enumerate():  # it may have ended by now
        if each.name == "zmqkit-close":
            each.join(BOUND_S)
    assert node.context.closed


def test_a_finalizer_in_the_middle_of_an_acquisition_may_give_a_node_back() -> None:
    node = node_module.acquire()
    other = node_module.acquire("another")
    with node_module._lock:  # as while a node is made, when a collection may begin
        node_module.release(other)
    assert other.context.closed and not node.context.closed
    node_module.release(node)


def test_a_service_that_a_broker_offers_is_found_and_its_end_is_told(start: Start) -> None:
    broker = start()
    told = news(start(broker))
    control = broker.open_control(Reach.LOCAL)
    record = Record("m", "majordomo", 1, broker.process, (), control, 6000)
    broker.announce(record, Reach.LOCAL)
    broker.offer(Record("orders", "broker", 2, broker.process, (), control, 6000), Reach.LOCAL)
    assert told.get(timeout=BOUND_S) == (News.FOUND, 2)
    broker.retract(2)
    assert told.get(timeout=BOUND_S) == (News.GONE, 2)
