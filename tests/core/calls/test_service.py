"""The service's side of request-reply."""

from __future__ import annotations

import math

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
    large,
    receive,
    request,
)
from tests.packets import read, sent
from zmqkit.core.calls.outcome import BAD_ARGUMENTS, RECALLED
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Handle, Note, Send
from zmqkit.limits import CREDIT, FORGET_CLIENT_S, ServiceLimits
from zmqkit.model import Frames
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import BYE, ERROR, PONG, REPLY, SEQUENCE_MAX, WELCOME, pack


def limited(**limits: int) -> ServiceCore:
    """A service with these limits."""
    methods = {"add": False, "price": True}
    return ServiceCore(SERVICE, methods, 1, limits=ServiceLimits(**limits))


@pytest.fixture
def service() -> ServiceCore:
    return limited()


# Who is there


def test_hello_is_welcomed_with_credit_and_what_may_repeat(service: ServiceCore) -> None:
    service.about["process"] = 9
    [welcome] = receive(service, packets.hello(CLIENT))
    fields = {"credit": CREDIT, "idempotent": ["price"], "origins": True, "process": 9}
    assert read(welcome) == (WELCOME, fields)


def test_what_is_meant_for_an_earlier_owner_does_not_run(service: ServiceCore) -> None:
    effects = receive(service, packets.request(CLIENT, SERVICE + 1, 5))
    assert [read(e)[0] for e in effects] == [WELCOME] and service.in_flight == 0


def test_a_client_that_closed_counts_no_more_and_its_ids_stay_known(
    service: ServiceCore,
) -> None:
    answer(service, handled(receive(service, request(5))))
    receive(service, packets.hello(OTHER))
    assert receive(service, pack(BYE, CLIENT, SERVICE, 0, encode(None))) == []
    assert service.stats()["clients"] == 1 and not service.malformed
    [row, *_] = service.statistics(0.0)
    assert (row.peers, row.talks_to) == ({"up": 1}, [OTHER])
    receive(service, request(5))
    assert service.stats()["accepted"] == 1


def test_too_many_clients_with_work_are_an_event() -> None:
    service = limited(clients_max=1)
    receive(service, request(5))
    effects = receive(service, packets.hello(OTHER))
    assert effects == [Note("clients-full", {"clients": 1})]


# Requests


def test_a_request_runs_with_what_it_carries(service: ServiceCore) -> None:
    [ran] = handled(receive(service, request(5, priority=7, left_ms=2000), 10.0))
    assert (ran.client, ran.sequence, ran.method) == (CLIENT, 5, "add")
    assert (ran.args, ran.kwargs, ran.headers) == ([7], {}, None)
    assert (ran.priority, ran.deadline_at, ran.oneway) == (7, 12.0, False)


def test_its_value_is_the_reply(service: ServiceCore) -> None:
    [reply] = answer(service, handled(receive(service, request(5))))
    assert read(reply) == (REPLY, [[5], [42]])
    assert service.stats()["delivered"] == 1


def test_replies_of_one_turn_leave_in_one_packet(service: ServiceCore) -> None:
    service.concurrency = 2
    requests = handled(receive(service, request(5, 6)))
    assert sent(answer(service, requests)) == [(REPLY, [5, 6])]


def test_what_a_pong_does_not_name_was_answered_before_it(service: ServiceCore) -> None:
    [ran] = handled(receive(service, request(5)))
    assert service.handled([(ran, Answer(REPLY, encode(42)))], 0.0) == []
    effects = receive(service, packets.ping(CLIENT, SERVICE, 1, 6, [5]))
    assert [read(effect) for effect in effects] == [
        (REPLY, [[5], [42]]), (PONG, [1, CREDIT, [], 0]),
    ]  # fmt: skip


def test_answers_leave_when_the_turn_ends(service: ServiceCore) -> None:
    service.concurrency = 2
    one, two = handled(receive(service, request(5, 6)))
    for ran in (one, two):
        assert service.handled([(ran, Answer(REPLY, encode(42)))], 0.0) == []
    assert sent(service.flush(0.0)) == [(REPLY, [5, 6])]
    assert service.flush(0.0) == []


def test_what_it_raised_is_the_reply_too(service: ServiceCore) -> None:
    [ran] = handled(receive(service, request(5)))
    row = encode(["raised", "ValueError", "no", "", True])
    service.handled([(ran, Answer(ERROR, row))], 0.0)
    assert codes(service.flush(0.0)) == [(5, "raised")] and service.stats()["failed"] == 1


def test_only_requests_are_passed_on_for_others(service: ServiceCore) -> None:
    columns = [[9], [0], [3], [5], [1]]
    frames = pack(9, CLIENT, SERVICE, 0, encode(columns), b"\xc0", is_mixed=True)
    assert receive(service, frames) == []
    assert service.stats()["malformed"] == {"origins": 1}


