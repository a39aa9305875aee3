"""Every core, whatever it is sent: nothing is raised, and it stays sound."""

from __future__ import annotations

import os
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import packets
from tests.core.topics import publications
from zmqkit.core.calls.call import CallOptions
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.dialling import DEVICE_PEER, DiallingCore
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Advance, Core, Handle, News, Tell
from zmqkit.core.membership.interests import EVERYBODY
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.core.tasks.lease import STREAMER, TASK
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.core.tasks.share import Share
from zmqkit.core.tasks.streamer import StreamerCore
from zmqkit.core.tasks.task import Task
from zmqkit.core.topics.forwarder import ForwarderCore
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.core.topics.subscriber import SubscriberCore
from zmqkit.forwarder_limits import ForwarderHistory, ForwarderLimits
from zmqkit.limits import QUEUE_MESSAGES
from zmqkit.model import EVERY_PEER, Frames, Reach, Record
from zmqkit.simulation.garbage import frames, lie, spoil, tasks
from zmqkit.wire import history, publication
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode
from zmqkit.wire.rows import request_row

US, THEM, PROCESS = 1, 0xA, 9
PEER = THEM.to_bytes(8, "big")
CONTROL = b"n" + PROCESS.to_bytes(8, "big")
SOURCE = publications.peer_of(THEM)
FORWARDED = b"p0/" + THEM.to_bytes(8, "big")
COUNT = int(os.environ.get("ZMQKIT_GARBAGE", "10000")) // 3

METAS = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 1 << 64 - 1) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)


def client() -> ClientCore:
    """A client in the middle of calls and streams of one instance, that knows another."""
    core = ClientCore("orders", US)
    core.hear(Tell(News.FOUND, "", THEM, "tcp://127.0.0.1:5000"), 0.0)
    core.hear(Tell(News.FOUND, "", THEM + 1, "tcp://127.0.0.1:5001"), 0.0)
    core.receive(PEER, packets.welcome(THEM, US, idempotent=["add"]), 0.0)
    for _ in range(5):
        core.submit("add", request_row("add", None, (), {}), None, CallOptions(), 1, 0.0)
    for _ in range(3):
        core.stream("add", request_row("add", None, (), {}), None, CallOptions(), 0.0)
    core.flush(0.0)
    core.receive(PEER, packets.items(THEM, US, 6, 0, "a", "b"), 0.0)
    return core


def service() -> ServiceCore:
    """A service that runs one request while another waits, and has a stream without credit."""
    core = ServiceCore(THEM, {"add": False}, 1, {"count": False})
    [effect] = core.receive(b"p", packets.stream(US, THEM, 3, window=(1, 9)), 0.0)
    assert isinstance(effect, Advance)
    core.yielded(effect.requests[0], Answer(wire.REPLY, encode("a")), 0.0)
    core.paused(effect.requests[0], 0.0)
    core.flush(0.0)
    core.receive(b"p", packets.request(US, THEM, 1, 2), 0.0)
    return core


def membership() -> MembershipCore:
    """Membership with a neighbour."""
    core = MembershipCore(US)
    record = Record("orders", "service", THEM, PROCESS, ("127.0.0.1",), 5000, 6000)
    core.heard(record, "mdns", 0.0)
    core.want(EVERYBODY, 0.0, Reach.LOCAL)
    core.receive(CONTROL, packets.directory(PROCESS, ("orders", "service", THEM, 6000)), 0.0)
    return core


