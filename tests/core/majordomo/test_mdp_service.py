"""Our service at a broker that speaks RFC 7 or RFC 18 alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.majordomo.abroad import V1, V2, ServiceAbroad
from zmqkit.core.majordomo.mdp_service import MdpServiceCore
from zmqkit.errors import ConfigError
from zmqkit.majordomo_limits import MdpPeerLimits
from zmqkit.wire.mdp import (
    Kind,
    Version,
    WorkerCommand,
    disconnect,
    heartbeat,
    read_at_broker,
    worker_request,
)

each_version = pytest.mark.parametrize("version", [V1, V2])
KINDS = {
    V1: {
        "ready": b"\x01", "request": b"\x02", "final": b"\x03", "beat": b"\x04",
        "bye": b"\x05",
    },
    V2: {
        "ready": b"\x01", "request": b"\x02", "partial": b"\x03", "final": b"\x04",
        "beat": b"\x05", "bye": b"\x06",
    },
}  # fmt: skip
HEADS = {V1: (b"", b"MDPW01"), V2: (b"MDPW02",)}


def word(version: Version, kind: str, *rest: bytes) -> tuple[bytes, ...]:
    """A message between a broker and a worker, byte by byte."""
    return (*HEADS[version], KINDS[version][kind], *rest)


def ready(version: Version = V2) -> ServiceAbroad:
    """A service that is registered, and has heard of the broker."""
    abroad = ServiceAbroad(version)
    abroad.comes(*word(version, "beat"))
    abroad.take()
    return abroad


def kinds(abroad: ServiceAbroad) -> list[Kind]:
    """What left since the last time."""
    commands = [read_at_broker(sent) for sent in abroad.take()]
    assert all(isinstance(command, WorkerCommand) for command in commands)
    return [command.kind for command in commands if isinstance(command, WorkerCommand)]


@each_version
def test_its_first_word_is_ready(version: Version) -> None:
    abroad = ServiceAbroad(version, up=False)
    assert abroad.take() == []
    abroad.up()
    assert abroad.take() == [word(version, "ready", b"echo")]
    assert abroad.core.stats()["devices"] == 1


@each_version
def test_a_request_is_handled_and_its_value_is_the_reply(version: Version) -> None:
    abroad = ready(version)
    abroad.comes(*word(version, "request", b"ann", b"", b"one", b"two"))
    [request] = abroad.running
    assert (request.method, request.args) == ("mdp", [b"one", b"two"])
    abroad.answer(b"pong")
    assert abroad.take() == [word(version, "final", b"ann", b"", b"pong")]
    assert abroad.core.stats()["delivered"] == 1


@each_version
@pytest.mark.parametrize(("value", "body"), [
    (b"x", (b"x",)), ([b"a", b""], (b"a", b"")), ("täxt", ("täxt".encode(),)), ([], (b"\x90",)),
    ({"a": 1}, (b"\x81\xa1a\x01",)), (None, (b"\xc0",)),
])  # fmt: skip
def test_any_value_has_frames(version: Version, value: object, body: tuple[bytes, ...]) -> None:
    abroad = ready(version)
    abroad.comes(*word(version, "request", b"ann", b"", b"?"))
    abroad.answer(value)
    assert abroad.take() == [word(version, "final", b"ann", b"", *body)]


@each_version
@given(
    requests=st.lists(
        st.tuples(st.binary(max_size=9), st.lists(st.binary(max_size=9), min_size=1)),
        max_size=5,
    )
)
@pytest.mark.hypothesis
def test_whatever_a_broker_asks_is_handled_and_answered(
    version: Version, requests: list[tuple[bytes, list[bytes]]]
) -> None:
    abroad = ready(version)
    for address, body in requests:
        abroad.comes(*map(bytes, worker_request(version, address, tuple(body))))
        assert abroad.running[0].args == body
        abroad.answer(body)
        expected = [word(version, "final", address, b"", *body)]
        assert abroad.take() == expected


def test_a_long_value_is_passed_on() -> None:
    abroad = ready()
    abroad.comes(*word(V2, "request", b"ann", b"", b"?"))
    abroad.answer(None, bytes(5000))
    assert abroad.take() == [word(V2, "final", b"ann", b"", bytes(5000))]


def test_values_of_a_generator_are_parts_and_the_last_is_final() -> None:
    abroad = ServiceAbroad(V2, streams=True)
    abroad.take()
    abroad.comes(*word(V2, "request", b"ann", b"", b"?"))
    abroad.give(b"1", b"2")
    assert abroad.take() == [
        word(V2, "partial", b"ann", b"", b"1"), word(V2, "partial", b"ann", b"", b"2"),
    ]  # fmt: skip
    abroad.give(b"3", last=True)
    assert abroad.take() == [word(V2, "final", b"ann", b"", b"3")]


@pytest.mark.parametrize(("version", "streams", "words"), [
    (V1, True, "RFC 7 has no replies in parts"), (V1, None, "which has no handler; add one"),
    (V2, None, "which has no handler; add one"),
])  # fmt: skip
def test_a_service_without_a_fitting_handler_is_refused(
    version: Version, streams: bool | None, words: str
) -> None:
    many = {"mdp": False} if streams else {}
    core = MdpServiceCore(1, {"price": False}, 1, many, name="echo", version=version)
    with pytest.raises(ConfigError, match=words):
        core.check_handlers()


# Heartbeats


@each_version
def test_heartbeats_leave_in_their_rhythm(version: Version) -> None:
    abroad = ready(version)
    for _ in range(3):
        abroad.wait(2.5)
        abroad.comes(*map(bytes, heartbeat(version)))
    assert abroad.take() == [word(version, "beat")] * 3


def test_what_leaves_stands_for_a_heartbeat() -> None:
    abroad = ready()
    abroad.wait(2.0)
    abroad.comes(*word(V2, "request", b"ann", b"", b"?"))
    abroad.answer(b"x")
    abroad.wait(2.0)
    assert kinds(abroad) == [Kind.FINAL]
    abroad.wait(1.0)
    assert kinds(abroad) == [Kind.HEARTBEAT]


def test_heartbeats_leave_while_a_handler_runs() -> None:
    abroad = ready()
    abroad.comes(*word(V2, "request", b"ann", b"", b"?"))
    abroad.wait(60.0)
    assert kinds(abroad) == [Kind.HEARTBEAT] * 24
    abroad.answer(b"x")
    assert kinds(abroad) == [Kind.FINAL]


@each_version
def test_a_broker_that_is_silent_is_dialled_anew(version: Version) -> None:
    abroad = ready(version)
    abroad.wait(9.9)
    assert abroad.former == []
    abroad.wait(0.2)
    assert len(abroad.former) == 1 and abroad.link is None
    abroad.take()
    abroad.wait(0.5)
    abroad.up()
    assert abroad.take() == [word(version, "ready", b"echo")]
    assert abroad.events() == ["device-found", "registration-ended"]


def test_a_broker_may_be_silent_while_the_service_is_busy() -> None:
    abroad = ready()
    abroad.comes(*word(V2, "request", b"ann", b"", b"?"))
    abroad.wait(60.0)
    abroad.answer(b"x")
    abroad.wait(9.0)
    assert abroad.former == []
    abroad.wait(1.1)
    assert len(abroad.former) == 1


def test_a_service_that_was_held_up_first_reads_what_came_meanwhile() -> None:
    abroad = ready()
    abroad.now += 60.0
    abroad.perform(abroad.core.tick(abroad.now))
    assert abroad.former == []
    abroad.comes(*word(V2, "beat"))
    abroad.wait(9.0)
    assert abroad.former == []


# Ends of registrations


@each_version
def test_a_disconnect_ends_the_registration(version: Version) -> None:
    abroad = ready(version)
    abroad.comes(*map(bytes, disconnect(version)))
    assert abroad.link is None and abroad.take() == []
    abroad.wait(0.5)
    abroad.up()
    assert kinds(abroad) == [Kind.READY]


def test_the_pause_doubles_while_the_broker_says_nothing_of_use() -> None:
    abroad = ServiceAbroad(V1, MdpPeerLimits(reconnect_s=0.5, reconnect_longest_s=3.0))
    pauses: list[float] = []
    for _ in range(5):
        abroad.comes(*word(V1, "bye"))
        before = abroad.now
        abroad.wait(abroad.core.deadline() - abroad.now)
        pauses.append(abroad.now - before)
        abroad.up()
    assert pauses == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert abroad.events() == ["device-refused"]
    abroad.comes(*word(V1, "beat"))
    abroad.comes(*word(V1, "bye"))
    assert abroad.core.deadline() == abroad.now + 0.5


@each_version
def test_a_request_dies_with_its_registration(version: Version) -> None:
    abroad = ready(version)
    abroad.comes(*word(version, "request", b"ann", b"", b"?"))
    abroad.down()
    assert abroad.aborted == abroad.running and abroad.running[0].cancelled
    abroad.answer(b"late")
    abroad.wait(0.5)
    abroad.up()
    assert abroad.take() == [word(version, "ready", b"echo")]
    assert abroad.core.stats()["dropped"] == {"cancelled": 1}


@each_version
def test_a_request_without_a_value_ends_the_registration(version: Version) -> None:
    abroad = ready(version)
    abroad.comes(*word(version, "request", b"ann", b"", b"?"))
    abroad.fail()
    assert abroad.take() == [] and len(abroad.former) == 1
    assert "mdp-request-failed" in abroad.events()
    abroad.wait(0.5)
    abroad.up()
    assert abroad.take() == [word(version, "ready", b"echo")]
    assert abroad.core.stats()["unanswered"] == {"raised": 1}


def test_a_request_that_is_too_large_ends_the_registration() -> None:
    abroad = ready()
    half = bytes(33 << 20)
    abroad.comes(*word(V2, "request", b"ann", b"", half, half))
    assert abroad.running == [] and len(abroad.former) == 1


def test_a_link_without_room_ends_the_registration() -> None:
    abroad = ready()
    abroad.is_full = True
    abroad.comes(*word(V2, "request", b"ann", b"", b"?"))
    abroad.answer(b"x")
    assert len(abroad.former) == 1


def test_what_a_former_connection_brings_is_void() -> None:
    abroad = ready()
    abroad.comes(*word(V2, "bye"))
    abroad.wait(0.5)
    abroad.up()
    abroad.comes(*word(V2, "request", b"ann", b"", b"?"), peer=abroad.former[0])
    abroad.comes(*word(V2, "bye"), peer=abroad.former[0])
    assert abroad.running == [] and abroad.is_up


def test_that_nobody_is_there_is_told_once() -> None:
    abroad = ServiceAbroad(up=False)
    abroad.wait(2.9)
    assert abroad.events() == []
    abroad.wait(60.0)
    assert abroad.events() == ["device-unreachable"]


def test_a_broker_of_another_version_is_told_of() -> None:
    abroad = ServiceAbroad(V2)
    abroad.wait(60.0)
    [note] = abroad.notes
    assert note.event == "device-unreachable"
    assert note.fields["text"] == "it does not answer as a broker of RFC 18 does"


# What breaks the protocol


@each_version
@pytest.mark.parametrize("message", [
    (b"",), (b"x",), (b"", b""), (b"", b"MDPW01"), (b"MDPW02", b"\x09"),
    (b"", b"MDPC01", b"echo", b"x"),
    (b"MDPW02", b"\x02", b"ann", b"x"), (b"", b"MDPW01", b"\x03", b"ann", b"", b"x"),
    (b"", b"MDPW01", b"\x01", b"echo"),
])  # fmt: skip
def test_what_breaks_the_protocol_is_counted_and_ends_the_registration(
    version: Version, message: tuple[bytes, ...]
) -> None:
    abroad = ready(version)
    abroad.comes(*message)
    assert sum(abroad.core.malformed.values()) == 1
    assert abroad.link is None and abroad.take() == []
    abroad.wait(0.5)
    abroad.up()
    assert abroad.take() == [word(version, "ready", b"echo")]


def test_a_request_of_more_frames_than_are_kept_ends_the_registration() -> None:
    abroad = ready()
    abroad.comes(*word(V2, "request", b"ann", b"", *[b"x"] * 1020))
    assert abroad.core.malformed == {"frames": 1} and abroad.running == []
    assert abroad.link is None


def test_a_second_request_is_counted_and_dropped() -> None:
    abroad = ready()
    for address in (b"ann", b"bob"):
        abroad.comes(*word(V2, "request", address, b"", b"?"))
    assert len(abroad.running) == 1 and abroad.core.malformed == {"request": 1}
    abroad.answer(b"x")
    assert abroad.take() == [word(V2, "final", b"ann", b"", b"x")]


# The end


@each_version
def test_a_service_that_is_idle_says_disconnect_when_it_leaves(version: Version) -> None:
    abroad = ready(version)
    abroad.perform(abroad.core.leave())
    abroad.turn()
    assert abroad.take() == [word(version, "bye")] and abroad.link is None
    abroad.wait(60.0)
    assert abroad.link is None


def test_a_service_that_is_busy_replies_before_it_leaves() -> None:
    abroad = ready()
    abroad.comes(*word(V2, "request", b"ann", b"", b"?"))
    abroad.perform(abroad.core.leave())
    abroad.turn()
    assert abroad.take() == []
    abroad.answer(b"x")
    assert kinds(abroad) == [Kind.FINAL, Kind.DISCONNECT]
    abroad.perform(abroad.core.close())
    assert abroad.take() == []


def test_a_service_that_does_not_finish_says_disconnect_all_the_same() -> None:
    abroad = ready()
    abroad.comes(*word(V2, "request", b"ann", b"", b"?"))
    abroad.perform(abroad.core.close())
    assert kinds(abroad) == [Kind.DISCONNECT] and abroad.link is None


def test_a_service_that_leaves_in_a_pause_dials_no_more() -> None:
    abroad = ready()
    abroad.down()
    abroad.perform(abroad.core.leave())
    abroad.turn()
    abroad.wait(60.0)
    assert abroad.link is None
