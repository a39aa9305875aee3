"""ZeroMQ's traps, and how the link steps around each."""

from __future__ import annotations

import math
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from socket import create_server

import pytest
import zmq

from tests.ports import quiet_endpoint, quiet_server
from zmqkit.errors import AddressTaken, ConfigError
from zmqkit.limits import CREDIT, PACKET_BYTES_MAX
from zmqkit.links import listening
from zmqkit.links.profile import Profile
from zmqkit.links.zeromq import ZeromqLink
from zmqkit.model import PeerId, Reach

ROOT = Path(__file__).resolve().parents[2]
BOUND_S = 20.0
PACKETS, BYTES = 256, 4 << 20
ANY_PORT = (0, 0)
ANYWHERE = "tcp://127.0.0.1:0"

Context = zmq.Context[zmq.Socket[bytes]]
Open = Callable[[Profile], ZeromqLink]


@pytest.fixture
def context() -> Iterator[Context]:
    context: Context = zmq.Context()
    yield context
    context.term()


@pytest.fixture
def opened(context: Context) -> Iterator[Open]:
    links: list[ZeromqLink] = []

    def opened(profile: Profile) -> ZeromqLink:
        links.append(ZeromqLink(context, profile))
        return links[-1]

    yield opened
    for link in links:
        link.close(0)


@pytest.fixture
def raw(context: Context) -> Iterator[zmq.Socket[bytes]]:
    """A socket of somebody else's program."""
    with context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        yield socket


def await_readable(link: ZeromqLink) -> None:
    assert select.select([link.fileno()], [], [], BOUND_S)[0]


def received(link: ZeromqLink, count: int) -> list[tuple[PeerId, tuple[bytes, ...]]]:
    messages: list[tuple[PeerId, tuple[bytes, ...]]] = []
    while len(messages) < count:
        for peer, frames in link.receive(PACKETS, BYTES):
            messages.append((peer, tuple(bytes(frame) for frame in frames)))
        if len(messages) < count and not link.pending():
            await_readable(link)
    return messages


def next_changes(link: ZeromqLink) -> list[tuple[PeerId, bool]]:
    """The next news of connections; the descriptor tells when there is some."""
    until = time.monotonic() + BOUND_S
    while time.monotonic() < until:
        link.receive(PACKETS, BYTES)
        if changes := link.changes():
            return changes
        if not link.pending():
            await_readable(link)
    raise AssertionError("no news")


def test_reach_is_that_of_the_address_a_connection_has(opened: Open) -> None:
    both, near = opened(Profile.DATA), opened(Profile.DATA)
    here = both.bind(ANYWHERE, ANY_PORT)
    port = both.bind("tcp://*:0", ANY_PORT).rpartition(":")[2]
    near.connect(b"here", here)
    near.connect(b"all", f"tcp://127.0.0.1:{port}")
    assert near.send(b"here", (b"here",)) and near.send(b"all", (b"all",))
    reaches = {frames[0]: both.reach(peer) for peer, frames in received(both, 2)}
    assert reaches == {b"here": Reach.LOCAL, b"all": Reach.PLAIN}
    assert near.reach(b"here") is near.reach(b"all") is Reach.LOCAL


def test_a_port_is_free_at_once_after_a_close(context: Context) -> None:
    first = ZeromqLink(context, Profile.DATA)
    endpoint = first.bind(quiet_endpoint(), ANY_PORT)
    port = int(endpoint.rpartition(":")[2])
    first.close(0)
    for number in range(200):  # libzmq has not always closed it by then
        link = ZeromqLink(context, Profile.DATA)
        if number % 2:
            link.bind(endpoint, ANY_PORT)
        else:
            link.bind(ANYWHERE, (port, port))
        link.close(0)


@pytest.mark.parametrize("others", [0, 2])
def test_send_does_not_swallow_what_arrived(opened: Open, others: int) -> None:
    far, near = opened(Profile.DATA), opened(Profile.DATA)
    endpoint = far.bind(ANYWHERE, ANY_PORT)
    for number in range(others):
        near.connect(b"other%d" % number, endpoint)
    near.connect(b"far", endpoint)
    assert near.send(b"far", (b"hello",))
    [(peer, _)] = received(far, 1)
    for number in range(100):
        while near.pending():
            near.receive(PACKETS, BYTES)
        assert far.send(peer, (b"%d" % number,))
        await_readable(near)
        assert near.send(b"far", (b"this takes the edge",))
        assert near.pending()
        assert received(near, 1) == [(b"far", (b"%d" % number,))]
        received(far, 1)


