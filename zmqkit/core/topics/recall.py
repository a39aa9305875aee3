"""How subscribers that ask for what was published are answered, out of what is kept."""

from __future__ import annotations

from typing import Protocol

from zmqkit.core.effects import Effect, Send
from zmqkit.core.topics.heads import in_packets
from zmqkit.core.topics.history import Page
from zmqkit.model import EVERY_PEER
from zmqkit.wire import history, publication
from zmqkit.wire import packet as wire
from zmqkit.wire.history import Ask, Heads, HeadsAsk, Key
from zmqkit.wire.packet import Packet


class Kept(Protocol):
    """What a publisher keeps of its own topics, or a forwarder of those of many."""

    @property
    def due_at(self) -> float:
        """When `quiet` has something to return next."""

    @property
    def size(self) -> int:
        """How many bytes the kept messages take."""

    def __len__(self) -> int:
        """Return how many messages are kept."""

    def page(self, ask: Ask, now: float) -> Page:
        """Return the page that a subscriber asks for."""

    def heads(self, question: HeadsAsk) -> Heads:
        """Return the numbers of wanted topics, as many as fit into a page."""

    def quiet(self, now: float) -> dict[Key, int]:
        """Return the numbers of topics that have fallen quiet and are to be repeated now."""

    def check(self) -> None:
        """Assert that what is kept is sound."""


def answer(source: int, kept: Kept, packet: Packet, now: float, *, far: bool) -> Send:
    """Return the answer to a RECOVER or HEADS of a subscriber. Raise Malformed for a wrong one.

    source: the incarnation of who answers. far: the subscriber is on another machine.
    """
    subscriber = packet.source
    if packet.kind == wire.RECOVER:
        ask = history.read_ask(packet)
        page = kept.page(ask, now)
        frames = history.page(
            source, subscriber, ask.token, page.entries, page.rows, raw=page.raw, far=far
        )
        return Send(EVERY_PEER, frames)
    told = kept.heads(history.read_heads_ask(packet))
    return Send(EVERY_PEER, history.heads(source, subscriber, told))


def repeat(source: int, kept: Kept, now: float) -> list[Effect]:
    """Tell all subscribers the numbers of topics that have fallen quiet."""
    told = [Heads(0, numbers, 0) for numbers in in_packets(kept.quiet(now))]
    everybody = publication.EVERYBODY
    return [Send(EVERY_PEER, history.heads(source, everybody, each)) for each in told]
