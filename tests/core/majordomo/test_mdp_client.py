"""Our client at a broker that speaks RFC 7 or RFC 18 alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.majordomo.abroad import V1, V2, ClientAbroad
from zmqkit.core.calls.call import Call, CallOptions
from zmqkit.core.majordomo.bodies import MDP
from zmqkit.errors import CallTimeout, NoMethod, NoService, PeerLost, QueueFull, UsageError
from zmqkit.limits import ClientLimits
from zmqkit.majordomo_limits import MdpPeerLimits
from zmqkit.model import Frames
from zmqkit.wire.mdp import Version, final, partial, read_at_broker
from zmqkit.wire.rows import request_row

each_version = pytest.mark.parametrize("version", [V1, V2])
ASK_1 = (b"", b"MDPC01", b"echo")
ASK_2 = (b"MDPC02", b"\x01", b"echo")


def frames(given: Frames) -> tuple[bytes, ...]:
    return tuple(map(bytes, given))


def reply(version: Version, *body: bytes, service: str = "echo") -> tuple[bytes, ...]:
    return frames(final(version, service, body))


def part(*body: bytes) -> tuple[bytes, ...]:
    return frames(partial("echo", body))


def test_a_request_and_its_reply_are_those_of_rfc_7() -> None:
    abroad = ClientAbroad(V1)
    abroad.call("a", b"one", "zwei")
    assert abroad.take() == [(b"", b"MDPC01", b"echo", b"one", b"zwei")]
    abroad.comes(b"", b"MDPC01", b"echo", b"pong")
    assert abroad.outcomes == {"a": b"pong"}


def test_a_request_and_its_replies_are_those_of_rfc_18() -> None:
    abroad = ClientAbroad(V2)
    abroad.call("a", b"one", "zwei")
    assert abroad.take() == [(b"MDPC02", b"\x01", b"echo", b"one", b"zwei")]
    abroad.comes(b"MDPC02", b"\x02", b"echo", b"po")
    abroad.comes(b"MDPC02", b"\x03", b"echo", b"ng")
    assert abroad.outcomes == {"a": [b"po", b"ng"]}


@each_version
@pytest.mark.parametrize(("body", "value"), [
    ((b"x",), b"x"), ((b"",), b""), ((b"a", b""), [b"a", b""]), ((b"x" * 5000,), b"x" * 5000),
])  # fmt: skip
def test_one_frame_is_bytes_and_more_are_a_list(
    version: Version, body: tuple[bytes, ...], value: object
) -> None:
    abroad = ClientAbroad(version)
    abroad.call("a", b"?")
    abroad.comes(*reply(version, *body))
    assert abroad.outcomes == {"a": value}


@each_version
@given(
    bodies=st.lists(st.lists(st.binary(max_size=9), min_size=1, max_size=4), max_size=4),
    last=st.lists(st.binary(max_size=9), min_size=1, max_size=4),
)
@pytest.mark.hypothesis
def test_every_request_reaches_a_broker_and_every_reply_its_caller(
    version: Version, bodies: list[list[bytes]], last: list[bytes]
) -> None:
    abroad = ClientAbroad(version)
    parts = bodies if version is V2 else []
    for body in [*bodies, last]:
        abroad.call(len(abroad.outcomes), *body)
        [sent] = abroad.take()
        command = read_at_broker(sent)
        assert (command.version, command.service) == (version, "echo")
        assert command.body == tuple(body)
        for each in parts:
            abroad.comes(*part(*each))
        abroad.comes(*reply(version, *last))
    whole = [frame for each in [*parts, last] for frame in each]
    expected = whole if len(whole) > 1 else whole[0]
    assert list(abroad.outcomes.values()) == [expected] * (len(bodies) + 1)


def test_no_arguments_are_an_empty_frame_and_a_long_one_is_passed_on() -> None:
    abroad = ClientAbroad(V1)
    abroad.call("a")
    abroad.comes(*reply(V1, b"x"))
    abroad.call("b", b"head", memoryview(bytes(5000)))
    assert abroad.take() == [(*ASK_1, b""), (*ASK_1, b"head", bytes(5000))]


@pytest.mark.parametrize("argument", [7, None, [b"x"]])
def test_arguments_that_are_no_frames_are_refused_at_once(argument: object) -> None:
    abroad = ClientAbroad()
    with pytest.raises(UsageError, match="are frames: bytes or text"):
        abroad.call("a", argument)
    with pytest.raises(UsageError, match="are frames: bytes or text"):
        abroad.stream(argument)
    assert abroad.take() == []


def test_another_method_is_refused_with_the_remedy() -> None:
    with pytest.raises(NoMethod, match=r"'price'; .* call\('mdp', b'frame', \.\.\.\)"):
        ClientAbroad().call("a", b"?", method="price")


@each_version
def test_one_request_is_under_way_and_the_others_wait_in_line(version: Version) -> None:
    ask = ASK_1 if version is V1 else ASK_2
    abroad = ClientAbroad(version)
    for waiter in ("a", "b", "c"):
        abroad.call(waiter, waiter)
    assert abroad.take() == [(*ask, b"a")]
    abroad.comes(*reply(version, b"1"))
    assert abroad.take() == [(*ask, b"b")]
    abroad.comes(*reply(version, b"2"))
    abroad.comes(*reply(version, b"3"))
    assert abroad.outcomes == {"a": b"1", "b": b"2", "c": b"3"}


def test_the_line_has_a_limit() -> None:
    abroad = ClientAbroad(client_limits=ClientLimits(waiting_calls_max=1))
    abroad.call("a", b"?")
    abroad.call("b", b"?")
    with pytest.raises(QueueFull):
        abroad.call("c", b"?")


def test_a_call_waits_for_room_in_line_and_takes_its_turn() -> None:
    abroad = ClientAbroad(V1, client_limits=ClientLimits(waiting_calls_max=1))
    for waiter in "abc":
        body = request_row(MDP, {}, (waiter,), {})
        abroad.core.call(MDP, body, None, CallOptions(), waiter, abroad.now)
        abroad.turn()
    for waiter in "abc":
        assert [frames[-1] for frames in abroad.take()] == [waiter.encode()]
        abroad.comes(*reply(V1, waiter.encode()))
    assert abroad.outcomes == {"a": b"a", "b": b"b", "c": b"c"}


def test_instances_behind_the_broker_are_nobody_s_to_choose() -> None:
    abroad = ClientAbroad()
    options = CallOptions(instance="echo-1a2b3c4d")
    body = request_row(MDP, {}, (b"x",), {})
    with pytest.raises(UsageError, match="leave instance= out"):
        abroad.core.call(MDP, body, None, options, "a", abroad.now)
    with pytest.raises(UsageError, match="use call"):
        abroad.core.call_each(lambda: Call(0, MDP, body, None, options, "a", 0.0), abroad.now)


# Connections


def test_nobody_is_there_until_there_is_a_connection() -> None:
    abroad = ClientAbroad(up=False)
    abroad.call("a", b"?", wait_s=5.0)
    abroad.wait(4.9)
    assert abroad.outcomes == {} and abroad.take() == []
    abroad.wait(0.2)
    error = abroad.outcomes["a"]
    assert isinstance(error, NoService) and not error.may_have_run
    assert "no broker answered there; check host and port" in str(error)


@each_version
def test_a_call_waits_for_the_connection(version: Version) -> None:
    abroad = ClientAbroad(version, up=False)
    abroad.call("a", b"?")
    abroad.wait(3.0)
    abroad.up()
    assert len(abroad.take()) == 1
    abroad.comes(*reply(version, b"x"))
    assert abroad.outcomes == {"a": b"x"}


@each_version
def test_a_late_reply_dies_with_its_connection(version: Version) -> None:
    abroad = ClientAbroad(version)
    abroad.call("a", b"1", timeout_s=2.0)
    abroad.wait(2.1)
    error = abroad.outcomes["a"]
    assert isinstance(error, CallTimeout) and error.may_have_run
    [former] = abroad.former
    assert abroad.link != former and not abroad.is_up
    abroad.call("b", b"2")
    assert len(abroad.take()) == 1
    abroad.up()
    assert abroad.take()[0][-1] == b"2"
    abroad.comes(*reply(version, b"late"), peer=former)
    assert "b" not in abroad.outcomes
    abroad.comes(*reply(version, b"right"))
    assert abroad.outcomes["b"] == b"right"
    assert abroad.core.stats()["given_up"] == 1


def test_a_cancelled_request_ends_its_connection_too() -> None:
    abroad = ClientAbroad()
    number = abroad.call("a", b"1")
    abroad.perform(abroad.core.cancel(number, abroad.now))
    abroad.turn()
    abroad.wait(2.0)
    assert len(abroad.former) == 1


def test_a_call_that_waits_in_line_costs_no_connection() -> None:
    abroad = ClientAbroad()
    abroad.call("a", b"1")
    number = abroad.call("b", b"2")
    abroad.perform(abroad.core.cancel(number, abroad.now))
    abroad.call("c", b"3", timeout_s=2.0)
    abroad.wait(3.0)
    error = abroad.outcomes["c"]
    assert isinstance(error, CallTimeout) and not error.may_have_run
    assert abroad.former == []


@each_version
def test_a_request_is_sent_again_by_the_next_connection(version: Version) -> None:
    abroad = ClientAbroad(version)
    abroad.wait(10.0)
    abroad.call("a", b"1")
    abroad.down()
    abroad.up()
    assert [sent[-1] for sent in abroad.take()] == [b"1", b"1"]
    abroad.comes(*reply(version, b"x"))
    assert abroad.outcomes == {"a": b"x"}
    assert (abroad.core.stats()["broken"], abroad.core.stats()["retries"]) == (1, 1)


def test_a_request_is_sent_as_often_as_attempts_says() -> None:
    abroad = ClientAbroad()
    abroad.call("a", b"1", attempts=2)
    for _ in range(2):
        abroad.wait(1.0)
        abroad.down()
        abroad.wait(1.0)
        abroad.up()
    assert len(abroad.take()) == 2
    error = abroad.outcomes["a"]
    assert isinstance(error, PeerLost) and error.may_have_run
    assert "attempts" in str(error)


def test_a_stream_that_has_begun_is_not_sent_again() -> None:
    abroad = ClientAbroad()
    call = abroad.stream(b"?")
    abroad.comes(*part(b"1"))
    abroad.down()
    assert abroad.read(call) == [b"1"]
    assert call.over and isinstance(call.error, PeerLost)


def test_calls_wait_for_a_broker_that_restarts() -> None:
    abroad = ClientAbroad()
    abroad.wait(10.0)
    abroad.down()
    abroad.call("a", b"1", wait_s=1.0)
    abroad.wait(4.0)
    abroad.up()
    abroad.comes(*reply(V2, b"x"))
    assert abroad.outcomes == {"a": b"x"}


def test_a_broker_that_does_not_return_is_not_there() -> None:
    abroad = ClientAbroad()
    abroad.wait(10.0)
    abroad.down()
    abroad.call("a", b"1", wait_s=1.0)
    abroad.wait(5.1)
    assert isinstance(abroad.outcomes["a"], NoService)
    abroad.up()
    abroad.call("b", b"2")
    assert abroad.take() == [(*ASK_2, b"2")]


def test_a_broker_that_hangs_up_at_once_is_not_dialled_at_once_again() -> None:
    abroad = ClientAbroad(limits=MdpPeerLimits(reconnect_s=0.5))
    for _ in range(10):
        abroad.down()
        assert abroad.link is None
        abroad.wait(0.5)
        abroad.up()
    assert abroad.now == pytest.approx(5.0)


def test_a_request_without_room_is_sent_soon() -> None:
    abroad = ClientAbroad()
    abroad.is_full = True
    abroad.call("a", b"1")
    abroad.is_full = False
    abroad.wait(0.1)
    assert abroad.take() == [(*ASK_2, b"1")]
    abroad.comes(*reply(V2, b"x"))
    assert abroad.outcomes == {"a": b"x"}


def test_a_request_that_found_no_room_cannot_have_run() -> None:
    abroad = ClientAbroad()
    abroad.is_full = True
    abroad.call("a", b"1", timeout_s=1.0)
    abroad.wait(1.1)
    error = abroad.outcomes["a"]
    assert isinstance(error, CallTimeout) and not error.may_have_run


# Streams


def test_parts_are_values_of_a_stream_and_so_is_the_last() -> None:
    abroad = ClientAbroad()
    call = abroad.stream(b"?")
    abroad.comes(*part(b"1"))
    assert abroad.read(call) == [b"1"] and not call.over
    abroad.comes(*part(b"2", b"3"))
    abroad.comes(*reply(V2, b"4"))
    assert abroad.read(call) == [[b"2", b"3"], b"4"]
    assert call.over and call.error is None
    abroad.call("a", b"next")
    assert abroad.take()[-1] == (*ASK_2, b"next")


def test_a_reply_of_rfc_7_is_a_stream_of_one_value() -> None:
    abroad = ClientAbroad(V1)
    call = abroad.stream(b"?")
    abroad.comes(*reply(V1, b"1"))
    assert abroad.read(call) == [b"1"] and call.over


def test_parts_wait_until_their_reader_has_room() -> None:
    abroad = ClientAbroad(client_limits=ClientLimits(stream_items_max=2))
    call = abroad.stream(b"?")
    for number in range(5):
        abroad.comes(*part(b"%d" % number))
    abroad.comes(*reply(V2, b"end"))
    assert len(call.values) == 2
    assert abroad.read(call) == [b"0", b"1", b"2", b"3", b"4", b"end"] and call.over


def test_whoever_leaves_a_stream_early_ends_the_connection() -> None:
    abroad = ClientAbroad()
    call = abroad.stream(b"?")
    abroad.comes(*part(b"1"))
    abroad.core.abandon(call)
    abroad.perform(abroad.core.tick(abroad.now))
    assert len(abroad.former) == 1


def test_whoever_leaves_a_stream_that_has_all_come_keeps_the_connection() -> None:
    abroad = ClientAbroad(client_limits=ClientLimits(stream_items_max=1))
    call = abroad.stream(b"?")
    abroad.comes(*part(b"1"))
    abroad.comes(*reply(V2, b"2"))
    abroad.core.abandon(call)
    abroad.perform(abroad.core.tick(abroad.now))
    abroad.wait(2.0)
    abroad.call("a", b"next")
    assert abroad.former == [] and abroad.take()[-1] == (*ASK_2, b"next")


# What breaks the protocol


@each_version
@pytest.mark.parametrize("message", [
    (b"",), (b"x",), (b"", b""), (b"", b"MDPC01"), (b"MDPC02", b"\x03"),
    (b"MDPC01", b"echo", b"x"), (b"", b"MDPW01", b"\x04"), (b"MDPC02", b"\x01", b"echo", b"x"),
    (b"MDPC02", b"\x07", b"echo", b"x"),
    (b"", b"MDPC01", b"other", b"x"), (b"MDPC02", b"\x03", b"other", b"x"),
])  # fmt: skip
def test_what_breaks_the_protocol_is_counted(
    version: Version, message: tuple[bytes, ...]
) -> None:
    abroad = ClientAbroad(version)
    abroad.call("a", b"?")
    abroad.comes(*message)
    assert abroad.outcomes == {}
    assert sum(abroad.core.malformed.values()) == 1
    abroad.comes(*reply(version, b"x"))
    assert abroad.outcomes == {"a": b"x"}


def test_a_reply_of_more_frames_than_are_kept_is_none() -> None:
    abroad = ClientAbroad()
    abroad.call("a", b"?")
    abroad.comes(*reply(V2, *[b"x"] * 1021))
    assert abroad.outcomes == {} and abroad.core.malformed == {"frames": 1}
    abroad.comes(*reply(V2, *[b"x"] * 1020))
    assert abroad.outcomes == {"a": [b"x"] * 1020}


@each_version
def test_a_reply_to_nothing_is_counted(version: Version) -> None:
    abroad = ClientAbroad(version)
    abroad.comes(*reply(version, b"x"))
    assert abroad.core.stats()["unexpected"] == 1
    assert abroad.core.malformed.total() == 0


def test_a_reply_that_is_too_long_is_an_error() -> None:
    abroad = ClientAbroad(limits=MdpPeerLimits(reply_bytes_max=100))
    abroad.call("a", b"?")
    abroad.comes(*part(bytes(60)))
    abroad.comes(*part(bytes(60)))
    error = abroad.outcomes["a"]
    assert isinstance(error, PeerLost) and error.may_have_run
    assert "more than 100 bytes" in str(error) and len(abroad.former) == 1


def test_a_closed_client_has_no_connection() -> None:
    abroad = ClientAbroad()
    abroad.call("a", b"?")
    abroad.stream(b"?")
    abroad.perform(abroad.core.close())
    assert abroad.link is None
    abroad.wait(100.0)
    assert abroad.link is None
