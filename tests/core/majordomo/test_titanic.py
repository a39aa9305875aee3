"""RFC 9: requests that a broker with journals keeps for clients of the RFCs."""

from __future__ import annotations

import re

import pytest

from tests.core.majordomo.square import ANN, BOB, READY_1, WES, WIL, Square
from tests.core.majordomo.town import Town
from zmqkit.core.calls.answers import refuse
from zmqkit.core.calls.outcome import RAISED
from zmqkit.errors import JournalError
from zmqkit.majordomo_limits import BrokerLimits
from zmqkit.wire.encoding import encode

HEADS = [(b"", b"MDPC01"), (b"MDPC02", b"\x01")]
HEAD = HEADS[0]
REQUEST, REPLY, CLOSE = b"titanic.request", b"titanic.reply", b"titanic.close"
each_version = pytest.mark.parametrize("head", HEADS)


@pytest.fixture
def town() -> Town:
    return Town()


@pytest.fixture
def square(town: Town) -> Square:
    return Square(town, town.durable_broker())


def ask(
    square: Square, *body: bytes, head: tuple[bytes, ...] = HEAD, peer: bytes = ANN
) -> None:
    square.send(peer, *head, *body)


def told(square: Square, peer: bytes = ANN) -> list[tuple[bytes, ...]]:
    """Return status and body of each answer to a client."""
    return [frames[3:] for frames in square.to(peer)]


def keep(square: Square, *body: bytes, service: bytes = b"echo") -> bytes:
    """Have a request kept; return its id."""
    ask(square, REQUEST, service, *body)
    [(status, id)] = told(square)
    assert status == b"200"
    return id


def reply_to(square: Square, id: bytes) -> tuple[bytes, ...]:
    ask(square, REPLY, id)
    [answer] = told(square)
    return answer


def finish(square: Square, *body: bytes) -> None:
    """Have the worker of RFC 7 answer what it was asked."""
    [(_, _, _, address, _, *_)] = square.to(WIL)
    square.send(WIL, b"", b"MDPW01", b"\x03", address, b"", *body)


@each_version
def test_a_request_is_kept_and_its_reply_is_asked_for_later(
    square: Square, head: tuple[bytes, ...]
) -> None:
    ask(square, REQUEST, b"echo", b"one", b"two", head=head)
    [(*_, service, status, id)] = square.to(ANN)
    assert (service, status) == (REQUEST, b"200") and re.fullmatch(rb"[0-9a-f]{32}", id)
    square.send(WIL, *READY_1)
    [(_, _, _, address, _, *body)] = square.to(WIL)
    assert body == [b"one", b"two"]
    square.send(WIL, b"", b"MDPW01", b"\x03", address, b"", b"1", b"2")
    for peer in (ANN, BOB, BOB):
        ask(square, REPLY, id, head=head, peer=peer)
        [(*_, service, status, first, second)] = square.to(peer)
        assert (service, status, first, second) == (REPLY, b"200", b"1", b"2")
    assert square.core.in_flight == 0


def test_the_id_is_told_once_the_request_is_on_disk(town: Town, square: Square) -> None:
    town.writes = False
    ask(square, REQUEST, b"echo", b"x")
    assert told(square) == []
    town.write(square.broker)
    town.settle()
    assert [status for status, _ in told(square)] == [b"200"]


def test_a_reply_is_pending_until_it_is_on_disk(town: Town, square: Square) -> None:
    id = keep(square, b"x")
    assert reply_to(square, id) == (b"300",)
    square.send(WIL, *READY_1)
    assert reply_to(square, id) == (b"300",)
    town.writes = False
    finish(square, b"done")
    assert reply_to(square, id) == (b"300",)
    town.writes = True
    town.settle()
    assert reply_to(square, id) == (b"200", b"done")