def test_large_messages_do_not_fill_memory_before_they_are_read(opened: Open) -> None:
    far, near = opened(Profile.DATA), opened(Profile.DATA)
    near.connect(b"far", far.bind(ANYWHERE, ANY_PORT))
    for _ in range(32):
        assert near.send(b"far", (bytes(1 << 20),))
    sizes: list[int] = []
    while sum(sizes) < 32:
        sizes.append(len(far.receive(PACKETS, BYTES)))
        if sum(sizes) < 32 and not far.pending():
            await_readable(far)
    assert max(sizes) <= BYTES >> 20


def test_last_messages_survive_close_and_the_end_of_the_context(opened: Open) -> None:
    far = opened(Profile.DATA)
    endpoint = far.bind(ANYWHERE, ANY_PORT)
    own: Context = zmq.Context()
    near = ZeromqLink(own, Profile.DATA)
    near.connect(b"far", endpoint)
    # Some large enough to leave without a copy: those once took the process down here.
    sent = [(bytes([number]) * (1 << 17 if number % 10 == 0 else 10),) for number in range(100)]
    assert all(near.send(b"far", frames) for frames in sent)
    near.close(BOUND_S)
    own.term()
    assert [frames for _, frames in received(far, len(sent))] == sent


def test_answers_survive_close_and_the_end_of_the_context(opened: Open) -> None:
    own: Context = zmq.Context()
    far, near = ZeromqLink(own, Profile.DATA), opened(Profile.DATA)
    near.connect(b"far", far.bind(ANYWHERE, ANY_PORT))
    assert near.send(b"far", (b"hello",))
    [(peer, _)] = received(far, 1)
    sent = [(b"%d" % number,) for number in range(500)]
    assert all(far.send(peer, frames) for frames in sent)
    far.close(BOUND_S)
    own.term()
    assert [frames for _, frames in received(near, len(sent))] == sent


def test_close_does_not_wait_for_nobody(context: Context) -> None:
    near = ZeromqLink(context, Profile.DATA)
    near.connect(b"far", "tcp://127.0.0.1:1")
    assert near.send(b"far", (b"x",))
    near.close(0)


def test_an_end_does_not_wait_for_ever_for_one_who_does_not_read(
    raw: zmq.Socket[bytes],
) -> None:
    own: Context = zmq.Context()
    far = ZeromqLink(own, Profile.DATA, 0.1)
    raw.rcvhwm = 1
    raw.connect(far.bind(ANYWHERE, ANY_PORT))
    raw.send(b"hello")
    [(peer, _)] = received(far, 1)
    assert all(far.send(peer, (bytes(1 << 20),)) for _ in range(64))
    far.close(math.inf)
    end = threading.Thread(target=own.term, daemon=True)
    end.start()
    end.join(BOUND_S)
    assert not end.is_alive()


def test_an_end_does_not_wait_for_a_peer_that_just_went() -> None:
    """Without care about 1 of 250 ends waited for all of the time that the link may linger.

    On a busy machine libzmq may hear too late that a peer went, so one of them may still wait.
    """
    ends = []
    for number in range(400):
        own: Context = zmq.Context()
        others: Context = zmq.Context()
        far = ZeromqLink(own, Profile.DATA, 2 * BOUND_S)
        near = others.socket(zmq.DEALER)
        near.connect(far.bind(ANYWHERE, ANY_PORT))
        near.send(b"hello")
        [(peer, _)] = received(far, 1)
        near.close(linger=0)
        send_at = time.perf_counter() + number * 1e-6
        while time.perf_counter() < send_at:
            pass
        far.send(peer, (b"bye",))
        far.close(math.inf)
        others.term()
        ends.append(threading.Thread(target=own.term, daemon=True))
        ends[-1].start()
    end_at = time.monotonic() + BOUND_S
    for end in ends:
        end.join(max(0.0, end_at - time.monotonic()))
    assert sum(end.is_alive() for end in ends) <= 1


def test_router_at_its_mark_refuses_and_never_drops(opened: Open) -> None:
    far, near = opened(Profile.DATA), opened(Profile.DATA)
    near.connect(b"far", far.bind(ANYWHERE, ANY_PORT))
    assert near.send(b"far", (b"hello",))
    [(peer, _)] = received(far, 1)
    taken = 0
    while far.send(peer, (taken.to_bytes(4, "big") + bytes(8000),)):
        taken += 1
    assert taken > CREDIT
    for _ in range(100):
        far.send(peer, (b"refused", b"in one piece"))
    arrived = received(near, taken)
    numbers = [int.from_bytes(frames[0][:4], "big") for _, frames in arrived[:taken]]
    assert numbers == list(range(taken))


def test_foreign_message_of_many_frames_takes_little(
    opened: Open, raw: zmq.Socket[bytes]
) -> None:
    far = opened(Profile.DATA)
    raw.connect(far.bind(ANYWHERE, ANY_PORT))
    raw.send_multipart([b"x"] * 10_000)
    raw.send(b"next")
    [(_, many), (_, last)] = received(far, 2)
    assert 2 < len(many) <= 16
    assert last == (b"next",)


