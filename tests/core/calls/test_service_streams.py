"""A service's streams: values within credit, each kept until it is taken, and one end."""

from __future__ import annotations

import pytest

from tests import packets
from tests.core.calls.serving import CLIENT, PEER, SERVICE, answer, codes, handled, receive
from tests.core.calls.serving import request as request_of
from tests.packets import read
from zmqkit.core.calls.request import StreamRequest
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Abort, Advance, Effect, Send
from zmqkit.core.tasks.share import Share
from zmqkit.limits import (
    CREDIT,
    FORGET_CLIENT_S,
    PREFETCH_TASK_S,
    STREAM_ITEMS,
    ServiceLimits,
)
from zmqkit.model import Frames
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import BYE, END, ERROR, HELLO, ITEM, PONG, REPLY, pack
from zmqkit.wire.packet import CREDIT as CREDIT_PACKET


def limited(**limits: int) -> ServiceCore:
    """A service with these limits."""
    streams = {"count": False, "tell": True}
    return ServiceCore(SERVICE, {"add": False}, 1, streams, limits=ServiceLimits(**limits))


@pytest.fixture
def service() -> ServiceCore:
    return limited()


def stream(*sequences: int, **options: object) -> Frames:
    """Requests of the one client for streams."""
    return packets.stream(CLIENT, SERVICE, *sequences, **options)  # type: ignore[arg-type]  # its own options


def advanced(effects: list[Effect]) -> list[StreamRequest]:
    """The streams that are to go on."""
    return [request for e in effects if isinstance(e, Advance) for request in e.requests]


def give(service: ServiceCore, request: StreamRequest, *values: object) -> list[Effect]:
    """Have a generator give these values, and the turn end."""
    effects = []
    for value in values:
        assert request.goes_on
        effects += service.yielded(request, Answer(REPLY, encode(value)), 0.0)
    effects += service.flush(0.0)
    service.check()
    return effects


def pause(service: ServiceCore, request: StreamRequest) -> list[Effect]:
    """Have a generator stop for the others."""
    effects = service.paused(request, 0.0)
    service.check()
    return effects


def finish(
    service: ServiceCore, request: StreamRequest, error: Answer | None = None
) -> list[Effect]:
    """Have a generator end, and the turn too."""
    effects = service.ended(request, error, 0.0) + service.flush(0.0)
    service.check()
    return effects


def grant(
    service: ServiceCore, sequence: int, taken: int, missing: int | None = None
) -> list[Effect]:
    """Have the client say what it took, and perhaps what it misses."""
    return receive(service, packets.grant(CLIENT, SERVICE, sequence, taken, missing))


def values(effects: list[Effect]) -> list[object]:
    """What leaves: a row for each value, a row for each end."""
    found: list[object] = []
    for effect in effects:
        if isinstance(effect, Send):
            kind, meta = read(effect)
            assert isinstance(meta, list)
            if kind == ITEM:
                found += list(zip(*meta, strict=True))
            elif kind == END:
                found += [("end", *row) for row in zip(*meta, strict=True)]
    return found


def started(service: ServiceCore, sequence: int = 5, **options: object) -> StreamRequest:
    """A stream whose generator is run."""
    [request] = advanced(receive(service, stream(sequence, **options)))
    return request


def test_values_of_one_turn_leave_in_one_packet_and_in_order(service: ServiceCore) -> None:
    effects = give(service, started(service), "a", "b", "c")
    assert len(effects) == 1
    assert values(effects) == [(5, 0, "a"), (5, 1, "b"), (5, 2, "c")]


def test_the_end_follows_the_values_and_counts_them(service: ServiceCore) -> None:
    request = started(service)
    service.yielded(request, Answer(REPLY, encode("a")), 0.0)
    assert values(finish(service, request)) == [(5, 0, "a"), ("end", 5, 1, None)]
    assert service.stats()["delivered"] == 1 and service.in_flight == 0


def test_what_a_generator_raised_ends_it(service: ServiceCore) -> None:
    row = ["raised", "ValueError", "no", "", True]
    request = started(service)
    effects = finish(service, request, Answer(ERROR, encode(row)))
    assert values(effects) == [("end", 5, 0, row)]
    assert service.stats()["failed"] == 1


def test_without_credit_it_waits_and_others_are_served(service: ServiceCore) -> None:
    request = started(service, window=(2, 9999))
    give(service, request, "a", "b")
    assert not request.goes_on
    assert pause(service, request) == []
    ran = handled(receive(service, request_of(6)))
    answer(service, ran)
    assert advanced(grant(service, 5, 1)) == [request] and request.goes_on


def test_bytes_are_credit_too(service: ServiceCore) -> None:
    request = started(service, window=(100, 300))
    give(service, request, "a" * 100)
    give(service, request, "a" * 100)
    assert not request.goes_on
    pause(service, request)
    assert advanced(grant(service, 5, 1)) == [request]


