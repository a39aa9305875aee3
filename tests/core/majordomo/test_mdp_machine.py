"""Our client and our service at a broker of another kind, whatever happens in any order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.majordomo.abroad import V1, V2, ClientAbroad, ServiceAbroad
from zmqkit.errors import ZmqkitError
from zmqkit.model import PeerId
from zmqkit.wire import mdp
from zmqkit.wire.mdp import ClientRequest, Kind, Version, WorkerCommand, read_at_broker

pytestmark = pytest.mark.hypothesis

GARBAGE = ((b"",), (b"x", b"y"), (b"", b"MDPC01", b"echo"), (b"MDPW02", b"\x02", b"a", b"b"))
each_version = pytest.mark.parametrize("version", [V1, V2])


@each_version
@given(steps=st.lists(st.sampled_from([
    "call", "short", "stream", "up", "down", "reply", "reply", "part", "late", "garbage",
    "cancel", "moment", "while", "full", "read", "leave",
]), max_size=60))  # fmt: skip
def test_each_call_has_its_own_reply_or_an_error(version: Version, steps: list[str]) -> None:
    abroad = ClientAbroad(version, up=False)
    asked: dict[PeerId, bytes] = {}
    numbers: dict[bytes, int] = {}
    streams = {}

    def say(peer: PeerId, *, whole: bool) -> None:
        body = asked[peer]
        if whole:
            del asked[peer]
            abroad.comes(*map(bytes, mdp.final(version, "echo", (body,))), peer=peer)
        elif version is V2:
            abroad.comes(*map(bytes, mdp.partial("echo", (body,))), peer=peer)
        look()

    def look() -> None:
        for peer, sent in abroad.take_by_link():
            command = read_at_broker(sent)
            assert isinstance(command, ClientRequest)
            assert peer not in asked, "a second request before the reply to the first"
            asked[peer] = bytes(command.body[0])

    for at, step in enumerate(steps):
        body = b"%d" % at
        if step in ("call", "short"):
            seconds = 60.0 if step == "call" else 1.0
            numbers[body] = abroad.call(body, body, timeout_s=seconds, wait_s=seconds)
        elif step == "stream":
            streams[body] = abroad.stream(body)
        elif step == "up" and abroad.link is not None and not abroad.is_up:
            abroad.up()
        elif step == "down" and abroad.is_up:
            abroad.down()
        elif step in ("reply", "part") and abroad.link in asked:
            say(abroad.link, whole=step == "reply")
        elif step == "late" and (old := [peer for peer in abroad.former if peer in asked]):
            say(old[0], whole=True)
        elif step == "garbage" and abroad.is_up:
            abroad.comes(*GARBAGE[at % len(GARBAGE)])
        elif step == "cancel" and numbers:
            abroad.perform(abroad.core.cancel(numbers.popitem()[1], abroad.now))
            abroad.turn()
        elif step in ("moment", "while"):
            abroad.wait(0.3 if step == "moment" else 6.0)
        elif step == "full":
            abroad.is_full = not abroad.is_full
        elif step == "leave" and streams:
            abroad.core.abandon(streams.popitem()[1])
            abroad.wait(0.1)
        for of, call in streams.items():
            assert {*map(bytes, map(_bytes, abroad.read(call)))} <= {of}
        look()
    for waiter, outcome in abroad.outcomes.items():
        if waiter is not None and not isinstance(outcome, ZmqkitError):
            parts = outcome if isinstance(outcome, list) else [outcome]
            assert {*parts} == {waiter}
    abroad.perform(abroad.core.close())
    assert abroad.link is None


def _bytes(value: object) -> bytes:
    assert isinstance(value, bytes | memoryview)
    return bytes(value)


@each_version
@given(
    streams=st.booleans(),
    steps=st.lists(st.sampled_from([
        "up", "up", "down", "ask", "ask", "ask twice", "beat", "beat", "bye", "garbage",
        "answer", "answer", "fail", "moment", "while", "full",
    ]), max_size=60),
)  # fmt: skip
def test_each_reply_is_to_the_request_of_its_registration(
    version: Version, streams: bool, steps: list[str]
) -> None:
    streams = streams and version is V2
    abroad = ServiceAbroad(version, streams=streams, up=False)
    asked: bytes | None = None
    registered = False

    def look() -> None:
        nonlocal asked, registered
        for sent in abroad.take():
            command = read_at_broker(sent)
            assert isinstance(command, WorkerCommand)
            assert (command.kind is Kind.READY) != registered
            registered = True
            if command.kind in (Kind.PARTIAL, Kind.FINAL):
                assert command.address == asked == bytes(command.body[0])
            asked = None if command.kind is Kind.FINAL else asked
        if not abroad.is_up:
            asked, registered = None, False

    for at, step in enumerate(steps):
        address = b"%d" % at
        if step == "up" and abroad.link is not None and not abroad.is_up:
            abroad.up()
        elif step == "down" and abroad.is_up:
            abroad.down()
        elif step.startswith("ask") and abroad.is_up and (asked is None or "twice" in step):
            asked = asked or address
            abroad.comes(*map(bytes, mdp.worker_request(version, address, (address,))))
        elif step == "beat" and abroad.is_up:
            abroad.comes(*map(bytes, mdp.heartbeat(version)))
        elif step == "bye" and abroad.is_up:
            abroad.comes(*map(bytes, mdp.disconnect(version)))
        elif step == "garbage" and abroad.is_up:
            abroad.comes(*GARBAGE[at % len(GARBAGE)])
        elif step in ("answer", "fail") and abroad.running:
            if streams:
                value = abroad.running[0].args[0]
                abroad.give(*[value] * (at % 3 + 1), last=step == "answer")
            elif step == "answer":
                abroad.answer(abroad.running[0].args[0])
            else:
                abroad.fail()
        elif step in ("moment", "while"):
            abroad.wait(0.3 if step == "moment" else 6.0)
        elif step == "full":
            abroad.is_full = not abroad.is_full
        look()
    abroad.is_full = False
    abroad.perform(abroad.core.close())
    assert abroad.link is None
