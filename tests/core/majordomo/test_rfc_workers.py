"""Workers of RFC 7 and RFC 18 at a back of ours."""

from __future__ import annotations

import pytest

from tests import packets
from tests.core.majordomo.hall import ANN, BACK, BOB, EVE, SERVICE, V1, V2, Hall
from zmqkit.core.effects import News, Tell
from zmqkit.core.majordomo.bodies import MDP
from zmqkit.core.majordomo.feed import Feed
from zmqkit.errors import BadArguments, CallTimeout, NoMethod, PeerLost
from zmqkit.limits import ClientLimits
from zmqkit.majordomo_limits import MdpLimits
from zmqkit.model import Frames
from zmqkit.wire import mdp
from zmqkit.wire import packet as wire
from zmqkit.wire.mdp import Kind, Version
from zmqkit.wire.rows import read_errors

each_version = pytest.mark.parametrize("version", [V1, V2])
REQUEST, HEARTBEAT, DISCONNECT = Kind.REQUEST, Kind.HEARTBEAT, Kind.DISCONNECT


@each_version
def test_a_worker_is_asked_and_its_reply_is_the_value(version: Version) -> None:
    hall = Hall()
    hall.ready(ANN, version=version)
    hall.call("a", b"one", "zwei")
    assert hall.got[0][1].version is version
    address, body = hall.asked(ANN)
    assert body == (b"one", b"zwei")
    hall.final(ANN, address, b"pong", version=version)
    assert hall.outcomes == {"a": b"pong"}


@pytest.mark.parametrize(("body", "value"), [
    ((b"x",), b"x"), ((b"",), b""), ((b"a", b""), [b"a", b""]), ((b"x" * 5000,), b"x" * 5000),
])  # fmt: skip
def test_one_frame_is_bytes_and_more_are_a_list(body: tuple[bytes, ...], value: object) -> None:
    hall = Hall()
    hall.ready(ANN)
    hall.call("a", b"?")
    hall.final(ANN, hall.asked(ANN)[0], *body)
    assert hall.outcomes == {"a": value}


def test_no_arguments_are_an_empty_frame_and_a_raw_one_is_passed_on() -> None:
    hall = Hall()
    hall.ready(ANN, BOB)
    hall.call("a")
    hall.call("b", b"head", memoryview(bytes(5000)))
    assert {hall.asked(ANN)[1], hall.asked(BOB)[1]} == {(b"",), (b"head", bytes(5000))}


@pytest.mark.parametrize("argument", [7, None, [b"x"]])
def test_arguments_that_are_no_frames_are_refused(argument: object) -> None:
    hall = Hall()
    hall.ready(ANN)
    hall.call("a", argument)
    assert isinstance(hall.outcomes["a"], BadArguments) and hall.take() == []


def test_another_method_is_refused_with_the_remedy() -> None:
    hall = Hall()
    hall.ready(ANN)
    hall.call("a", b"?", method="price")
    assert isinstance(hall.outcomes["a"], NoMethod)
    assert str(hall.outcomes["a"]) == "a worker of MDP has the method 'mdp' alone"


def test_a_worker_has_one_request_at_a_time() -> None:
    hall = Hall()
    hall.ready(ANN)
    hall.call("a", b"1")
    hall.call("b", b"2")
    assert hall.asked(ANN)[1] == (b"1",)
    hall.final(ANN, hall.asked(ANN)[0], b"x")
    assert hall.asked(ANN)[1] == (b"2",)


def test_a_request_that_came_too_much_is_refused() -> None:
    hall = Hall()
    hall.ready(ANN)
    hall.call("a", b"1")
    source = hall.tells[0].incarnation
    columns, rows = [[1, 2], [9, 9], [MDP, MDP], [4, 4]], [[{}, [b"x"], {}]] * 2
    frames = packets.pack_rows(wire.REQUEST, BACK, source, columns, rows)
    [refusal] = hall.workers.take(source.to_bytes(8, "big"), frames, 0.0)
    assert isinstance(refusal, Feed)
    [row] = read_errors(wire.unpack(refusal.frames))
    assert row[:2] == (2, "busy") and row[5] is False
    assert hall.stats["duplicates"] == 1 and hall.stats["refused"] == 1