def test_no_caller_is_granted_more_than_there_is(service: ServiceCore) -> None:
    request = started(service, window=(1 << 60, 1 << 60))
    assert request.items_max == STREAM_ITEMS


def test_one_that_gives_way_goes_on_after_the_others(service: ServiceCore) -> None:
    request = started(service)
    receive(service, request_of(6))
    effects = pause(service, request)
    [ran] = handled(effects)
    assert advanced(effects) == []
    assert advanced(answer(service, [ran])) == [request]


def test_one_that_waits_behind_a_long_call_is_given_back_to_nobody() -> None:
    """Seed 9500366: a broker's worker was due for ever, and told its credit again and again."""
    service = ServiceCore(SERVICE, {"add": False}, 1, {"count": False}, shares=Share)
    answer(service, handled(receive(service, request_of(4))), now=0.0001)  # takes some ahead
    request = started(service)
    receive(service, request_of(6))
    assert handled(pause(service, request))
    now = PREFETCH_TASK_S
    assert [read(each) for each in service.tick(now)] == [(CREDIT_PACKET, 1)]
    assert not service.tick(now) and service.deadline() > now and service.in_flight == 2


def test_a_copy_has_every_value_sent_again(service: ServiceCore) -> None:
    request = started(service)
    give(service, request, "a", "b")
    receive(service, stream(5))
    assert values(service.flush(0.0)) == [(5, 0, "a"), (5, 1, "b")]
    assert service.stats()["duplicates"] == 1


def test_what_is_missed_is_sent_again_once_a_turn(service: ServiceCore) -> None:
    request = started(service)
    give(service, request, "a", "b", "c")
    effects = grant(service, 5, 1, missing=1)
    assert values(effects) == [(5, 1, "b"), (5, 2, "c")]


def test_what_is_missed_after_the_end_is_sent_again_with_it(service: ServiceCore) -> None:
    request = started(service)
    give(service, request, "a", "b")
    finish(service, request)
    assert values(grant(service, 5, 0, missing=1)) == [(5, 1, "b"), ("end", 5, 2, None)]
    receive(service, stream(5))
    assert values(service.flush(0.0)) == [(5, 0, "a"), (5, 1, "b"), ("end", 5, 2, None)]


def test_what_is_settled_is_kept_no_longer(service: ServiceCore) -> None:
    request = started(service)
    give(service, request, "a", "b")
    finish(service, request)
    assert service.stats()["retained_bytes"]
    receive(service, packets.ping(CLIENT, SERVICE, 1, 6))
    assert service.stats()["retained_bytes"] == 0
    assert grant(service, 5, 2, missing=2) == []


def test_who_reads_on_where_nothing_is_known_is_told(service: ServiceCore) -> None:
    assert codes(grant(service, 5, 3)) == [(5, "forgotten")]


def test_a_stream_that_was_forgotten_does_not_begin_again() -> None:
    """Its client went on with the values of the second run, where those of the first ended."""
    service = limited(retained_bytes_max=0)
    [request] = advanced(receive(service, stream(5, method="tell")))
    give(service, request, "a", "b")
    finish(service, request)
    assert codes(receive(service, stream(5, method="tell"))) == [(5, "forgotten")]


def test_an_end_given_up_for_space_may_have_run() -> None:
    service = limited(retained_bytes_max=0)
    request = started(service)
    give(service, request, "a")
    finish(service, request)
    assert service.stats()["evicted"] == 1
    assert codes(grant(service, 5, 0, missing=0)) == [(5, "forgotten")]


def test_a_pong_tells_how_far_a_stream_is(service: ServiceCore) -> None:
    request = started(service)
    give(service, request, "a", "b")
    grant(service, 5, 1)
    [pong] = receive(service, packets.ping(CLIENT, SERVICE, 3, 6, [5]))
    assert read(pong) == (PONG, [3, CREDIT, [5], 1, [[5, 2, 1]]])


def test_what_a_pong_counts_was_sent_before_it(service: ServiceCore) -> None:
    request = started(service)
    service.yielded(request, Answer(REPLY, encode("a")), 0.0)
    effects = receive(service, packets.ping(CLIENT, SERVICE, 3, 6, [5]))
    assert [read(effect)[0] for effect in effects] == [ITEM, PONG]


def test_a_cancelled_one_that_runs_is_told(service: ServiceCore) -> None:
    request = started(service)
    assert receive(service, packets.cancel(CLIENT, SERVICE, 5)) == [Abort([request])]
    assert not request.goes_on
    assert finish(service, request) == []
    assert service.stats()["dropped"] == {"cancelled": 1}


def test_a_cancelled_one_that_waits_is_closed(service: ServiceCore) -> None:
    request = started(service, window=(1, 9999))
    give(service, request, "a")
    pause(service, request)
    assert advanced(receive(service, packets.cancel(CLIENT, SERVICE, 5))) == [request]
    assert request.cancelled
    finish(service, request)
    assert service.stats()["dropped"] == {"cancelled": 1}