@pytest.mark.parametrize("id", [
    b"", b"0" * 32, b"../../etc/passwd", b"/" * 32, b"\xff" * 32, b"A" * 32,
    b"%032x" % 77, b"%016x%016x" % (77, 1),
])  # fmt: skip
def test_an_id_that_was_not_given_is_unknown(square: Square, id: bytes) -> None:
    keep(square, b"x")
    assert reply_to(square, id) == (b"400",)
    ask(square, CLOSE, id)
    assert told(square) == [(b"200",)]


def test_what_is_closed_is_unknown_and_may_be_closed_again(town: Town, square: Square) -> None:
    square.send(WIL, *READY_1)
    id, other = keep(square, b"x"), keep(square, b"y")
    finish(square, b"done")
    finish(square, b"done, too")
    for _ in range(2):
        ask(square, CLOSE, id)
        assert told(square) == [(b"200",)]
        assert reply_to(square, id) == (b"400",)
    assert reply_to(square, other) == (b"200", b"done, too")


def test_a_request_that_is_closed_before_its_end_is_given_up(
    town: Town, square: Square
) -> None:
    waits = keep(square, b"waits")
    ask(square, CLOSE, waits)
    assert told(square) == [(b"200",)]
    square.send(WIL, *READY_1)
    assert square.to(WIL) == []
    runs = keep(square, b"runs")
    ask(square, CLOSE, runs)
    assert told(square) == [(b"200",)]
    finish(square, b"late")
    assert reply_to(square, runs) == (b"400",)
    id = keep(square, b"next")
    town.wait(2.0)  # the back asks which requests the worker has
    finish(square, b"done")
    assert reply_to(square, id) == (b"200", b"done")


@pytest.mark.parametrize(("value", "body"), [
    (b"x", (b"x",)), ([b"a", b"b"], (b"a", b"b")), ("größe", ("größe".encode(),)),
    (None, (b"\xc0",)), ({"a": 1}, (encode({"a": 1}),)),
])  # fmt: skip
def test_a_service_of_ours_may_answer_a_kept_request_with_any_value(
    town: Town, square: Square, value: object, body: tuple[bytes, ...]
) -> None:
    service = town.service(square.broker, "echo", {"mdp": False})
    id = keep(square, b"one", b"two")
    assert town.answer(service, value).args == [b"one", b"two"]
    assert reply_to(square, id) == (b"200", *body)


def test_a_kept_request_that_fails_is_an_error_and_stays(town: Town, square: Square) -> None:
    service = town.service(square.broker, "echo", {"mdp": False})
    id = keep(square, b"x")
    town.finish(service, service.handed.popleft(), refuse(RAISED, "no tea"))
    assert reply_to(square, id) == reply_to(square, id) == (b"500",)
    ask(square, CLOSE, id)
    assert told(square) == [(b"200",)]
    assert reply_to(square, id) == (b"400",)


def test_a_dead_request_is_an_error_until_it_is_requeued(town: Town, square: Square) -> None:
    service = town.service(square.broker, "echo", {"mdp": False})
    id = keep(square, b"x")
    town.kill(service)
    town.wait(40.0)
    assert reply_to(square, id) == (b"500",)
    core = square.broker.backs["echo"].core
    requeued = core.requeue(next(iter(core.ledger.dead.values())), town.now)
    town.perform(square.broker, square.core.follow("echo", requeued, town.now))
    town.settle()
    assert reply_to(square, id) == (b"300",)
    ask(square, CLOSE, id)
    assert told(square) == [(b"200",)]


def test_a_dead_request_is_closed_like_others(town: Town, square: Square) -> None:
    service = town.service(square.broker, "echo", {"mdp": False})
    id = keep(square, b"x")
    town.kill(service)
    town.wait(40.0)
    ask(square, CLOSE, id)
    assert told(square) == [(b"200",)]
    assert reply_to(square, id) == (b"400",)
    assert not square.broker.backs["echo"].core.ledger.dead


def test_a_request_that_was_not_begun_in_time_is_unknown() -> None:
    town = Town(BrokerLimits(rfc_kept_s=30.0))
    square = Square(town, town.durable_broker())
    id = keep(square, b"x")
    town.wait(40.0)
    assert reply_to(square, id) == (b"400",)
    square.send(WIL, *READY_1)
    assert square.to(WIL) == []