def test_a_request_that_cannot_be_read_is_refused_and_no_other(service: ServiceCore) -> None:
    columns = [[5, 6], [5000, 5000], ["add", "add"], [4, 4]]
    packet = packets.pack_rows(8, CLIENT, SERVICE, columns, [[None, [7]], [None, [7], {}]])
    effects = receive(service, packet)
    assert codes(effects) == [(5, BAD_ARGUMENTS)]
    assert [each.sequence for each in handled(effects)] == [6]
    assert codes(receive(service, request(5))) == [(5, BAD_ARGUMENTS)]


def test_priorities_within_one_packet_count(service: ServiceCore) -> None:
    columns = [[5, 6], [5000, 5000], ["add", "add"], [4, 9]]
    packet = packets.pack_rows(8, CLIENT, SERVICE, columns, [[None, [7], {}]] * 2)
    assert [r.sequence for r in handled(receive(service, packet))] == [6]


def test_an_unknown_method_is_told_with_those_there_are(service: ServiceCore) -> None:
    effects = receive(service, request(5, method="nowhere"))
    assert codes(effects) == [(5, "no-method")]
    assert "add, price" in str(read(effects[0])[1])


def test_refusals_of_one_packet_share_a_packet(service: ServiceCore) -> None:
    effects = receive(service, request(*range(1, 100), method="nowhere"))
    assert len(effects) == 1 and len(codes(effects)) == 99


@pytest.mark.parametrize("limit", ["requests_max", "client_requests_max"])
def test_too_many_requests_are_refused(limit: str) -> None:
    service = limited(**{limit: 1})
    effects = receive(service, request(5, 6))
    assert [r.sequence for r in handled(effects)] == [5]
    assert codes(effects) == [(6, "busy")]


def test_requests_of_too_many_bytes_are_refused() -> None:
    service = limited(held_bytes_max=10_000)
    first = handled(receive(service, large(5, 6000)))
    assert codes(receive(service, large(6, 6000))) == [(6, "busy")]
    assert receive(service, large(7, 3000)) == []
    assert [r.sequence for r in handled(answer(service, first))] == [7]
    assert codes(receive(service, large(8, 6000))) == []


def test_a_request_that_alone_has_too_many_bytes_is_accepted() -> None:
    service = limited(held_bytes_max=10_000)
    first = handled(receive(service, large(5, 20_000)))
    assert codes(receive(service, request(6))) == [(6, "busy")]
    answer(service, first)
    assert service.stats()["held_bytes"] == 0
    assert len(handled(receive(service, large(7, 20_000)))) == 1


# Copies


def test_a_copy_of_what_runs_is_ignored(service: ServiceCore) -> None:
    receive(service, request(5))
    assert receive(service, request(5)) == []
    assert service.stats()["duplicates"] == 1


def test_a_copy_within_one_packet_is_ignored(service: ServiceCore) -> None:
    assert len(handled(receive(service, request(5, 5)))) == 1


def test_a_copy_of_what_was_answered_is_answered(service: ServiceCore) -> None:
    answer(service, handled(receive(service, request(5))))
    [reply] = receive(service, request(5))
    assert read(reply) == (REPLY, [[5], [42]])


def test_a_copy_of_what_is_settled_is_ignored(service: ServiceCore) -> None:
    answer(service, handled(receive(service, request(5))))
    receive(service, request(6, settled=6))
    assert service.flush(0.0) == []
    assert service.stats()["retained_bytes"] == 0
    assert receive(service, request(5)) == []


def test_a_copy_from_elsewhere_is_answered_there(service: ServiceCore) -> None:
    answer(service, handled(receive(service, request(5))))
    [reply] = receive(service, request(5), peer=b"q")
    assert isinstance(reply, Send) and reply.peer == b"q"


@pytest.mark.parametrize("method", ["nowhere", "add"])
def test_what_was_refused_is_never_accepted(method: str) -> None:
    service = limited(requests_max=1)
    holding = handled(receive(service, request(4)))
    [(_, code)] = codes(receive(service, request(5, method=method)))
    answer(service, holding)
    service.methods = {"add": False, "nowhere": False}
    assert codes(receive(service, request(5, method=method))) == [(5, code)]


@pytest.fixture
def forgetful() -> ServiceCore:
    """A service that has answered id 5, and given the answer up for space."""
    service = limited(retained_bytes_max=0)
    answer(service, handled(receive(service, request(5))))
    assert service.stats()["evicted"] == 1
    return service


def test_what_was_given_up_for_space_may_have_run(forgetful: ServiceCore) -> None:
    [(_, code)] = codes(receive(forgetful, request(5)))
    assert code == "forgotten"


