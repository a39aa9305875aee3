"""What a service keeps and sends, what it gives up, and when."""

from __future__ import annotations

import pytest

from tests import packets
from tests.core.calls.serving import (
    CLIENT,
    OTHER,
    PEER,
    SERVICE,
    answer,
    codes,
    handled,
    receive,
    request,
)
from tests.packets import read, sent
from zmqkit.core.calls.request import Request
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Effect, Handle
from zmqkit.limits import FORGET_CLIENT_S, ServiceLimits
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import PING, REPLY, pack


def answered(service: ServiceCore, sequence: int) -> None:
    """Have a request arrive, run and be answered."""
    [effect] = service.receive(PEER, packets.request(CLIENT, SERVICE, sequence), 0.0)
    assert isinstance(effect, Handle)
    service.handled([(effect.requests[0], Answer(REPLY, encode(42)))], 0.0)
    assert service.flush(0.0)


def test_what_is_settled_is_freed_once_the_turn_is_over() -> None:
    service = ServiceCore(SERVICE, {"add": False}, 1)
    answered(service, 5)
    service.receive(PEER, packets.request(CLIENT, SERVICE, 6, settled=6), 0.0)
    service.check()
    assert service.stats()["retained_bytes"]
    assert service.flush(0.0) == []
    service.check()
    assert not service.stats()["retained_bytes"]


def test_what_was_settled_when_it_closed_is_not_freed_twice() -> None:
    service = ServiceCore(SERVICE, {"add": False}, 1)
    answered(service, 5)
    service.receive(PEER, packets.request(CLIENT, SERVICE, 6, settled=6), 0.0)
    service.close()
    assert service.flush(0.0) == []
    service.check()
    assert service.stats()["retained_bytes"] == 0


LARGE = "x" * 5000
"""So long that it is counted."""


def narrow(concurrency: int = 1, **limits: int) -> ServiceCore:
    """A service with room for two large answers that are not read, one of each client."""
    values = {"unread_bytes_max": 12_000, "client_unread_bytes": 6000, **limits}
    return ServiceCore(SERVICE, {"add": False}, concurrency, limits=ServiceLimits(**values))


def ask(service: ServiceCore, *sequences: int, client: int = CLIENT) -> list[Effect]:
    """Have requests come, run and be given large answers, as far as they run."""
    effects = receive(service, packets.request(client, SERVICE, *sequences))
    while requests := handled(effects):
        effects = [e for e in effects if not isinstance(e, Handle)]
        effects += answer(service, requests, LARGE)
    return effects


def ping(service: ServiceCore, token: int, *still_open: int, read: int = 0) -> list[Effect]:
    """The client says which ids are open, and which pong it read last."""
    frames = packets.ping(CLIENT, SERVICE, token, 100, still_open, read=read)
    return receive(service, frames)


def test_answers_wait_while_what_was_sent_is_not_read() -> None:
    service = narrow(3)
    assert sent(ask(service, 5, 6, 7)) == [(REPLY, [5, 6])]
    assert service.stats()["unread_bytes"] == 2 * 5131
    assert service.stats()["delivered"] == 3 and service.in_flight == 0


def test_a_client_that_does_not_read_has_nothing_run_that_only_waits() -> None:
    service = narrow()
    assert sent(ask(service, 5, 6, 7, 8, 9)) == [(REPLY, [5]), (REPLY, [6])]
    # 8 had begun when the turn ended in which 7 found no room.
    assert (service.stats()["delivered"], service.stats()["waiting"]) == (4, 1)


def test_others_are_served_meanwhile() -> None:
    service = narrow()
    ask(service, 5, 6, 7, 8, 9)
    assert sent(ask(service, 1, client=OTHER)) == [(REPLY, [1])]
    assert sent(ask(service, 2, client=OTHER)) == []
    effects = receive(service, packets.request(OTHER, SERVICE, 3, settled=2))
    assert sent(effects) == [(REPLY, [2])] and len(handled(effects)) == 1


def test_short_answers_do_not_wait() -> None:
    service = narrow(3)
    ask(service, 5, 6, 7)
    [ran] = handled(receive(service, packets.request(OTHER, SERVICE, 1)))
    assert sent(answer(service, [ran])) == [(REPLY, [1])]