def test_parts_of_a_reply_are_joined_for_who_wants_one_value() -> None:
    hall = Hall()
    hall.ready(ANN)
    hall.call("a", b"?")
    address, _ = hall.asked(ANN)
    hall.partial(ANN, address, b"1", b"2")
    hall.partial(ANN, address, b"3")
    assert hall.outcomes == {}
    hall.final(ANN, address, b"4")
    assert hall.outcomes == {"a": [b"1", b"2", b"3", b"4"]}


def test_parts_of_a_reply_are_the_values_of_a_stream() -> None:
    hall = Hall()
    hall.ready(ANN)
    call = hall.stream(b"?")
    address, _ = hall.asked(ANN)
    hall.partial(ANN, address, b"1", b"2")
    assert hall.read(call) == [[b"1", b"2"]] and not call.over
    hall.partial(ANN, address, bytes(5000))
    hall.final(ANN, address, b"4")
    assert hall.read(call) == [bytes(5000), b"4"] and call.over and call.error is None


@each_version
def test_a_reply_in_one_part_is_a_stream_of_one_value(version: Version) -> None:
    hall = Hall()
    hall.ready(ANN, version=version)
    call = hall.stream(b"?")
    hall.final(ANN, hall.asked(ANN)[0], b"x", version=version)
    assert hall.read(call) == [b"x"] and call.over


def test_values_wait_for_credit_and_their_worker_goes_on() -> None:
    hall = Hall(back_limits=ClientLimits(stream_items_max=4))
    hall.ready(ANN)
    call = hall.stream(b"?")
    address, _ = hall.asked(ANN)
    for n in range(20):
        hall.partial(ANN, address, bytes((n,)))
    hall.final(ANN, address, b"end")
    assert len(call.values) == 4
    hall.wait(5.0)
    assert hall.stats["workers"] == 1
    assert hall.read(call) == [*(bytes((n,)) for n in range(20)), b"end"]
    assert call.over and call.error is None and hall.stats["delivered"] == 1


def test_values_that_wait_are_told_though_their_worker_went() -> None:
    hall = Hall(back_limits=ClientLimits(stream_items_max=4))
    hall.ready(ANN)
    call = hall.stream(b"?")
    address, _ = hall.asked(ANN)
    for n in range(9):
        hall.partial(ANN, address, bytes((n,)))
    hall.final(ANN, address, b"end")
    hall.leave(ANN)
    hall.call("next", b"?")
    assert hall.stats["workers"] == 0 and not hall.outcomes
    assert len(hall.read(call)) == 10 and call.over and call.error is None
    assert [tell.news for tell in hall.tells] == [News.FOUND, News.LOST, News.GONE]
    assert hall.back.instances == []


def test_values_that_wait_are_dropped_if_nobody_wants_them() -> None:
    hall = Hall(back_limits=ClientLimits(stream_items_max=1))
    hall.ready(ANN)
    call = hall.stream(b"?")
    address, _ = hall.asked(ANN)
    hall.partial(ANN, address, b"1")
    hall.final(ANN, address, b"2")
    hall.leave(ANN)
    hall.perform(hall.back.cancel(call.sequence, 0.0))
    assert hall.back.instances == [] and hall.stats["unwanted"] == 1


def test_a_worker_that_sends_too_much_loses_its_request() -> None:
    hall = Hall(MdpLimits(reply_bytes_max=100))
    hall.ready(ANN)
    hall.call("a", b"?")
    address, _ = hall.asked(ANN)
    hall.partial(ANN, address, bytes(60))
    hall.final(ANN, address, bytes(60))
    assert isinstance(hall.outcomes["a"], PeerLost)
    assert "sent more than 100 bytes that could not be passed on" in str(hall.outcomes["a"])
    assert hall.take()[-1] == (ANN, DISCONNECT) and hall.stats["expelled"] == {"too-much": 1}


def test_a_worker_that_sends_too_much_of_a_stream_loses_it() -> None:
    hall = Hall(MdpLimits(reply_bytes_max=100), ClientLimits(stream_items_max=1))
    hall.ready(ANN)
    call = hall.stream(b"?")
    address, _ = hall.asked(ANN)
    for _ in range(3):
        hall.partial(ANN, address, bytes(60))
    assert call.over and isinstance(call.error, PeerLost)
    assert hall.stats["workers"] == 0 and hall.back.instances == []