def test_foreign_message_of_three_frames_is_not_read_as_another_peers(
    opened: Open, raw: zmq.Socket[bytes]
) -> None:
    far, victim = opened(Profile.DATA), opened(Profile.DATA)
    endpoint = far.bind(ANYWHERE, ANY_PORT)
    victim.connect(b"far", endpoint)
    assert victim.send(b"far", (b"hello",))
    [(victim_peer, _)] = received(far, 1)
    raw.connect(endpoint)
    raw.send_multipart([b"junk", victim_peer[1:], b"forged"])
    raw.send(b"honest")
    forged, honest = received(far, 2)
    assert forged[0] == honest[0] != victim_peer
    assert forged[1] == (b"junk", victim_peer[1:], b"forged")
    assert honest[1] == (b"honest",)


@pytest.mark.slow
def test_message_above_the_limit_is_never_taken_in(
    opened: Open, raw: zmq.Socket[bytes]
) -> None:
    far = opened(Profile.DATA)
    raw.connect(far.bind(ANYWHERE, ANY_PORT))
    raw.send(bytes(PACKET_BYTES_MAX + 1))
    raw.send(b"small")
    # The connection ends, with what it held; the sender opens it anew.
    poller = zmq.Poller()
    poller.register(raw, zmq.POLLOUT)
    until = time.monotonic() + BOUND_S
    messages: list[tuple[PeerId, tuple[bytes, ...]]] = []
    while not messages and time.monotonic() < until:
        poller.poll(10)
        raw.send(b"small")
        select.select([far.fileno()], [], [], 0.01)
        messages = [(p, tuple(map(bytes, f))) for p, f in far.receive(PACKETS, BYTES)]
    assert {frames for _, frames in messages} == {(b"small",)}


def sockets(link: ZeromqLink) -> list[zmq.Socket[bytes]]:
    return [port.socket for port in (*link._bound, *link._peers.values())]


def test_data_sockets_have_finite_marks_and_no_heartbeats(opened: Open) -> None:
    link = opened(Profile.DATA)
    link.connect(b"far", link.bind(ANYWHERE, ANY_PORT))
    assert len(sockets(link)) == 2
    for socket in sockets(link):
        assert socket.getsockopt(zmq.HEARTBEAT_IVL) == 0
        assert CREDIT < socket.getsockopt(zmq.SNDHWM) <= 10 * CREDIT
        assert CREDIT < socket.getsockopt(zmq.RCVHWM) <= 10 * CREDIT
        assert socket.getsockopt(zmq.TCP_MAXRT) <= 0


def test_control_sockets_have_heartbeats_and_no_mark_to_receive(opened: Open) -> None:
    link = opened(Profile.CONTROL)
    link.connect(b"far", link.bind(ANYWHERE, ANY_PORT))
    for socket in sockets(link):
        assert socket.getsockopt(zmq.HEARTBEAT_IVL) == 1000
        assert socket.getsockopt(zmq.HEARTBEAT_TIMEOUT) == 3000
        assert socket.getsockopt(zmq.HEARTBEAT_TTL) == 3000
        assert socket.getsockopt(zmq.RCVHWM) == 0
        assert socket.getsockopt(zmq.IMMEDIATE) == 1


@pytest.mark.parametrize("profile", list(Profile))
def test_no_socket_waits_for_ever_or_takes_in_what_is_too_large(
    opened: Open, profile: Profile
) -> None:
    link = opened(profile)
    link.connect(b"far", link.bind(ANYWHERE, ANY_PORT))
    for socket in sockets(link):
        assert socket.getsockopt(zmq.LINGER) == 0
        assert socket.getsockopt(zmq.MAXMSGSIZE) == PACKET_BYTES_MAX
        assert 0 < socket.getsockopt(zmq.CONNECT_TIMEOUT) <= 1000
        assert 0 < socket.getsockopt(zmq.HANDSHAKE_IVL) <= 3000
        assert 0 < socket.getsockopt(zmq.RECONNECT_IVL_MAX) <= 2000


def test_address_of_another_machine_is_not_one_that_is_taken(opened: Open) -> None:
    with pytest.raises(ConfigError, match="cannot listen on") as caught:
        opened(Profile.DATA).bind("tcp://192.0.2.1:5555", ANY_PORT)
    assert not isinstance(caught.value, AddressTaken)
    assert str(caught.value).count("192.0.2.1") == 1