def test_a_cancelled_one_in_line_is_closed_when_it_is_its_turn(service: ServiceCore) -> None:
    request = started(service)
    [ran] = handled(receive(service, request_of(6)) + pause(service, request))
    assert receive(service, packets.cancel(CLIENT, SERVICE, 5)) == []
    assert advanced(answer(service, [ran])) == [request]


def test_one_that_never_began_is_dropped(service: ServiceCore) -> None:
    ran = handled(receive(service, request_of(6)))
    receive(service, stream(5))
    assert receive(service, packets.cancel(CLIENT, SERVICE, 5)) == []
    assert advanced(answer(service, ran)) == []
    assert service.stats()["streams"] == 0


def test_one_that_has_begun_expires_no_more(service: ServiceCore) -> None:
    request = started(service, left_ms=1000)
    give(service, request, "a")
    receive(service, request_of(6))
    pause(service, request)
    effects = service.handled([], 2.0)
    assert request.deadline_at > 1e9 and effects == []


def test_a_client_silent_for_long_reads_no_more(service: ServiceCore) -> None:
    request = started(service, window=(1, 9999))
    give(service, request, "a")
    pause(service, request)
    assert advanced(service.tick(FORGET_CLIENT_S)) == [request]
    finish(service, request)
    service.tick(2 * FORGET_CLIENT_S)
    assert service.stats()["clients"] == 0


def test_too_many_streams_are_refused() -> None:
    service = limited(streams_max=1)
    assert codes(receive(service, stream(5, 6))) == [(6, "busy")]


def test_a_call_of_a_stream_is_refused_with_the_remedy(service: ServiceCore) -> None:
    effects = receive(service, request_of(5, method="count"))
    assert codes(effects) == [(5, "no-method")]
    assert "client.stream('count'" in str(read(effects[0])[1])


def test_a_method_of_one_value_may_be_asked_for_as_a_stream(service: ServiceCore) -> None:
    [ran] = handled(receive(service, stream(5, method="add")))
    [reply] = answer(service, [ran])
    assert read(reply) == (REPLY, [[5], [42]])


def test_both_may_be_idempotent(service: ServiceCore) -> None:
    [welcome] = receive(service, packets.hello(CLIENT))
    assert read(welcome)[1] == {
        "credit": CREDIT, "idempotent": ["tell"], "origins": True
    }  # fmt: skip


def test_close_ends_what_has_begun(service: ServiceCore) -> None:
    service.concurrency = 2
    running, waiting = started(service), started(service, 6, window=(1, 9999))
    give(service, waiting, "a")
    pause(service, waiting)
    effects = service.close()
    ends = values(effects)
    assert [row[:3] for row in ends] == [("end", 5, 0), ("end", 6, 1)]  # type: ignore[index]
    assert effects[-1] == Abort([running, waiting])
    assert service.stats()["dropped"] == {"closed": 2}
    service.check()


def test_one_that_never_began_may_run_elsewhere_after_close(service: ServiceCore) -> None:
    started(service)
    receive(service, stream(6))
    assert (BYE, [0, [5]]) in [read(e) for e in service.close() if isinstance(e, Send)]


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (packets.grant(CLIENT, SERVICE, 5, 9), "grant"),
        (packets.stream(CLIENT, SERVICE, 6, window=(0, 9)), "window"),
        (packets.items(CLIENT, SERVICE, 5, 0, "x"), "unexpected"),
        (packets.end(CLIENT, SERVICE, 5, 0), "unexpected"),
    ],
)
def test_what_makes_no_sense_is_counted(
    service: ServiceCore, frames: Frames, reason: str
) -> None:
    started(service)
    assert receive(service, frames) == []
    assert service.stats()["malformed"] == {reason: 1}


def test_long_values_travel_raw_and_in_order(service: ServiceCore) -> None:
    request = started(service)
    for value in (Answer(REPLY, encode(1)), Answer(REPLY, b"\xc0", b"x" * 5000)):
        service.yielded(request, value, 0.0)
    service.yielded(request, Answer(REPLY, encode(2)), 0.0)
    effects = service.flush(0.0)
    numbers = [read(effect)[1][1] for effect in effects]  # type: ignore[index]
    assert numbers == [[0], [1], [2]]
    assert isinstance(effects[1], Send) and effects[1].frames[1] == b"x" * 5000
    assert effects[0].peer == PEER  # type: ignore[union-attr]


def test_values_for_another_machine_are_compressed(service: ServiceCore) -> None:
    hello = pack(HELLO, CLIENT, 0, 0, encode({"lz4": True}))
    receive(service, hello)
    [send] = give(service, started(service), *["the same again"] * 500)
    assert isinstance(send, Send) and len(send.frames[0]) < 4000
    assert len(values([send])) == 500