def test_empty_parts_are_too_much_as_well() -> None:
    hall = Hall(MdpLimits(reply_bytes_max=1000))
    hall.ready(ANN)
    hall.call("a", b"?")
    address, _ = hall.asked(ANN)
    for _ in range(9):
        assert "a" not in hall.outcomes
        hall.partial(ANN, address, b"")
    assert hall.take()[-1] == (ANN, DISCONNECT) and "a" in hall.outcomes


@each_version
def test_an_idle_worker_and_the_broker_say_that_they_are_there(version: Version) -> None:
    hall = Hall()
    hall.ready(ANN, version=version)
    for _ in range(20):
        hall.wait(2.5)
        hall.beat(ANN, version)
    assert hall.take() == [(ANN, HEARTBEAT)] * 20


def test_an_idle_worker_that_says_nothing_for_four_pauses_is_gone() -> None:
    hall = Hall()
    hall.ready(ANN)
    hall.wait(9.9)
    assert hall.stats["workers"] == 1
    hall.wait(0.1)
    assert hall.take() == [*[(ANN, HEARTBEAT)] * 3, (ANN, DISCONNECT)]
    assert hall.stats["expelled"] == {"silent": 1} and hall.back.instances == []


def test_nobody_is_silent_while_the_broker_itself_was_held_up() -> None:
    hall = Hall()
    hall.ready(ANN, BOB)
    hall.call("a", b"?")
    hall.now = 100.0
    hall.follow(hall.workers.tick(hall.now))
    assert hall.stats["workers"] == 2
    hall.beat(ANN)
    hall.beat(BOB)
    hall.wait(2.4)
    assert hall.stats["workers"] == 2 and hall.stats["dropped"] == {}


def test_a_broker_hears_no_heartbeat_right_after_a_request() -> None:
    hall = Hall()
    hall.ready(ANN)
    hall.wait(2.0)
    hall.call("a", b"?")
    hall.take()
    hall.wait(0.6)
    assert hall.take() == []
    hall.wait(2.5)
    assert hall.take() == [(ANN, HEARTBEAT)]


@each_version
def test_a_request_moves_when_the_lease_of_its_worker_is_over(version: Version) -> None:
    hall = Hall()
    hall.ready(ANN, version=version)
    hall.call("a", b"?")
    hall.ready(BOB, version=version)
    for _ in range(4):
        hall.beat(ANN, version)
        hall.beat(BOB, version)
        hall.wait(2.5)
    assert (ANN, DISCONNECT) in hall.take()
    assert hall.stats["dropped"] == {"late": 1}
    hall.final(BOB, (1).to_bytes(8, "big"), b"x", version=version)
    assert hall.outcomes == {"a": b"x"}


def test_a_reply_after_the_lease_is_no_reply() -> None:
    hall = Hall()
    hall.ready(ANN)
    hall.call("a", b"?")
    address, _ = hall.asked(ANN)
    hall.wait(10.0)
    hall.take()
    hall.final(ANN, address, b"too late")
    assert hall.take() == [(ANN, DISCONNECT)] and hall.outcomes == {}


def test_parts_of_a_reply_begin_the_lease_anew() -> None:
    hall = Hall()
    hall.ready(ANN)
    call = hall.stream(b"?")
    address, _ = hall.asked(ANN)
    for _ in range(10):
        hall.wait(9.0)
        hall.partial(ANN, address, b"x")
    hall.final(ANN, address, b"x")
    assert len(hall.read(call)) == 11 and call.over


def test_a_request_is_tried_so_often_and_then_fails() -> None:
    hall = Hall()
    hall.call("a", b"?")
    for peer in (ANN, BOB, EVE):
        assert hall.outcomes == {}
        hall.ready(peer)
        assert hall.asked(peer)[1] == (b"?",)
        hall.leave(peer)
    assert isinstance(hall.outcomes["a"], PeerLost)


def test_a_stream_that_has_begun_does_not_move() -> None:
    hall = Hall()
    hall.ready(ANN)
    call = hall.stream(b"?")
    hall.partial(ANN, hall.asked(ANN)[0], b"x")
    hall.leave(ANN)
    hall.ready(BOB)
    assert hall.read(call) == [b"x"] and isinstance(call.error, PeerLost)
    assert hall.take() == [(ANN, REQUEST)]