def test_port_is_taken_from_the_range(opened: Open) -> None:
    first = opened(Profile.DATA).bind(ANYWHERE, ANY_PORT)
    port = int(first.rpartition(":")[2])
    with pytest.raises(AddressTaken, match="in use; ZMQKIT_PORTS") as caught:
        opened(Profile.DATA).bind(ANYWHERE, (port, port))
    assert str(caught.value).endswith(
        f"ZMQKIT_PORTS={port}-{port} has no free port left; name more: two for each process, "
        "and one for each service, worker and publisher in it"
    )
    with pytest.raises(AddressTaken, match=r"in use; choose another port$"):
        opened(Profile.DATA).bind(first, (port, port))
    second = opened(Profile.DATA).bind(ANYWHERE, (port, min(65535, port + 100)))
    assert port < int(second.rpartition(":")[2]) <= port + 100


@pytest.mark.parametrize("profile", [Profile.DATA, Profile.TOPICS])
def test_a_free_port_of_two_addresses_is_one_that_is_free_at_both(
    opened: Open, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    binds = listening._bind
    with ExitStack() as others:

        def bind(socket: zmq.Socket[bytes], endpoint: str) -> str:
            """Let somebody else take the first three ports at the second address before."""
            if len(taken) < 3 and endpoint.startswith("tcp://127.0.0.1:"):
                taken.append(int(endpoint.rpartition(":")[2]))
                others.enter_context(create_server(("127.0.0.1", taken[-1])))
            return binds(socket, endpoint)

        taken: list[int] = []
        monkeypatch.setattr(listening, "_bind", bind)
        link = opened(profile)
        port = int(link.bind("tcp://127.8.9.1:0", ANY_PORT, "127.0.0.1").rpartition(":")[2])
        assert len(taken) == 3 and port not in taken
        for host in ("127.0.0.1", "127.8.9.1"):
            with pytest.raises(OSError, match="in use"):
                create_server((host, port))


def test_a_port_of_a_range_is_free_at_both_addresses(opened: Open) -> None:
    with quiet_server() as server:
        first = server.getsockname()[1]
        ports = (first, first + 100)
        bound = opened(Profile.DATA).bind("tcp://127.8.9.1:0", ports, "127.0.0.1")
        assert first < int(bound.rpartition(":")[2]) <= first + 100


def test_a_port_that_is_taken_at_the_other_address_is_an_error_that_names_it(
    opened: Open,
) -> None:
    with quiet_server() as server:
        port = server.getsockname()[1]
        with pytest.raises(AddressTaken, match=f"127.0.0.1:{port}, for peers on this machine"):
            opened(Profile.DATA).bind(f"tcp://127.8.9.1:{port}", ANY_PORT, "127.0.0.1")
    assert opened(Profile.DATA).bind(f"tcp://127.8.9.1:{port}", ANY_PORT, "127.0.0.1")


def test_address_is_given_as_it_was_asked_for(opened: Open) -> None:
    link = opened(Profile.DATA)
    assert link.bind(ANYWHERE, ANY_PORT).rpartition(":")[0] == "tcp://127.0.0.1"
    assert link.bind("tcp://[::1]:0", ANY_PORT).rpartition(":")[0] == "tcp://[::1]"


each_watched = pytest.mark.parametrize("profile", [Profile.CONTROL, Profile.FOREIGN])


@each_watched
def test_watched_connection_is_told_of_when_it_is_made(opened: Open, profile: Profile) -> None:
    far, near = opened(profile), opened(profile)
    near.connect(b"far", far.bind(ANYWHERE, ANY_PORT))
    assert next_changes(near) == [(b"far", True)]


@each_watched
def test_watched_connection_is_told_of_when_it_breaks_and_when_it_heals(
    opened: Open, context: Context, profile: Profile
) -> None:
    near = opened(profile)
    far = ZeromqLink(context, profile)
    endpoint = far.bind(quiet_endpoint(), ANY_PORT)
    near.connect(b"far", endpoint)
    assert next_changes(near) == [(b"far", True)]
    far.close(0)
    assert next_changes(near) == [(b"far", False)]
    opened(profile).bind(endpoint, ANY_PORT)
    assert (b"far", True) in next_changes(near)


@each_watched
def test_nothing_is_parked_on_a_watched_connection_that_is_not_there(
    opened: Open, profile: Profile
) -> None:
    near = opened(profile)
    near.connect(b"far", "tcp://127.0.0.1:1")
    assert not near.send(b"far", (b"x",))


LISTENER = """
import sys
import zmq
from zmqkit.links.profile import Profile
from zmqkit.links.zeromq import ZeromqLink
link = ZeromqLink(zmq.Context(), Profile.CONTROL)
print(link.bind("tcp://127.0.0.1:0", (0, 0)), flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_control_connection_tells_of_a_killed_process(opened: Open) -> None:
    near = opened(Profile.CONTROL)
    process = subprocess.Popen(
        [sys.executable, "-c", LISTENER],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        near.connect(b"far", process.stdout.readline().strip())
        assert next_changes(near) == [(b"far", True)]
        os.kill(process.pid, signal.SIGKILL)
        assert next_changes(near) == [(b"far", False)]