def test_a_pong_names_what_waits_to_be_sent() -> None:
    service = narrow(3)
    ask(service, 5, 6, 7)
    [pong] = ping(service, 1, 5, 6, 7)
    assert read(pong)[1][2] == [7]  # type: ignore[index]  # columns


def test_what_was_settled_makes_room() -> None:
    service = narrow(3)
    ask(service, 5, 6, 7)
    assert sent(ping(service, 1, 7)) == [(REPLY, [7])]
    assert service.stats()["unread_bytes"] == 5131
    assert sent(ping(service, 2)) == []
    assert service.stats()["unread_bytes"] == service.stats()["retained_bytes"] == 0


def test_what_is_settled_in_passing_makes_room_at_once() -> None:
    service = narrow()
    ask(service, 5, 6, 7, 8, 9)
    effects = receive(service, request(5, settled=7))
    assert sent(effects) == [(REPLY, [7, 8])]
    assert handled(effects) == []
    assert [r.sequence for r in handled(receive(service, request(5, settled=8)))] == [9]


def test_requests_that_waited_for_room_run_once_there_is_some_for_many() -> None:
    service = narrow(unread_bytes_max=6 * 5131)
    ask(service, *range(1, 10))
    assert service.stats()["waiting"] == 1
    assert sent(ping(service, 1, *range(3, 10))) == [(REPLY, [7, 8])]
    assert handled(ping(service, 2, *range(5, 10))) == []
    assert [r.sequence for r in handled(ping(service, 3, *range(6, 10)))] == [9]


def test_a_client_that_says_what_it_read_and_nothing_else_is_sent_more() -> None:
    service = narrow()
    ask(service, 5, 6, 7, 8, 9)
    effects = receive(service, packets.cancel(CLIENT, SERVICE, settled=8))
    assert sent(effects) == [(REPLY, [8])]
    assert [r.sequence for r in handled(effects)] == [9]


def test_a_pong_that_was_read_makes_room_though_nothing_is_settled() -> None:
    service = narrow(3)
    ask(service, 5, 6, 7)
    assert len(ping(service, 1, 5, 6, 7)) == 1
    assert len(ping(service, 2, 5, 6, 7)) == 1
    assert sent(ping(service, 3, 5, 6, 7, read=1))[0] == (REPLY, [7])


def test_a_new_connection_makes_room() -> None:
    service = narrow(3)
    ask(service, 5, 6, 7)
    receive(service, packets.hello(CLIENT), peer=b"q")
    assert service.stats()["unread_bytes"] == 0
    assert sent(service.flush(0.0)) == [(REPLY, [7])]


def test_a_copy_is_answered_again_only_if_there_is_room() -> None:
    service = narrow(2)
    ask(service, 5)
    again = [sent(receive(service, request(5))) for _ in range(5)]
    assert again == [[(REPLY, [5])], [], [], [], []]
    assert sent(ping(service, 1, 5)) == []
    assert sent(ping(service, 2, 5, read=1)) == [(REPLY, [5])]


def test_a_copy_of_what_waits_waits() -> None:
    service = narrow(3)
    ask(service, 5, 6, 7)
    assert receive(service, request(7)) == []
    assert sent(ping(service, 1, 7)) == [(REPLY, [7])]


def test_what_waits_is_given_up_beyond_its_limit_and_the_client_is_told() -> None:
    service = narrow(5, waiting_bytes_max=11_000)
    requests = handled(receive(service, request(5, 6, 7, 8, 9)))
    service.handled([(ran, Answer(REPLY, encode(LARGE))) for ran in requests], 0.0)
    assert sent(service.flush(0.0)) == [(REPLY, [5, 6])]
    assert service.stats()["evicted"] == 2
    assert codes(service.flush(0.0)) == [(7, "forgotten"), (8, "forgotten")]
    assert sent(ping(service, 2, 9))[0] == (REPLY, [9])


def test_what_was_sent_is_given_up_before_what_waits() -> None:
    service = narrow(3, retained_bytes_max=6000)
    ask(service, 5, 6, 7)
    assert service.stats()["evicted"] == 2
    assert sent(ping(service, 1, 7))[0] == (REPLY, [7])


