"""Taps: what they show of what passes a role, and that the role never waits for them."""

from __future__ import annotations

import pytest

from tests.core.calls.serving import CLIENT, answer, handled, receive, request
from tests.core.topics.publications import OTHER, PUBLISHER, enters, hello
from tests.packets import cancel
from tests.packets import hello as hello_of
from zmqkit.core.calls.outcome import RAISED
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.tap import Tap
from zmqkit.core.tasks.streamer import StreamerCore
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.model import EVERY_PEER
from zmqkit.tap_limits import TAP_BODY_BYTES, TAP_ROWS_MAX
from zmqkit.wire.encoding import decode, encode
from zmqkit.wire.packet import ERROR
from zmqkit.wire.tapping import Passed, Wanted

SERVICE = 0xA


def rows(tap: Tap) -> list[Passed]:
    """All rows that wait, which are taken."""
    found = []
    while (row := tap.take()) is not None:
        found.append(row)
    return found


@pytest.fixture
def service() -> ServiceCore:
    return ServiceCore(SERVICE, {"add": True, "sub": True}, 1000)


def serve(service: ServiceCore, *sequences: int, now: float = 0.0, **options: object) -> None:
    """Have the client make these calls, which are answered 0.25 s later."""
    came = receive(service, request(*sequences, **options), now)
    answer(service, handled(came), 42, now + 0.25)


def test_a_call_is_shown_as_it_ends(service: ServiceCore) -> None:
    tap = Tap(Wanted("orders"))
    service.tap((tap,))
    serve(service, 1, now=1.0)
    [row] = rows(tap)
    assert (row.what, row.outcome, row.took_us, row.at_us) == (
        "add",
        "done",
        250_000,
        1_250_000,
    )
    assert (row.source, decode(row.reply), row.reply_size) == (CLIENT, 42, 1)
    args, kwargs = decode(row.body)  # type: ignore[misc]  # two values
    assert isinstance(args, list) and kwargs == {}


def test_an_error_is_shown_by_its_code_and_text(service: ServiceCore) -> None:
    tap = Tap(Wanted("orders"))
    service.tap((tap,))
    [came] = handled(receive(service, request(1)))
    error = Answer(ERROR, encode([RAISED, "KeyError", "cake", "Traceback", True]))
    service.handled([(came, error)], 1.0)
    [row] = rows(tap)
    assert (row.outcome, decode(row.reply)) == (RAISED, "KeyError: cake")


def outcomes(tap: Tap) -> list[tuple[str, str]]:
    return [(row.what, row.outcome) for row in rows(tap)]


def test_a_request_that_does_not_run_is_shown_with_the_code_of_its_refusal() -> None:
    service, tap = ServiceCore(SERVICE, {"add": True}, 1), Tap(Wanted("orders"))
    service.tap((tap,))
    came = receive(service, request(1, left_ms=1000), 0.0)
    receive(service, request(2, left_ms=1000), 0.0)
    receive(service, request(3), 0.0)
    receive(service, request(4, method="divide"), 0.0)
    receive(service, cancel(CLIENT, SERVICE, 3), 0.0)
    assert outcomes(tap) == [("divide", "no-method"), ("add", "cancelled")]
    answer(service, handled(came), 42, 2.0)
    assert outcomes(tap) == [("add", "done"), ("add", "expired")]
    service.leave()
    receive(service, request(5), 3.0)
    assert outcomes(tap) == [("add", "leaving")]


def test_a_request_that_comes_again_is_shown_once(service: ServiceCore) -> None:
    tap = Tap(Wanted("orders"))
    service.tap((tap,))
    serve(service, 1)
    receive(service, request(1), 1.0)
    assert outcomes(tap) == [("add", "done")]


def test_a_request_whose_handler_takes_too_long_is_shown_as_it_is_answered(
    service: ServiceCore,
) -> None:
    tap = Tap(Wanted("orders"))
    service.tap((tap,))
    service.limit_time(1.0)
    came = receive(service, request(1), 0.0)
    service.tick(1.5)
    answer(service, handled(came), 42, 2.0)
    [row] = rows(tap)
    assert (row.outcome, row.took_us) == (RAISED, 1_500_000)
    assert str(decode(row.reply)).startswith("TimeoutError: took longer")


