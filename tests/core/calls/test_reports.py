"""What a service's core does with what its handlers say of their progress."""

from __future__ import annotations

from math import inf

import pytest

from tests import packets
from tests.core.calls.serving import CLIENT, SERVICE, answer, handled, receive, request
from tests.packets import read, sent
from zmqkit.core.calls.request import Request
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.effects import Effect
from zmqkit.limits import PROGRESS_S
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import PROGRESS, REPLY

SOON = PROGRESS_S / 2


@pytest.fixture
def service() -> ServiceCore:
    return ServiceCore(SERVICE, {"add": False}, 1)


@pytest.fixture
def running(service: ServiceCore) -> Request:
    [ran] = handled(receive(service, request(5, left_ms=60_000)))
    return ran


def said(effects: list[Effect]) -> list[object]:
    words = [read(effect) for effect in effects]
    assert all(kind == PROGRESS for kind, _ in words)
    return [meta for _, meta in words]


def test_the_first_word_leaves_at_once(service: ServiceCore, running: Request) -> None:
    assert said(service.report(running, encode("half"), 0.0)) == [[5, "half"]]
    assert service.deadline() > 1.0


def test_the_latest_word_leaves_when_its_time_has_come(
    service: ServiceCore, running: Request
) -> None:
    service.report(running, encode(1), 0.0)
    for word in (2, 3):
        assert service.report(running, encode(word), SOON) == []
    assert service.deadline() == PROGRESS_S
    assert said(service.tick(PROGRESS_S)) == [[5, 3]]
    assert service.tick(2 * PROGRESS_S) == []


def test_ten_words_a_second_leave_however_many_there_are(
    service: ServiceCore, running: Request
) -> None:
    words = [
        word
        for step in range(1000)
        for word in said(service.report(running, encode(step), step / 1000))
    ]
    assert 9 <= len(words) <= 11


def test_the_last_word_leaves_before_the_answer(service: ServiceCore, running: Request) -> None:
    service.report(running, encode(1), 0.0)
    service.report(running, encode(2), SOON)
    word, reply = answer(service, [running], now=SOON)
    assert said([word]) == [[5, 2]] and sent([reply]) == [(REPLY, [5])]
    assert service.report(running, encode(3), 1.0) == []


def test_nothing_is_said_of_what_was_given_up(service: ServiceCore, running: Request) -> None:
    receive(service, packets.cancel(CLIENT, SERVICE, 5))
    assert service.report(running, encode(1), 0.0) == []
    service.report(running, encode(2), SOON)
    assert service.tick(PROGRESS_S) == [] and answer(service, [running]) == []


def test_nothing_is_said_of_what_took_too_long(service: ServiceCore, running: Request) -> None:
    service.limit_time(SOON)
    service.report(running, encode(1), 0.0)
    service.report(running, encode(2), SOON / 2)
    service.tick(SOON)
    assert service.tick(PROGRESS_S) == []
    assert service.report(running, encode(3), 1.0) == []


def test_nothing_is_said_after_the_close(service: ServiceCore, running: Request) -> None:
    service.report(running, encode(1), 0.0)
    service.report(running, encode(2), SOON)
    service.close()
    assert service.report(running, encode(3), 1.0) == []
    assert PROGRESS_S < service.deadline() <= inf
