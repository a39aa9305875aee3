"""The oracle of messages notices what must not be: each breaks a rule of a core on purpose."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.sim.breaking import Break, name_of
from zmqkit.core.dispatch.connections import Connections
from zmqkit.core.effects import Effect
from zmqkit.core.topics.audience import Audience
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.core.topics.recovery import Part, Recovery
from zmqkit.core.topics.sources import Source, Sources
from zmqkit.core.topics.subscriber import SubscriberCore
from zmqkit.wire.history import BodiesIn
from zmqkit.wire.packet import Packet

SEEDS = range(100)


def counts_no_gap(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SubscriberCore, "_miss", lambda self, position, missing: None)


def says_hello_too_early(patch: pytest.MonkeyPatch) -> None:
    opened = Sources._open

    def open_(self: Sources, source: Source, now: float) -> list[Effect]:
        connect, *topics, everybody, own, hello = opened(self, source, now)
        return [connect, everybody, own, hello, *topics]

    patch.setattr(Sources, "_open", open_)


def waits_for_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PublisherCore, "blocked", property(lambda self: False))


def waits_for_ever(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PublisherCore, "deadline", lambda self: float("inf"))


def ignores_an_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Audience, "leave", lambda self, subscriber, now: True)


def says_hello_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Connections, "greet_at", lambda self, connection, at: None)
    patch.setattr(Connections, "_reckon", lambda self: None)


def loses_what_it_recovers(patch: pytest.MonkeyPatch) -> None:
    page = Recovery.page

    def page_(self: Recovery, packet: Packet, bodies_in: BodiesIn) -> list[Part] | None:
        parts = page(self, packet, bodies_in)
        return parts and [
            replace(part, sequence=part.sequence + len(part.bodies), bodies=[])
            for part in parts
        ]

    patch.setattr(Recovery, "page", page_)


BREAKS = [
    Break(loses_what_it_recovers, "what is kept is recovered", 19),
    Break(counts_no_gap, "what is not read is accounted for", 7),
    Break(says_hello_too_early, "who has joined has all subscriptions"),
    Break(waits_for_nobody, "who is waited for drops nothing", 3),
    Break(waits_for_ever, "a publisher waits for stall_s", 165),
    Break(ignores_an_end, "healed, all joined"),
    Break(says_hello_once, "healed, subscribers are up"),
]


@pytest.mark.slow
@pytest.mark.parametrize("broken", BREAKS, ids=name_of)
def test_a_rule_that_is_broken_is_noticed(
    broken: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert broken.is_noticed(monkeypatch, SEEDS)