def test_what_waits_is_sent_before_the_last_word() -> None:
    service = narrow(3)
    ask(service, 5, 6, 7)
    effects = service.close()
    assert sent(effects[:1]) == [(REPLY, [7])] and len(effects) == 2


def test_a_request_that_waits_for_room_is_dropped_when_it_is_cancelled() -> None:
    service = narrow()
    ask(service, 5, 6, 7, 8, 9)
    receive(service, packets.cancel(CLIENT, SERVICE, 9))
    assert service.stats()["dropped"] == {"cancelled": 1} and service.in_flight == 0


def given(service: ServiceCore, requests: list[Request]) -> None:
    """Have handlers give large answers, in a turn that is not over."""
    service.handled([(ran, Answer(REPLY, encode(LARGE))) for ran in requests], 0.0)


def test_what_was_settled_before_the_turn_is_over_is_not_sent_and_counts_nothing() -> None:
    service = narrow(2)
    requests = handled(receive(service, request(5, 6)))
    given(service, requests)
    receive(service, packets.cancel(CLIENT, SERVICE, settled=7))
    assert service.flush(0.0) == [] and service.flush(0.0) == []
    service.check()
    assert service.stats()["unread_bytes"] == service.stats()["retained_bytes"] == 0


def test_what_had_waited_for_room_counts_once_beside_what_leaves_with_it() -> None:
    service = narrow(4)
    requests = handled(receive(service, request(5, 6, 7, 8)))
    answer(service, requests[:3], LARGE)
    given(service, requests[3:])
    assert sent(receive(service, packets.cancel(CLIENT, SERVICE, settled=7))) == [
        (REPLY, [7, 8])
    ]
    assert service.stats()["unread_bytes"] == 2 * 5131
    assert sent(receive(service, packets.cancel(CLIENT, SERVICE, settled=8))) == []
    assert service.stats()["unread_bytes"] == 5131


def test_a_client_of_whom_nothing_waits_for_room_any_more_makes_room_for_another() -> None:
    service = narrow(clients_max=1)
    ask(service, 5, 6, 7, 8, 9)
    receive(service, packets.cancel(CLIENT, SERVICE, 9))
    assert sent(ask(service, 1, client=OTHER)) == [(REPLY, [1])]
    assert service.stats()["clients"] == 1


def test_a_request_that_waits_for_room_expires() -> None:
    service = narrow()
    ask(service, 5, 6, 7, 8, 9)
    assert sent(ping(service, 1, 7, 8, 9))[:2] == [(REPLY, [7, 8])]
    effects = receive(service, packets.ping(CLIENT, SERVICE, 2, 100, [8, 9]), 100.0)
    assert codes(effects) == [(9, "expired")]


def test_a_client_that_is_silent_for_long_is_forgotten_whatever_waits() -> None:
    service = narrow()
    ask(service, 5, 6, 7, 8, 9)
    for _ in range(9):
        service.tick(service.deadline())
        service.check()
    assert service.stats()["clients"] == service.in_flight == 0
    assert service.stats()["expired"] == 1
    assert service.stats()["unread_bytes"] == service.stats()["retained_bytes"] == 0
    assert codes(receive(service, request(7), 9 * FORGET_CLIENT_S)) == [(7, "forgotten")]


def test_what_has_not_begun_is_taken_back() -> None:
    service = narrow(4)
    requests = handled(receive(service, request(5, 6, 7, 8)))
    answer(service, requests[:3], LARGE)
    assert service.postpone(requests[3:]) == []
    service.check()
    assert service.stats()["waiting"] == 1
    assert [r.sequence for r in handled(ping(service, 1, 7, 8))] == [8]


def test_what_may_run_is_not_taken_back() -> None:
    service = narrow(4)
    requests = handled(receive(service, request(5, 6)))
    answer(service, requests[:1], LARGE)
    assert service.postpone(requests[1:]) == requests[1:]


@pytest.mark.parametrize("meta", [[1, 5, [], "x"], [1, 5, [], 1, 1], [1, 5], [True, 5, []]])
def test_an_odd_ping_is_malformed(meta: list[object]) -> None:
    service = narrow()
    assert receive(service, pack(PING, CLIENT, SERVICE, 0, encode(meta))) == []
    assert service.stats()["malformed"] == {"ping": 1}