def test_what_was_given_up_for_space_counts_as_taken(forgetful: ServiceCore) -> None:
    assert [read(e) for e in forgetful.close()] == [(BYE, [6, []])]


def test_a_client_that_returns_after_a_minute_runs_nothing_twice(service: ServiceCore) -> None:
    answer(service, handled(receive(service, request(5))))
    assert service.tick(service.deadline()) == []
    assert service.stats()["clients"] == 0
    assert codes(receive(service, request(5), FORGET_CLIENT_S)) == [(5, "forgotten")]


def test_what_was_settled_before_it_was_forgotten_does_not_run_again(
    service: ServiceCore,
) -> None:
    answer(service, handled(receive(service, request(5))))
    receive(service, packets.ping(CLIENT, SERVICE, 1, 6))
    service.tick(service.deadline())
    assert service.stats()["clients"] == 0
    assert receive(service, request(5), FORGET_CLIENT_S) == []


def test_what_was_open_elsewhere_when_its_client_was_forgotten_may_come_here(
    service: ServiceCore,
) -> None:
    answer(service, handled(receive(service, request(5))))
    receive(service, packets.ping(CLIENT, SERVICE, 1, 6, [4]))
    service.tick(service.deadline())
    assert len(handled(receive(service, request(4), FORGET_CLIENT_S))) == 1


def test_what_may_run_twice_is_run_again_when_it_was_forgotten(service: ServiceCore) -> None:
    answer(service, handled(receive(service, request(5, method="price"))))
    service.tick(service.deadline())
    assert len(handled(receive(service, request(5, method="price"), FORGET_CLIENT_S))) == 1


# One-way messages


def test_a_one_way_message_is_acknowledged_when_it_has_run(service: ServiceCore) -> None:
    [handle] = receive(service, request(5, oneway=True))
    assert isinstance(handle, Handle)
    [ack] = answer(service, handle.requests)
    assert read(ack) == (REPLY, [[5], [None]])


def test_a_one_way_message_is_acknowledged_again_and_run_once(service: ServiceCore) -> None:
    requests = handled(receive(service, request(5, oneway=True)))
    assert receive(service, request(5, oneway=True)) == []
    assert sent(answer(service, requests)) == [(REPLY, [5])]
    assert sent(receive(service, request(5, oneway=True))) == [(REPLY, [5])]


def test_a_one_way_message_whose_handler_raised_says_so(service: ServiceCore) -> None:
    [ran] = handled(receive(service, request(5, oneway=True)))
    row = encode(["raised", "ValueError", "no", "", True])
    service.handled([(ran, Answer(ERROR, row))], 0.0)
    assert codes(service.flush(0.0)) == [(5, "raised")]
    assert codes(receive(service, request(5, oneway=True))) == [(5, "raised")]


def test_a_one_way_message_that_runs_goes_on_when_its_sender_gave_it_up(
    service: ServiceCore,
) -> None:
    requests = handled(receive(service, request(5, oneway=True)))
    [pong] = receive(service, packets.ping(CLIENT, SERVICE, 1, 6))
    assert read(pong) == (PONG, [1, CREDIT, [5], 1]) and not requests[0].cancelled
    assert answer(service, requests) == [] and service.stats()["delivered"] == 1


def test_a_one_way_message_that_is_settled_still_runs(service: ServiceCore) -> None:
    first = handled(receive(service, request(5)))
    receive(service, request(6, oneway=True))
    receive(service, packets.ping(CLIENT, SERVICE, 1, 7))
    assert [r.sequence for r in handled(answer(service, first))] == [6]


# What the client says meanwhile


def test_a_pong_names_what_is_held(service: ServiceCore) -> None:
    receive(service, request(5, 6))
    receive(service, request(7, oneway=True))
    [pong] = receive(service, packets.ping(CLIENT, SERVICE, 3, 8, [5, 6, 7]))
    assert read(pong) == (PONG, [3, CREDIT, [5, 6, 7], 1])


def test_a_pong_names_what_runs_first(service: ServiceCore) -> None:
    receive(service, packets.request(CLIENT, SERVICE, 5))
    receive(service, packets.request(CLIENT, SERVICE, 4, priority=9))
    [pong] = receive(service, packets.ping(CLIENT, SERVICE, 3, 8, [4, 5]))
    assert read(pong) == (PONG, [3, CREDIT, [5, 4], 1])


@pytest.mark.parametrize("oneway", [False, True])
def test_what_has_not_begun_is_given_back_and_never_runs(
    service: ServiceCore, oneway: bool
) -> None:
    [first] = handled(receive(service, request(5, 6, 7, oneway=oneway)))
    recall = packets.recall(CLIENT, SERVICE, 5, 6, 9)
    assert codes(receive(service, recall)) == [(6, RECALLED)]
    assert service.stats()["dropped"] == {"recalled": 1}
    assert codes(receive(service, request(6))) == [(6, RECALLED)]
    assert [each.sequence for each in handled(answer(service, [first]))] == [7]


