"""What a service does with requests that devices pass on, and with their copies."""

from __future__ import annotations

import pytest

from tests.core.calls.serving import SERVICE, answer, codes, handled, receive
from tests.packets import read
from zmqkit.core.calls.outcome import FORGOTTEN
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.effects import Advance, Effect, Send
from zmqkit.limits import FORGET_CLIENT_S, ServiceLimits
from zmqkit.model import Frames
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import CANCEL, NOTIFY, REPLY, REQUEST, STREAM, pack
from zmqkit.wire.rows import Origin, request_columns, request_row

FIRST, SECOND = 0xF1, 0xF2
"""Two routers."""
ONE, TWO = b"one", b"two"
"""Their connections."""
ANN, BOB = 0xC1, 0xC2


@pytest.fixture
def service() -> ServiceCore:
    return ServiceCore(
        SERVICE, {"add": False, "price": True}, 1, {"count": False, "tail": True}
    )


def passed(
    router: int, sequence: int, *origins: Origin, method: str = "add", kind: int = REQUEST,
    settled: int = 0,
) -> Frames:  # fmt: skip
    """A router passes requests on, with numbers of its own from `sequence` on."""
    rows = [request_row(method, None, (7,), {}) for _ in origins]
    count = len(origins)
    columns = request_columns(
        [*range(sequence, sequence + count)], [5000] * count, [method] * count, [4] * count,
        rows, (10, 1000) if kind == STREAM else None, origins,
    )  # fmt: skip
    return pack(kind, router, SERVICE, settled, columns, b"".join(rows), is_mixed=True)


def replies(effects: list[Effect]) -> list[tuple[bytes, list[int]]]:
    """To whom replies go, and which numbers they answer."""
    found = [(each.peer, *read(each)) for each in effects if isinstance(each, Send)]
    return [(peer, meta[0]) for peer, kind, meta in found if kind == REPLY]  # type: ignore[index]  # columns


def test_requests_of_many_clients_share_a_packet_and_have_their_own_ids(
    service: ServiceCore,
) -> None:
    [ran] = handled(receive(service, passed(FIRST, 1, (ANN, 1, 5), (BOB, 1, 5)), 1.0, ONE))
    assert (ran.id, ran.client) == (f"{ANN:016x}{5:016x}", FIRST)
    [other] = handled(effects := answer(service, [ran], now=1.0))
    assert other.id == f"{BOB:016x}{5:016x}" and replies(effects) == [(ONE, [1])]


def test_a_copy_through_another_router_is_answered_and_does_not_run(
    service: ServiceCore,
) -> None:
    answer(service, handled(receive(service, passed(FIRST, 1, (ANN, 5, 5)), 1.0, ONE)), now=1.0)
    # The first router has the answer, and dies before it passes it on.
    receive(service, pack(CANCEL, FIRST, SERVICE, 2, encode([])), 1.0, ONE)
    effects = receive(service, passed(SECOND, 9, (ANN, 5, 5)), 2.0, TWO)
    assert replies(effects) == [(TWO, [9])] and service.stats()["accepted"] == 1


@pytest.mark.parametrize("waits", [False, True], ids=["runs", "waits"])
def test_a_copy_takes_over_a_request_that_is_held(service: ServiceCore, waits: bool) -> None:
    runs = handled(receive(service, passed(FIRST, 1, (BOB, 1, 1), (ANN, 1, 1)), 1.0, ONE))
    origin = (ANN, 1, 1) if waits else (BOB, 1, 1)
    effects = receive(service, passed(SECOND, 9, origin), 2.0, TWO)
    assert not codes(effects) and not handled(effects)
    effects = answer(service, runs, now=3.0)
    effects += answer(service, handled(effects), now=3.0)
    assert (TWO, [9]) in replies(effects) and service.stats()["accepted"] == 2
    # Which of the two is alive nobody knows: what a dead one sent may be read after the copy.
    assert sorted(n for peer, rows in replies(effects) if peer == ONE for n in rows) == [1, 2]


def test_a_copy_that_comes_the_first_way_again_takes_it_back(service: ServiceCore) -> None:
    [ran] = handled(receive(service, passed(FIRST, 1, (ANN, 1, 1)), 1.0, ONE))
    receive(service, passed(SECOND, 9, (ANN, 1, 1)), 2.0, TWO)
    assert not receive(service, passed(FIRST, 1, (ANN, 1, 1)), 3.0, ONE)
    service.check()
    effects = answer(service, [ran], now=4.0)
    assert sorted(replies(effects)) == [(ONE, [1]), (TWO, [9])]
    assert service.stats()["accepted"] == service.stats()["delivered"] == 1


def test_a_way_that_gave_up_is_not_answered(service: ServiceCore) -> None:
    [ran] = handled(receive(service, passed(FIRST, 1, (ANN, 1, 1)), 1.0, ONE))
    receive(service, passed(SECOND, 9, (ANN, 1, 1)), 2.0, TWO)
    receive(service, pack(CANCEL, FIRST, SERVICE, 2, encode([])), 3.0, ONE)
    assert replies(answer(service, [ran], now=4.0)) == [(TWO, [9])]
    service.check()


def test_the_answer_is_forgotten_once_the_client_has_it(service: ServiceCore) -> None:
    answer(service, handled(receive(service, passed(FIRST, 1, (ANN, 5, 5)), 1.0, ONE)), now=1.0)
    answer(service, handled(receive(service, passed(FIRST, 2, (ANN, 6, 6)), 1.0, ONE)), now=1.0)
    effects = receive(service, passed(SECOND, 9, (ANN, 6, 5)), 2.0, TWO)
    assert codes(effects) == [(9, FORGOTTEN)]  # nobody waits for it, so it never runs