def test_a_task_that_a_streamer_does_not_accept_is_shown() -> None:
    streamer, tap = StreamerCore("thumbs", SERVICE, lambda: 1.0), Tap(Wanted("thumbs"))
    streamer.tap((tap,))
    streamer.receive(b"p", hello_of(CLIENT), 0.0)
    streamer.receive(b"p", request(1, method="task"), 0.0)
    [row] = rows(tap)
    assert (row.what, row.outcome, row.source) == ("task", "bad-arguments", CLIENT)
    assert decode(row.reply) == "a streamer takes tasks from a zmqkit.Pusher"


def test_one_method_alone_is_shown_if_that_is_wanted(service: ServiceCore) -> None:
    tap = Tap(Wanted("orders", only="sub"))
    service.tap((tap,))
    serve(service, 1)
    assert (rows(tap), tap.seen) == ([], 0)


def test_one_of_so_many_is_shown(service: ServiceCore) -> None:
    tap = Tap(Wanted("orders", every=10))
    service.tap((tap,))
    serve(service, *range(1, 26))
    assert (len(rows(tap)), tap.seen, tap.skipped) == (2, 25, 23)


def test_so_many_each_second_are_shown(service: ServiceCore) -> None:
    tap = Tap(Wanted("orders", rate=4.0))
    service.tap((tap,))
    serve(service, *range(1, 101), now=1.0)
    assert (len(rows(tap)), tap.skipped) == (4, 96)
    serve(service, *range(101, 201), now=1.5)
    assert (len(rows(tap)), tap.seen) == (2, 200)


def test_rows_that_nobody_takes_make_room_and_are_counted(service: ServiceCore) -> None:
    tap = Tap(Wanted("orders"))
    service.tap((tap,))
    count = TAP_ROWS_MAX + 7
    serve(service, *range(1, count + 1))
    assert tap.dropped == 7
    assert len(rows(tap)) == TAP_ROWS_MAX
    assert (tap.dropped, tap.seen) == (7, count)


def test_each_tapper_has_its_own_sample_until_it_ends(service: ServiceCore) -> None:
    one, other = Tap(Wanted("orders")), Tap(Wanted("orders", every=2))
    service.tap((one, other))
    serve(service, 1, 2)
    service.tap((other,))
    serve(service, 3, 4)
    assert (one.seen, other.seen, len(rows(one)), len(rows(other))) == (2, 4, 2, 2)


def test_a_message_is_shown_with_its_topic_however_it_leaves() -> None:
    publisher, tap = PublisherCore(PUBLISHER), Tap(Wanted("news", only="a."))
    publisher.tap((tap,))
    publisher.publish("a.one", 21.5, 1.0)
    publisher.publish("a.one", {"key": "value"}, 1.0)
    publisher.publish("b.other", 1, 1.0)
    publisher.publish("a.raw", bytes(100_000), 1.0)
    for number in range(100):
        publisher.gather("a.many", number)
    publisher.flush(2.0)
    publisher.clear("a.one", 3.0)
    shown = rows(tap)
    assert [(row.what, row.outcome) for row in shown] == [
        ("a.one", "published"), ("a.one", "published"), ("a.raw", "published"),
        ("a.many", "published"), ("a.one", "cleared"),
    ]  # fmt: skip
    assert [row.size for row in shown] == [9, 11, 100_000, 1, 0]
    assert (decode(shown[0].body), decode(shown[1].body)) == (21.5, {"key": "value"})
    assert all(len(row.body) <= TAP_BODY_BYTES for row in shown)
    assert (tap.seen, tap.skipped) == (104, 99)
    assert {row.source for row in shown} == {PUBLISHER}


def test_a_tap_that_nobody_reads_does_not_slow_a_publisher_that_waits() -> None:
    publisher, tap = PublisherCore(PUBLISHER, waits=True), Tap(Wanted("news"))
    publisher.tap((tap,))
    for number in range(20):
        publisher.publish("a", bytes(1 << 20), number / 10)
        assert not publisher.blocked
    assert publisher.audience.limit == float("inf")
    publisher.receive(EVERY_PEER, enters(OTHER), 3.0)
    publisher.receive(EVERY_PEER, hello(source=OTHER), 3.0)
    limit = publisher.audience.limit
    publisher.tap(())
    assert publisher.audience.limit == limit and tap.seen == 20