def test_a_ping_settles_what_it_does_not_list(service: ServiceCore) -> None:
    answer(service, handled(receive(service, request(5))))
    receive(service, packets.ping(CLIENT, SERVICE, 1, 6))
    assert service.stats()["retained_bytes"] == 0


def test_a_ping_lists_as_many_as_a_client_may_have(service: ServiceCore) -> None:
    many = range(ServiceLimits().open_ids_max)
    [pong] = receive(service, packets.ping(CLIENT, SERVICE, 1, len(many), many))
    assert read(pong)[0] == PONG


def test_the_answer_to_what_was_settled_meanwhile_is_dropped(service: ServiceCore) -> None:
    requests = handled(receive(service, request(5)))
    receive(service, request(6, settled=6))
    assert service.flush(0.0) == []
    assert sent(answer(service, requests)) == []
    assert service.stats()["dropped"] == {"unwanted": 1}


# Leaving


def test_everybody_is_told_of_the_end(service: ServiceCore) -> None:
    receive(service, packets.hello(CLIENT))
    receive(service, packets.hello(OTHER))
    assert [read(e)[0] for e in service.leave()] == [BYE, BYE]


def test_who_comes_late_is_welcomed_and_told_at_once(service: ServiceCore) -> None:
    service.leave()
    effects = receive(service, packets.hello(CLIENT))
    assert [read(e)[0] for e in effects] == [WELCOME, BYE]


def test_each_client_is_told_what_was_taken(service: ServiceCore) -> None:
    answer(service, handled(receive(service, request(5))))
    receive(service, request(6))  # runs
    receive(service, request(7))  # waits
    receive(service, packets.hello(OTHER))
    words = [read(e) for e in service.close() if isinstance(e, Send)]
    assert words == [(BYE, [0, [5, 6]]), (BYE, [0, []])]


def test_more_than_a_client_can_have_are_told_by_the_highest() -> None:
    service = limited(open_ids_max=1)
    for number in (5, 8):
        answer(service, handled(receive(service, request(number))))
    assert [read(e) for e in service.close()] == [(BYE, [9, []])]


def test_one_that_was_silent_and_may_be_there_is_told_as_well(service: ServiceCore) -> None:
    answer(service, handled(receive(service, request(5))))
    service.tick(FORGET_CLIENT_S)
    receive(service, packets.hello(OTHER), FORGET_CLIENT_S)
    service.tick(2 * FORGET_CLIENT_S)
    assert service.stats()["clients"] == 0
    assert [read(e) for e in service.leave()] == 2 * [(BYE, None)]
    assert [read(e) for e in service.close()] == [(BYE, [6, []]), (BYE, [0, []])]


def test_one_that_came_back_is_told_once(service: ServiceCore) -> None:
    receive(service, packets.hello(CLIENT))
    service.tick(FORGET_CLIENT_S)
    receive(service, packets.hello(CLIENT), FORGET_CLIENT_S)
    assert [read(e) for e in service.close()] == [(BYE, [0, []])]


def test_a_service_owes_until_all_is_settled(service: ServiceCore) -> None:
    answer(service, handled(receive(service, request(5))))
    assert service.owes
    receive(service, packets.ping(CLIENT, SERVICE, 1, 6))
    assert not service.owes


def test_a_closed_service_does_nothing(service: ServiceCore) -> None:
    requests = handled(receive(service, request(5)))
    service.close()
    assert answer(service, requests) == []
    assert receive(service, request(6)) == []
    assert service.deadline() == math.inf


# Whatever is sent


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ((*packets.bye(CLIENT), b"y"), "frames"),
        (pack(WELCOME, CLIENT, SERVICE, 0, encode({})), "unexpected"),
        (packets.hello(0), "unexpected"),
    ],
)
def test_what_makes_no_sense_is_counted(
    service: ServiceCore, frames: Frames, reason: str
) -> None:
    assert receive(service, frames) == []
    assert service.stats()["malformed"] == {reason: 1}


def test_a_number_that_none_can_follow_is_malformed(service: ServiceCore) -> None:
    assert receive(service, request((1 << 64) - 1)) == []
    assert service.stats()["malformed"] == {"sequences": 1}


def test_the_highest_number_can_be_forgotten_and_told_of(forgetful: ServiceCore) -> None:
    answer(forgetful, handled(receive(forgetful, request(SEQUENCE_MAX))))
    assert [read(e) for e in forgetful.close()] == [(BYE, [SEQUENCE_MAX + 1, []])]


def test_an_answer_that_found_no_way_is_counted(service: ServiceCore) -> None:
    assert service.unsent(PEER, request(5), 0.0) == []
    assert service.counts["unsent"] == 1