@each_version
def test_a_worker_may_go_at_any_time(version: Version) -> None:
    hall = Hall()
    hall.leave(ANN, version)  # unknown
    hall.ready(ANN, version=version)
    hall.leave(ANN, version)  # idle
    hall.ready(BOB, version=version)
    hall.call("a", b"?")
    hall.leave(BOB, version)  # busy
    hall.leave(BOB, version)  # unknown again
    assert hall.take() == [(BOB, REQUEST)] and hall.stats["workers"] == 0
    hall.ready(EVE, version=version)
    assert hall.take() == [(EVE, REQUEST)]


def unexpected(version: Version) -> list[tuple[str, Frames]]:
    """What a worker may not say now."""
    return [
        ("ready twice", mdp.worker_ready(version, SERVICE)),
        ("a reply to nothing", mdp.worker_final(version, b"x", (b"",))),
        ("a request", mdp.worker_request(version, b"x", (b"",))),
    ]


@each_version
@pytest.mark.parametrize("at", range(3), ids=[name for name, _ in unexpected(V1)])
@pytest.mark.parametrize("busy", [False, True])
def test_a_worker_that_says_what_it_may_not_is_expelled(
    version: Version, at: int, busy: bool
) -> None:
    hall = Hall()
    hall.ready(ANN, version=version)
    if busy:
        hall.call("a", b"?")
    hall.take()
    hall.says(ANN, unexpected(version)[at][1])
    assert hall.take() == [(ANN, DISCONNECT)] and hall.back.instances == []
    hall.ready(BOB, version=version)
    assert hall.take() == [(BOB, REQUEST)] * busy


@each_version
def test_whoever_is_not_known_is_told_to_go(version: Version) -> None:
    hall = Hall()
    hall.beat(ANN, version)
    hall.final(ANN, b"x", b"", version=version)
    hall.says(ANN, mdp.worker_request(version, b"x", (b"",)))
    assert hall.take() == [(ANN, DISCONNECT)] * 3 and hall.tells == []


def test_a_part_of_a_reply_to_nothing_is_not_expected() -> None:
    hall = Hall()
    hall.partial(ANN, b"x", b"")
    hall.ready(ANN)
    hall.partial(ANN, b"x", b"")
    assert hall.take() == [(ANN, DISCONNECT)] * 2


@each_version
def test_a_worker_of_a_reserved_service_is_told_to_go(version: Version) -> None:
    hall = Hall()
    hall.ready(ANN, version=version, service="mmi.service")
    assert hall.take() == [(ANN, DISCONNECT)] and hall.tells == []


def test_a_worker_of_another_version_is_a_new_one() -> None:
    hall = Hall()
    hall.ready(ANN, version=V1)
    hall.ready(ANN, version=V2)
    assert [tell.news for tell in hall.tells] == [News.FOUND, News.LOST, News.GONE, News.FOUND]
    hall.beat(ANN, V1)
    assert hall.got[-1][1].version is V1 and hall.take() == [(ANN, DISCONNECT)]


def test_workers_have_numbers_of_their_own_and_endpoints_that_nobody_dials() -> None:
    hall = Hall()
    hall.ready(ANN)
    hall.ready(BOB, service="other")
    [ann, bob] = hall.tells
    assert ann == Tell(News.FOUND, SERVICE, ann.incarnation, "mdp://00616e6e")
    assert bob.key == "other" and bob.incarnation != ann.incarnation
    assert ann.incarnation.to_bytes(8, "big") in hall.workers and ANN not in hall.workers
    assert ann.incarnation >> 56 == 0xFF


def test_there_are_so_many_workers_and_no_more() -> None:
    hall = Hall(MdpLimits(workers_max=1))
    hall.ready(ANN)
    hall.ready(BOB)
    assert hall.take() == [(BOB, DISCONNECT)]
    assert hall.stats["expelled"] == {"workers-full": 1}
    assert [note.fields["reason"] for note in hall.notes] == ["workers-full"]


