"""The broker with peers of RFC 7 and RFC 18: among themselves, and with ours."""

from __future__ import annotations

import msgpack
import pytest

from tests.core.majordomo.square import (
    ANN,
    BOB,
    READY_1,
    READY_2,
    REQUEST_1,
    REQUEST_2,
    WES,
    WIL,
    Square,
)
from tests.core.majordomo.town import Town
from zmqkit.core.effects import Send


@pytest.fixture
def town() -> Town:
    return Town()


@pytest.fixture
def square(town: Town) -> Square:
    return Square(town, town.broker())


def test_a_client_and_a_worker_of_rfc_7(square: Square) -> None:
    square.send(WIL, *READY_1)
    square.send(ANN, *REQUEST_1, b"hello", b"there")
    [(empty, header, command, address, gap, *body)] = square.to(WIL)
    assert (empty, header, command, gap, body) == (
        b"", b"MDPW01", b"\x02", b"", [b"hello", b"there"],
    )  # fmt: skip
    square.send(WIL, b"", b"MDPW01", b"\x03", address, b"", b"hi", b"you")
    assert square.to(ANN) == [(b"", b"MDPC01", b"echo", b"hi", b"you")]
    assert square.core.in_flight == 0


def test_a_client_and_a_worker_of_rfc_18_with_parts(square: Square) -> None:
    square.send(WIL, *READY_2)
    square.send(ANN, *REQUEST_2, b"hello")
    [(header, command, address, gap, body)] = square.to(WIL)
    assert (header, command, gap, body) == (b"MDPW02", b"\x02", b"", b"hello")
    for number in (b"1", b"2"):
        square.send(WIL, b"MDPW02", b"\x03", address, b"", number)
        assert square.to(ANN) == [(b"MDPC02", b"\x02", b"echo", number)]
    square.send(WIL, b"MDPW02", b"\x04", address, b"", b"3")
    assert square.to(ANN) == [(b"MDPC02", b"\x03", b"echo", b"3")]
    assert square.core.in_flight == 0


def test_a_request_that_nobody_serves_is_noted_at_once(town: Town, square: Square) -> None:
    square.send(ANN, *REQUEST_1, b"hello")
    square.send(ANN, *REQUEST_1, b"hello")
    assert unserved(square) == ["echo"]
    town.wait(1.0)
    square.send(BOB, *REQUEST_2, b"hello")
    assert unserved(square) == ["echo"] * 2
    square.send(WIL, *READY_1)
    town.wait(2.0)
    square.send(BOB, *REQUEST_2, b"hello")
    assert unserved(square) == ["echo"] * 2


def unserved(square: Square) -> list[object]:
    notes = square.broker.notes
    return [each.fields["service"] for each in notes if each.event == "mdp-nobody-serves"]


def test_a_peer_may_be_client_and_worker(square: Square) -> None:
    square.send(ANN, *REQUEST_1, b"hello")
    square.send(ANN, *READY_1)
    [(_, header, command, address, _, body)] = square.to(ANN)
    assert (header, command, body) == (b"MDPW01", b"\x02", b"hello")
    square.send(ANN, b"", b"MDPW01", b"\x03", address, b"", b"hi")
    assert square.to(ANN) == [(b"", b"MDPC01", b"echo", b"hi")]
    assert square.core.in_flight == 0


def test_the_versions_meet_and_parts_are_joined(square: Square) -> None:
    square.send(WIL, *READY_2)
    square.send(ANN, *REQUEST_1, b"old client")
    [(*_, address, _, body)] = square.to(WIL)
    assert body == b"old client"
    square.send(WIL, b"MDPW02", b"\x03", address, b"", b"1")
    square.send(WIL, b"MDPW02", b"\x04", address, b"", b"2")
    assert square.to(ANN) == [(b"", b"MDPC01", b"echo", b"1", b"2")]
    square.send(WIL, b"MDPW02", b"\x06")
    square.send(WES, *READY_1)
    square.send(BOB, *REQUEST_2, b"new client")
    [(_, _, _, address, _, body)] = square.to(WES)
    square.send(WES, b"", b"MDPW01", b"\x03", address, b"", b"3")
    assert square.to(BOB) == [(b"MDPC02", b"\x03", b"echo", b"3")]


def test_a_worker_has_one_request_at_a_time(square: Square) -> None:
    square.send(WIL, *READY_1)
    for number in (b"1", b"2", b"3"):
        square.send(ANN, *REQUEST_1, number)
    answered = []
    for _ in range(3):
        [(_, _, _, address, _, body)] = square.to(WIL)
        answered.append(body)
        square.send(WIL, b"", b"MDPW01", b"\x03", address, b"", body)
    assert answered == [b"1", b"2", b"3"]
    assert [frames[-1] for frames in square.to(ANN)] == answered


