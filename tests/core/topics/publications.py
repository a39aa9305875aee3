"""What publishers and subscribers say to each other, for tests that speak to one of them."""

from __future__ import annotations

from collections.abc import Iterable

from zmqkit.core.effects import Effect, News, Send, Tell
from zmqkit.core.topics.subscriber import SubscriberCore
from zmqkit.model import EVERY_PEER, Frames, PeerId
from zmqkit.wire import packet as wire
from zmqkit.wire import publication
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import Packet

PUBLISHER, OTHER = 0xA, 0xB
SUBSCRIBER = 0x1
ENDPOINT = "tcp://127.0.0.1:5000"


def peer_of(publisher: int) -> PeerId:
    """How a subscriber calls its connection to a publisher."""
    return b"p" + publisher.to_bytes(8, "big")


PEER = peer_of(PUBLISHER)


def enters(subscriber: int = SUBSCRIBER) -> Frames:
    """ZeroMQ tells that a subscriber's own subscription begins."""
    return (publication.SUBSCRIBE + publication.private(subscriber),)


def leaves(subscriber: int = SUBSCRIBER) -> Frames:
    """ZeroMQ tells that a subscriber's own subscription ends."""
    return (publication.UNSUBSCRIBE + publication.private(subscriber),)


def hello(token: int = 1, *, source: int = SUBSCRIBER, target: int = PUBLISHER) -> Frames:
    """A subscriber has sent all its subscriptions."""
    fields = {"token": token, "name": "weather"}
    return publication.to_publisher(wire.HELLO, source, target, fields)


def credit(mark: object, *, source: int = SUBSCRIBER, target: int = PUBLISHER) -> Frames:
    """A subscriber has read what came before a mark."""
    return publication.to_publisher(wire.CREDIT, source, target, mark)


def welcome(
    token: int = 1, *, waits: bool = False, source: int = PUBLISHER, target: int = SUBSCRIBER
) -> Frames:
    """A publisher answers a HELLO, or with token 0 a new connection."""
    fields = {"token": token, "waits": waits}
    return publication.to_subscriber(wire.WELCOME, source, target, fields)


def mark(number: object, *, source: int = PUBLISHER) -> Frames:
    """A publisher asks how far everybody is."""
    return publication.to_subscriber(wire.MARK, source, publication.EVERYBODY, number)


def publish(
    topic: str, sequence: int, *bodies: object, source: int = PUBLISHER, wall_us: int = 0
) -> Frames:
    """Messages of one topic."""
    [head] = wire.pack(wire.PUBLISH, source, wall_us, sequence, b"", encode(list(bodies)))
    return (topic.encode() + bytes(head),)


def subscribe(*topics: bytes) -> list[Effect]:
    """What a subscriber sends to subscribe on a new connection."""
    own = publication.private(SUBSCRIBER)
    every = publication.private(publication.EVERYBODY)
    return [Send(PEER, (publication.SUBSCRIBE + each,)) for each in (*topics, every, own)]


def packets(effects: Iterable[Effect]) -> list[tuple[str, Packet]]:
    """Topic and packet of each Send of a publisher; "" for what is private."""
    found = []
    for effect in effects:
        assert isinstance(effect, Send) and effect.peer == EVERY_PEER
        topic, packet = publication.read(effect.frames)
        found.append(("" if topic[0] == 0 else topic.decode(), packet))
    return found


def bye(ends: object, *, source: int = PUBLISHER) -> Frames:
    """A publisher leaves, and says where its topics end."""
    return publication.to_subscriber(wire.BYE, source, publication.EVERYBODY, {"next": ends})


def found(publisher: int = PUBLISHER, endpoint: str = ENDPOINT) -> Tell:
    return Tell(News.FOUND, "", publisher, endpoint)


def of_forwarder(news: News, forwarder: int, host: str = "127.0.0.1") -> Tell:
    """News of a forwarder, which is at an address of its own."""
    return Tell(news, "", forwarder, f"tcp://{host}:{forwarder}", is_device=True)


def greet(
    core: SubscriberCore,
    forwarder: int,
    now: float = 0.0,
    *,
    seeks: int | None = 1,
    keeps: bool = False,
) -> list[Effect]:
    """Have a forwarder answer the last HELLO.

    seeks: how far it looks for publishers. keeps: whether it has a history.
    """
    token = core.sources.by_peer[peer_of(forwarder)].token
    fields: dict[str, object] = {"token": token, "waits": True, "forwards": [forwarder]}
    if seeks is not None:
        fields["seeks"] = seeks
    if keeps:
        fields["history"] = True
    frames = publication.to_subscriber(wire.WELCOME, forwarder, SUBSCRIBER, fields)
    effects = core.receive(peer_of(forwarder), frames, now)
    core.check()
    return effects


def made(*topics: str, waits: bool = False, latest: bool = False) -> SubscriberCore:
    """A subscriber that one publisher has all subscriptions of."""
    core = SubscriberCore("weather", SUBSCRIBER, topics or ("",), latest=latest)
    meet(core, waits=waits)
    return core


def meet(core: SubscriberCore, publisher: int = PUBLISHER, *, waits: bool = False) -> None:
    core.hear(found(publisher), 0.0)
    answer = welcome(1, waits=waits, source=publisher)
    assert core.receive(peer_of(publisher), answer, 0.0) == []
    core.check()


def take_in(core: SubscriberCore, *packets: Frames) -> list[Effect]:
    """Have the publisher's packets arrive."""
    effects: list[Effect] = []
    for frames in packets:
        effects += core.receive(PEER, frames, 1.0)
        core.check()
    return effects