def test_what_the_first_way_gave_up_is_answered_on_the_second(service: ServiceCore) -> None:
    [ran] = handled(receive(service, passed(FIRST, 1, (ANN, 5, 5)), 1.0, ONE))
    receive(service, pack(CANCEL, FIRST, SERVICE, 2, encode([])), 1.0, ONE)  # while it runs
    assert not replies(answer(service, [ran], now=1.0))
    effects = receive(service, passed(SECOND, 9, (ANN, 5, 5)), 2.0, TWO)
    assert replies(effects) == [(TWO, [9])] and service.stats()["accepted"] == 1


def test_what_is_being_cancelled_is_not_begun_again(service: ServiceCore) -> None:
    receive(service, passed(FIRST, 1, (ANN, 5, 5)), 1.0, ONE)
    receive(service, pack(CANCEL, FIRST, SERVICE, 1, encode([1])), 1.0, ONE)
    effects = receive(service, passed(SECOND, 9, (ANN, 5, 5)), 2.0, TWO)
    assert codes(effects) == [(9, FORGOTTEN)]


@pytest.mark.parametrize(("method", "runs"), [("add", False), ("price", True)])
def test_what_took_too_long_runs_again_only_if_it_may(
    service: ServiceCore, method: str, runs: bool
) -> None:
    service.limit_time(1.0)
    service.concurrency = 2
    receive(service, passed(FIRST, 1, (ANN, 5, 5), method=method), 1.0, ONE)
    service.tick(3.0)
    effects = receive(service, passed(SECOND, 9, (ANN, 5, 5), method=method), 3.0, TWO)
    assert bool(handled(effects)) is runs and codes(effects) == (
        [] if runs else [(9, FORGOTTEN)]
    )


def test_a_request_that_was_refused_may_come_another_way(service: ServiceCore) -> None:
    receive(service, passed(FIRST, 1, (BOB, 1, 1), (ANN, 1, 1)), 1.0, ONE)
    receive(service, pack(CANCEL, FIRST, SERVICE, 1, encode([2])), 1.0, ONE)  # it waits
    receive(service, passed(SECOND, 9, (ANN, 1, 1)), 2.0, TWO)
    assert service.stats()["accepted"] == 3 and service.stats()["waiting"] == 1


def test_what_was_forgotten_of_another_way_may_have_run() -> None:
    service = ServiceCore(
        SERVICE, {"price": True}, 1, limits=ServiceLimits(retained_bytes_max=0)
    )
    for router, sequence in ((FIRST, 1), (SECOND, 9)):
        came = receive(service, passed(router, sequence, (ANN, 5, 5), method="price"), 1.0, ONE)
        [request] = handled(came)
        assert request.forgotten is (router == SECOND)
        answer(service, [request], now=1.0)


def test_one_way_messages_are_told_as_well(service: ServiceCore) -> None:
    first = receive(service, passed(FIRST, 1, (ANN, 1, 1), kind=NOTIFY), 1.0, ONE)
    answer(service, handled(first), now=1.0)
    effects = receive(service, passed(SECOND, 9, (ANN, 1, 1), kind=NOTIFY), 2.0, TWO)
    assert replies(effects) == [(TWO, [9])] and not handled(effects)


@pytest.mark.parametrize(("method", "begins"), [("count", False), ("tail", True)])
def test_a_stream_begins_again_only_if_it_may(
    service: ServiceCore, method: str, begins: bool
) -> None:
    receive(service, passed(FIRST, 1, (ANN, 1, 1), method=method, kind=STREAM), 1.0, ONE)
    service.concurrency = 2
    copy = passed(SECOND, 9, (ANN, 1, 1), method=method, kind=STREAM)
    effects = receive(service, copy, 2.0, TWO)
    assert any(isinstance(each, Advance) for each in effects) is begins
    assert codes(effects) == ([] if begins else [(9, FORGOTTEN)])


def test_the_answers_take_little_room_and_not_for_long() -> None:
    limits = ServiceLimits(retained_bytes_max=2000)
    service = ServiceCore(SERVICE, {"add": False}, 1, limits=limits)
    for number in range(1, 50):
        came = receive(
            service, passed(FIRST, number, (ANN, 1, number), settled=number), 1.0, ONE
        )
        answer(service, handled(came), now=1.0)
    assert service.stats()["retained_bytes"] <= 2 * 2000  # type: ignore[operator]  # a number
    effects = receive(service, passed(SECOND, 9, (ANN, 1, 1)), 2.0, TWO)
    assert codes(effects) == [(9, FORGOTTEN)]
    assert service.deadline() <= 2.0 + FORGET_CLIENT_S
    for now in (2.0 + FORGET_CLIENT_S, 2.0 + 2 * FORGET_CLIENT_S):
        service.tick(now)
        service.check()
    assert service.stats()["retained_bytes"] == 0


def test_too_many_clients_behind_routers_are_served_and_not_remembered() -> None:
    service = ServiceCore(SERVICE, {"add": False}, 9, limits=ServiceLimits(clients_max=2))
    origins = [(client, 1, 1) for client in (1, 2, 3)]
    assert len(handled(receive(service, passed(FIRST, 1, *origins), 1.0, ONE))) == 3