def test_a_reply_is_kept_for_so_long_and_then_unknown() -> None:
    town = Town(BrokerLimits(outcomes_s=300.0))
    square = Square(town, town.durable_broker())
    square.send(WIL, *READY_1)
    id = keep(square, b"x")
    finish(square, b"done")
    town.wait(200.0)
    assert reply_to(square, id) == (b"200", b"done")
    town.wait(200.0)
    assert reply_to(square, id) == (b"400",)


def test_a_full_disk_is_an_error(town: Town, square: Square) -> None:
    keep(square, b"x")
    town.writes = False
    ask(square, REQUEST, b"echo", b"y")
    town.write(square.broker, JournalError("no space left on device", may_retry=True))
    town.settle()
    assert told(square) == [(b"500",)]


def test_each_service_has_its_own_journal(town: Town, square: Square) -> None:
    first, second = keep(square, b"1"), keep(square, b"2", service=b"other")
    square.send(WIL, *READY_1)
    finish(square, b"done")
    assert reply_to(square, second) == (b"300",)
    assert reply_to(square, first) == (b"200", b"done")


def test_a_kept_request_without_a_body_has_an_empty_frame(square: Square) -> None:
    square.send(WIL, *READY_1)
    keep(square)
    [(_, _, _, _, _, *body)] = square.to(WIL)
    assert body == [b""]


@pytest.mark.parametrize("service", [b"", b"mmi.service", b"titanic.reply", b"\xff", b"x" * 99])
def test_a_request_for_what_is_no_service_is_not_kept(square: Square, service: bytes) -> None:
    ask(square, REQUEST, service, b"x")
    ask(square, b"titanic.other", b"x")
    assert told(square) == [(b"400",), (b"400",)]


def test_what_the_broker_answers_itself_may_come_without_a_body(square: Square) -> None:
    for service in (b"titanic.request", b"titanic.reply", b"titanic.close", b"mmi.service"):
        square.send(ANN, b"", b"MDPC01", service)
        square.send(ANN, b"MDPC02", b"\x01", service)
    told = [frames[-1] for frames in square.to(ANN)]
    assert told == [b"400"] * 4 + [b"200"] * 2 + [b"404"] * 2


def test_a_client_that_has_too_many_requests_is_told(town: Town) -> None:
    town = Town(BrokerLimits(client_requests_max=1))
    square = Square(town, town.durable_broker())
    town.writes = False
    for _ in range(2):
        ask(square, REQUEST, b"echo", b"x")
    assert told(square) == [(b"500",)]


def test_a_broker_that_leaves_keeps_nothing_more(town: Town, square: Square) -> None:
    id = keep(square, b"x")
    town.perform(square.broker, square.core.leave(town.now))
    ask(square, REQUEST, b"echo", b"y")
    assert told(square) == [(b"500",)]
    assert reply_to(square, id) == (b"300",)


def test_a_broker_without_journals_keeps_nothing(town: Town) -> None:
    square = Square(town, town.broker())
    ask(square, REQUEST, b"echo", b"x")
    for service in (REPLY, CLOSE):
        ask(square, service, b"0" * 32)
    assert told(square) == [(b"500",)] * 3
    ask(square, b"mmi.service", REQUEST)
    assert told(square) == [(b"404",)]


def test_mmi_has_the_services_of_titanic_where_there_are_journals(square: Square) -> None:
    for service in (REQUEST, REPLY, CLOSE, b"titanic.other"):
        ask(square, b"mmi.service", service)
    assert told(square) == [(b"200",)] * 3 + [(b"404",)]


def test_a_worker_of_a_service_of_titanic_is_told_to_go(square: Square) -> None:
    square.send(WES, b"", b"MDPW01", b"\x01", REQUEST)
    assert square.to(WES) == [(b"", b"MDPW01", b"\x05")]