def test_the_request_of_a_dead_worker_goes_to_another(square: Square) -> None:
    square.send(WIL, *READY_1)
    square.send(ANN, *REQUEST_1, b"precious")
    assert square.to(WIL)
    square.town.wait(20.0)
    assert square.to(WIL) == [(b"", b"MDPW01", b"\x05")]
    square.send(WES, *READY_1)
    assert [frames[-1] for frames in square.to(WES)] == [b"precious"]


def test_a_busy_worker_may_disconnect(square: Square) -> None:
    square.send(WIL, *READY_1)
    square.send(ANN, *REQUEST_1, b"precious")
    square.send(WES, *READY_1)
    square.send(WIL, b"", b"MDPW01", b"\x05")
    assert [frames[-1] for frames in square.to(WES)] == [b"precious"]


def test_what_a_client_that_is_gone_has_asked_for_is_given_up(square: Square) -> None:
    square.send(ANN, *REQUEST_2, b"1")
    square.send(WIL, *READY_2)
    [(*_, address, _, _)] = square.to(WIL)
    square.send(ANN, *REQUEST_2, b"2")
    assert square.core.in_flight == 2
    unsent = square.core.unsent(ANN, (b"MDPC02", b"\x02", b"echo", b"part"), square.town.now)
    square.town.perform(square.broker, unsent)
    square.town.settle()
    assert square.core.in_flight == 0
    square.send(WIL, b"MDPW02", b"\x04", address, b"", b"nobody reads this")
    assert square.to(WIL) == square.to(ANN) == []


def test_a_request_waits_for_a_worker(square: Square) -> None:
    square.send(ANN, *REQUEST_1, b"early")
    square.send(WIL, *READY_1)
    assert [frames[-1] for frames in square.to(WIL)] == [b"early"]


def test_a_request_that_nobody_serves_is_dropped_in_time(square: Square) -> None:
    square.send(ANN, *REQUEST_1, b"in vain")
    square.town.wait(70.0)
    assert (square.to(ANN), square.core.in_flight) == ([], 0)
    square.town.wait(60.0)
    assert square.core.stats()["services"] == {}


def test_mmi(square: Square) -> None:
    ask = (b"", b"MDPC01")
    square.send(ANN, *ask, b"mmi.service", b"echo")
    square.send(WIL, *READY_1)
    square.send(ANN, *ask, b"mmi.service", b"echo")
    square.send(ANN, *ask, b"mmi.other", b"echo")
    assert [frames[-1] for frames in square.to(ANN)] == [b"404", b"200", b"501"]
    square.send(ANN, *ask, b"mmi.zmqkit.workers", b"")
    [(*_, code, told)] = square.to(ANN)
    assert (code, msgpack.unpackb(told)) == (b"200", {"echo": 1})
    square.send(WES, b"", b"MDPW01", b"\x01", b"mmi.service")
    assert square.to(WES) == [(b"", b"MDPW01", b"\x05")]


def test_a_client_of_ours_calls_a_worker_of_an_rfc(town: Town, square: Square) -> None:
    square.send(WIL, *READY_1)
    client = town.client(square.broker, "echo")
    town.call(client, "mdp", b"hello", "text")
    [(_, _, _, address, _, *body)] = square.to(WIL)
    assert body == [b"hello", b"text"]
    square.send(WIL, b"", b"MDPW01", b"\x03", address, b"", b"a", b"b")
    town.call(client, "other")
    assert town.values(client) == [[b"a", b"b"], "NoMethod"]


def test_a_client_of_an_rfc_asks_a_service_of_ours(town: Town, square: Square) -> None:
    service = town.service(square.broker, "echo", {"mdp": True})
    square.send(ANN, *REQUEST_1, b"hello")
    [request] = service.handed
    assert request.args == [b"hello"]
    town.answer(service, [b"hi", b"you"])
    assert square.to(ANN) == [(b"", b"MDPC01", b"echo", b"hi", b"you")]


def test_all_workers_are_told_when_the_broker_closes(square: Square) -> None:
    square.send(WIL, *READY_1)
    square.send(WES, *READY_2)
    last = square.core.close()
    said = {effect.peer: effect.frames for effect in last if isinstance(effect, Send)}
    assert (said[WIL], said[WES]) == ((b"", b"MDPW01", b"\x05"), (b"MDPW02", b"\x06"))