def test_a_call_that_was_given_up_keeps_its_worker_busy() -> None:
    hall = Hall()
    hall.ready(ANN)
    number = hall.call("a", b"1")
    address, _ = hall.asked(ANN)
    hall.call("b", b"2")
    hall.perform(hall.back.cancel(number, 0.0))
    hall.wait(5.0)
    assert hall.asked(ANN)[1] == (b"1",)
    hall.final(ANN, address, b"nobody wants it")
    hall.wait(1.1)
    assert hall.asked(ANN)[1] == (b"2",)
    assert hall.stats["unwanted"] == 1 and hall.stats["in_flight"] == 1


def test_a_call_that_ran_out_of_time_keeps_its_worker_busy() -> None:
    hall = Hall()
    hall.ready(ANN)
    hall.call("a", b"1", timeout_s=3.0)
    hall.wait(4.0)
    assert isinstance(hall.outcomes["a"], CallTimeout)
    hall.final(ANN, hall.asked(ANN)[0], b"too late")
    assert hall.stats["workers"] == 1 and hall.stats["in_flight"] == 0


def test_a_worker_that_runs_gives_nothing_back() -> None:
    hall = Hall()
    hall.ready(ANN)
    hall.call("a", b"1")
    hall.ready(BOB)  # idle, so the back would have it
    hall.wait(3.0)
    hall.final(ANN, hall.asked(ANN)[0], b"x")
    assert hall.outcomes == {"a": b"x"} and hall.stats["malformed"] == {}


def test_a_worker_that_cannot_be_reached_is_gone() -> None:
    hall = Hall()
    hall.ready(ANN)
    hall.call("a", b"?")
    hall.follow(hall.workers.unsent(ANN, 0.0))
    hall.follow(hall.workers.unsent(ANN, 0.0))
    hall.ready(BOB)
    assert hall.take() == [(ANN, REQUEST), (BOB, REQUEST)]


def test_a_worker_that_sends_what_is_malformed_is_expelled() -> None:
    hall = Hall()
    hall.ready(ANN)
    hall.follow(hall.workers.distrust(ANN, 0.0))
    hall.follow(hall.workers.distrust(BOB, 0.0))
    assert hall.take() == [(ANN, DISCONNECT)] and hall.stats["expelled"] == {"malformed": 1}


def test_all_workers_are_told_when_the_broker_closes() -> None:
    hall = Hall()
    hall.ready(ANN, BOB)
    hall.call("a", b"?")
    hall.take()
    hall.follow(hall.workers.close())
    assert hall.take() == [(ANN, DISCONNECT), (BOB, DISCONNECT)]
    assert hall.workers.deadline() == float("inf") and hall.stats["dropped"] == {"closed": 1}


def test_a_one_way_message_is_acknowledged_without_a_value() -> None:
    hall = Hall()
    hall.ready(ANN)
    tell = hall.tells[0]
    inner = tell.incarnation.to_bytes(8, "big")
    rows, columns = [[{}, [b"x"], {}]], [[5], [1000], [MDP], [4]]
    frames = packets.pack_rows(wire.NOTIFY, BACK, tell.incarnation, columns, rows)
    hall.follow(hall.workers.take(inner, frames, 0.0))
    address, _ = hall.asked(ANN)
    command = mdp.read_at_broker(mdp.worker_final(V2, address, (b"y",)))
    assert isinstance(command, mdp.WorkerCommand)
    [feed] = hall.workers.receive(ANN, command, 0.0)
    assert isinstance(feed, Feed)
    assert packets.content(wire.unpack(feed.frames)) == (wire.REPLY, [[5], [None]])


def test_odd_packets_of_a_back_change_nothing() -> None:
    hall = Hall()
    hall.ready(ANN)
    call = hall.stream(b"?")
    source = hall.tells[0].incarnation
    inner = source.to_bytes(8, "big")
    for frames in (
        (b"x",), packets.hello(BACK, source + 1), packets.cancel(BACK + 1, source, 1),
        packets.recall(BACK, source, 1), packets.grant(BACK, source, 1, 9),
        packets.grant(BACK, source, 7, 0), packets.welcome(BACK, source),
        packets.cancel(BACK, source, 9), wire.pack(wire.PING, BACK, source, 0, b"\xc0"),
    ):  # fmt: skip
        assert hall.workers.take(inner, frames, 0.0) == []
    assert hall.workers.take(b"x", packets.hello(BACK, source), 0.0) == []
    hall.final(ANN, hall.asked(ANN)[0], b"x")
    assert hall.read(call) == [b"x"]