def publisher() -> PublisherCore:
    """A publisher that waits for one subscriber, to which it has sent half a window."""
    core = PublisherCore(THEM, waits=True)
    core.receive(EVERY_PEER, publications.enters(US), 0.0)
    core.receive(EVERY_PEER, publications.hello(source=US, target=THEM), 0.0)
    for _ in range(QUEUE_MESSAGES // 2):
        core.audience.sent(1, 1, 0.0)
    return core


def subscriber() -> SubscriberCore:
    """A subscriber that has read from one publisher and knows another."""
    core = SubscriberCore("weather", US, [""])
    core.hear(Tell(News.FOUND, "", THEM, "tcp://127.0.0.1:5000"), 0.0)
    core.hear(Tell(News.FOUND, "", THEM + 1, "tcp://127.0.0.1:5001"), 0.0)
    core.receive(SOURCE, publications.welcome(waits=True, source=THEM, target=US), 0.0)
    core.receive(SOURCE, publications.publish("t", 1, 1, source=THEM), 0.0)
    return core


def forwarder() -> ForwarderCore:
    """A forwarder with two publishers and a subscriber, which holds a packet and a mark."""
    limits = ForwarderLimits(window_bytes=1000, window_messages=10)
    core = ForwarderCore("weather", US, limits)
    core.hear(Tell(News.FOUND, "publisher/weather", THEM, "tcp://127.0.0.1:5000"), 0.0)
    core.hear(Tell(News.FOUND, "publisher/weather", THEM + 1, "tcp://127.0.0.1:5001"), 0.0)
    core.receive(EVERY_PEER, publications.enters(THEM + 2), 0.0)
    core.receive(EVERY_PEER, publications.hello(source=THEM + 2, target=US), 0.0)
    core.flush(0.0)
    peer = core.sources[0].peer
    welcome = publications.welcome(core.sources[0].token, waits=True, source=THEM, target=US)
    core.receive(peer, welcome, 0.0)
    core.receive(peer, publications.publish("t", 1, bytes(2000), source=THEM), 0.0)
    core.receive(peer, publications.publish("t", 2, "b", source=THEM), 0.0)
    core.receive(peer, publications.mark(1, source=THEM), 0.0)
    assert core.held == 1
    return core


def forwarder_of_subscribers() -> ForwarderCore:
    """The same; what comes is from its subscriber."""
    return forwarder()


def forwarder_with_history() -> ForwarderCore:
    """A forwarder with a history that has asked a publisher for what it lacks."""
    core = ForwarderCore("weather", US, history=ForwarderHistory())
    core.hear(Tell(News.FOUND, "publisher/weather", THEM, "tcp://127.0.0.1:5000"), 0.0)
    core.receive(EVERY_PEER, publications.enters(THEM + 2), 0.0)
    core.receive(EVERY_PEER, publications.hello(source=THEM + 2, target=US), 0.0)
    core.flush(0.0)
    peer, fields = core.sources[0].peer, {"token": core.sources[0].token, "history": True}
    core.receive(peer, publication.to_subscriber(wire.WELCOME, THEM, US, fields), 0.0)
    heads = history.Heads(1, {(THEM, "t"): 4}, 0)
    core.receive(peer, history.heads(THEM, US, heads), 0.0)
    core.receive(peer, publications.publish("t", 9, 1, 2, source=THEM), 0.0)
    core.receive(peer, publications.publish("u", 1, 1, 2, source=THEM), 0.0)
    assert len(core.sources[0].recovery.holes()) == 1  # type: ignore[union-attr]  # it has a history
    return core


def forwarder_that_is_asked() -> ForwarderCore:
    """The same; what comes is from its subscriber."""
    return forwarder_with_history()


def subscriber_of_a_history() -> SubscriberCore:
    """A subscriber that has asked a forwarder for what it lacks."""
    core = SubscriberCore("weather", US, [""], history=5, recover=True)
    tell = Tell(News.FOUND, "", THEM, "tcp://127.0.0.1:5000", is_device=True)
    core.hear(tell, 0.0)
    fields = {"token": 1, "waits": True, "forwards": [THEM], "history": True}
    core.receive(SOURCE, publication.to_subscriber(wire.WELCOME, THEM, US, fields), 0.0)
    heads = history.Heads(1, {(THEM + 1, "t"): 4}, 0)
    core.receive(SOURCE, history.heads(THEM, US, heads), 0.0)
    core.receive(SOURCE, publications.publish("t", 9, 1, 2, source=THEM + 1), 0.0)
    assert core.queued == 2
    return core


def pusher() -> PusherCore:
    """A pusher in the middle of tasks at one worker, that knows another; some tasks wait."""
    core = PusherCore("orders", US, lambda: 1.0)
    core.hear(Tell(News.FOUND, "", THEM, "tcp://127.0.0.1:5000"), 0.0)
    core.hear(Tell(News.FOUND, "", THEM + 1, "tcp://127.0.0.1:5001"), 0.0)
    core.receive(PEER, packets.welcome(THEM, US, credit=5), 0.0)
    for number in range(9):
        task = Task(request_row(TASK, None, (number,), {})[2:], None, 4)
        core.submit(task, 0.0)
    core.flush(0.0)
    return core


def worker() -> ServiceCore:
    """A worker whose one place is taken, and that refused another pusher."""
    core = ServiceCore(THEM, {TASK: False}, 1, shares=Share)
    core.receive(b"p", packets.request(US, THEM, 1, method=TASK), 0.0)
    core.receive(b"q", packets.request(US + 1, THEM, 1, method=TASK), 0.0)
    return core


def dialling_worker() -> DiallingCore:
    """A worker that dialled a streamer, whose one place is taken."""
    core = DiallingCore(THEM, {TASK: False}, 1, device=STREAMER, name="orders", shares=Share)
    core.hear(Tell(News.FOUND, "", 0, "tcp://127.0.0.1:5000"), 0.0)
    core.receive(DEVICE_PEER, packets.request(US, THEM, 1, method=TASK), 0.0)
    return core


def dialled_streamer() -> StreamerCore:
    """A streamer with tasks, some of them at a worker that dialled it."""
    core = StreamerCore("orders", US, lambda: 1.0)
    core.receive(b"p", wire.pack(wire.READY, THEM, 0, 0, encode({"name": "orders"})), 0.0)
    core.receive(b"p", packets.welcome(THEM, US, credit=5), 0.0)
    for number in range(9):
        task = Task(request_row(TASK, None, (number,), {})[2:], None, 4)
        core.tasks.submit(task, 0.0)
    core.flush(0.0)
    return core


def streamer(incarnation: int, journal: int) -> StreamerCore:
    """A streamer with a worker and a streamer beside it, and with tasks that wait."""
    core = StreamerCore("orders", incarnation, lambda: 1.0, journal=journal)
    if journal:
        core.tasks.recover([], 0, 1, 0.0)
    worker = THEM if incarnation == US else THEM + 2
    core.hear(Tell(News.FOUND, "", worker, "tcp://127.0.0.1:5000"), 0.0)
    peer = worker.to_bytes(8, "big")
    core.receive(peer, packets.welcome(worker, incarnation, credit=2), 0.0)
    chance = Random(1)
    for _ in range(5):
        core.receive(b"p", tasks(chance, US + 1, incarnation), 0.0)
    core.flush(0.0)
    return core


def streamer_of_pushers() -> StreamerCore:
    """A streamer as its pushers see it."""
    return streamer(THEM, 0)


def durable_streamer_of_pushers() -> StreamerCore:
    """The same, with a journal."""
    return streamer(THEM, 77)


def streamer_of_workers() -> StreamerCore:
    """A streamer as its workers see it."""
    return streamer(US, 0)


def pusher_of_a_streamer() -> PusherCore:
    """A pusher whose tasks a streamer has, some of them on its disk, and that knows another."""
    core = PusherCore("orders", US, lambda: 1.0)
    core.hear(Tell(News.FOUND, "", THEM, "tcp://127.0.0.1:5000"), 0.0)
    core.hear(Tell(News.FOUND, "", THEM + 1, "tcp://127.0.0.1:5001"), 0.0)
    about = {"device": "streamer", "journal": 77}
    fields = {"credit": 5, "idempotent": [], "task": about}
    core.receive(PEER, wire.pack(wire.WELCOME, THEM, US, 0, encode(fields)), 0.0)
    for number in range(9):
        core.submit(Task(request_row(TASK, None, (number,), {})[2:], None, 4), 0.0)
    core.flush(0.0)
    core.receive(PEER, wire.pack(wire.ACCEPT, THEM, US, 0, encode([1, 2])), 0.0)
    return core


def before(core: Core, peer: bytes) -> bytes:
    """What stands before a packet for this core, in its frame."""
    if isinstance(core, PublisherCore) or peer == EVERY_PEER:
        return publication.TALK
    return b"t" if isinstance(core, SubscriberCore | ForwarderCore) else b""


CORES = [
    (client, PEER, THEM), (service, b"p", US), (membership, CONTROL, PROCESS),
    (publisher, EVERY_PEER, US), (subscriber, SOURCE, THEM), (forwarder, FORWARDED, THEM),
    (forwarder_of_subscribers, EVERY_PEER, THEM + 2), (pusher, PEER, THEM),
    (forwarder_with_history, FORWARDED, THEM), (forwarder_that_is_asked, EVERY_PEER, THEM + 2),
    (subscriber_of_a_history, SOURCE, THEM),
    (worker, b"p", US), (streamer_of_pushers, b"p", US), (streamer_of_workers, PEER, THEM),
    (durable_streamer_of_pushers, b"p", US), (pusher_of_a_streamer, PEER, THEM),
    (dialling_worker, DEVICE_PEER, US), (dialled_streamer, b"p", THEM),
]  # fmt: skip
each_core = pytest.mark.parametrize(
    ("make", "peer", "sender"), CORES, ids=[make.__name__ for make, _, _ in CORES]
)


def sent_by(random: Random, sender: int, target: int) -> Frames:
    """Odd content under a right header, some of it spoilt."""
    kind = random.choice(sorted(wire.KINDS))
    [head, *_] = lie(random)
    content, meta_bytes = bytes(head)[wire.HEADER.size :], wire.HEADER.unpack_from(head)[2]
    settled = random.choice((0, 3))
    meta, rows = content[:meta_bytes], content[meta_bytes:]
    made = wire.pack(kind, sender, target, settled, meta, rows)
    return made if random.random() < 0.7 else spoil(random, made)


@each_core
@pytest.mark.slow
def test_much_garbage_harms_no_core(make: type[Core], peer: bytes, sender: int) -> None:
    random, core = Random(7), make()
    target = US if sender != US else THEM
    for step in range(COUNT):
        if step % 100 == 0:
            core = make()
        known = random.random() < 0.6
        made = sent_by(random, sender, target) if known else frames(random, target)
        if isinstance(core, StreamerCore) and random.random() < 0.5:
            made = tasks(random, sender, target)
        if made and random.random() < 0.9:
            made = (before(core, peer) + bytes(made[0]), *made[1:])
        effects = core.receive(peer if random.random() < 0.9 else b"x", made, step / 100)
        for effect in effects:
            if isinstance(effect, Handle):
                assert all(each.method in ("add", TASK) for each in effect.requests)
        core.flush(step / 100)
        if step % 10 == 0 and isinstance(core, StreamerCore):
            core.tick(step / 100)
        core.check()


@each_core
@pytest.mark.slow
@given(kind=st.sampled_from(sorted(wire.KINDS)), meta=METAS, raw=st.none() | st.binary())
def test_no_garbage_behind_a_right_header_harms_a_core(
    make: type[Core], peer: bytes, sender: int, kind: int, meta: object, raw: bytes | None
) -> None:
    core = make()
    target = US if sender != US else THEM
    target = 0 if kind == wire.PUBLISH else target
    [head, *rest] = wire.pack(kind, sender, target, 2, encode(meta), b"", raw)
    core.receive(peer, (before(core, peer) + bytes(head), *rest), 1.0)
    core.flush(1.0)
    core.tick(2.0)
    core.check()
