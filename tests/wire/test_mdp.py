"""Messages of RFC 7 and RFC 18: byte for byte, both ways, and whatever else may come."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmqkit.model import NAME_BYTES_MAX, Frames
from zmqkit.wire import mdp
from zmqkit.wire.encoding import Malformed
from zmqkit.wire.mdp import (
    ClientReply,
    ClientRequest,
    Kind,
    Version,
    WorkerCommand,
    read_at_broker,
    read_at_client,
    read_at_worker,
)

V1, V2 = Version.V1, Version.V2
BODY = (b"\x00one", b"")

AT_BROKER: list[tuple[str, Frames, Frames, object]] = [
    ("7 client request", mdp.request(V1, "echo", BODY),
     (b"", b"MDPC01", b"echo", b"\x00one", b""), ClientRequest(V1, "echo", BODY)),
    ("18 client request", mdp.request(V2, "echo", BODY),
     (b"MDPC02", b"\x01", b"echo", b"\x00one", b""), ClientRequest(V2, "echo", BODY)),
    ("7 worker ready", mdp.worker_ready(V1, "echo"),
     (b"", b"MDPW01", b"\x01", b"echo"), WorkerCommand(V1, Kind.READY, "echo")),
    ("18 worker ready", mdp.worker_ready(V2, "echo"),
     (b"MDPW02", b"\x01", b"echo"), WorkerCommand(V2, Kind.READY, "echo")),
    ("18 worker partial", mdp.worker_partial(b"\x00\x07", BODY),
     (b"MDPW02", b"\x03", b"\x00\x07", b"", b"\x00one", b""),
     WorkerCommand(V2, Kind.PARTIAL, "", b"\x00\x07", BODY)),
    ("7 worker reply", mdp.worker_final(V1, b"\x00\x07", BODY),
     (b"", b"MDPW01", b"\x03", b"\x00\x07", b"", b"\x00one", b""),
     WorkerCommand(V1, Kind.FINAL, "", b"\x00\x07", BODY)),
    ("18 worker final", mdp.worker_final(V2, b"\x00\x07", BODY),
     (b"MDPW02", b"\x04", b"\x00\x07", b"", b"\x00one", b""),
     WorkerCommand(V2, Kind.FINAL, "", b"\x00\x07", BODY)),
    ("7 heartbeat", mdp.heartbeat(V1),
     (b"", b"MDPW01", b"\x04"), WorkerCommand(V1, Kind.HEARTBEAT)),
    ("18 heartbeat", mdp.heartbeat(V2),
     (b"MDPW02", b"\x05"), WorkerCommand(V2, Kind.HEARTBEAT)),
    ("7 disconnect", mdp.disconnect(V1),
     (b"", b"MDPW01", b"\x05"), WorkerCommand(V1, Kind.DISCONNECT)),
    ("18 disconnect", mdp.disconnect(V2),
     (b"MDPW02", b"\x06"), WorkerCommand(V2, Kind.DISCONNECT)),
]  # fmt: skip

AT_WORKER: list[tuple[str, Frames, Frames, object]] = [
    ("7 request", mdp.worker_request(V1, b"\x00\x07", BODY),
     (b"", b"MDPW01", b"\x02", b"\x00\x07", b"", b"\x00one", b""),
     WorkerCommand(V1, Kind.REQUEST, "", b"\x00\x07", BODY)),
    ("18 request", mdp.worker_request(V2, b"\x00\x07", BODY),
     (b"MDPW02", b"\x02", b"\x00\x07", b"", b"\x00one", b""),
     WorkerCommand(V2, Kind.REQUEST, "", b"\x00\x07", BODY)),
    *(row for row in AT_BROKER if row[0].endswith(("heartbeat", "disconnect"))),
]  # fmt: skip

AT_CLIENT: list[tuple[str, Frames, Frames, object]] = [
    ("7 reply", mdp.final(V1, "echo", BODY),
     (b"", b"MDPC01", b"echo", b"\x00one", b""), ClientReply(V1, Kind.FINAL, "echo", BODY)),
    ("18 partial", mdp.partial("echo", BODY),
     (b"MDPC02", b"\x02", b"echo", b"\x00one", b""),
     ClientReply(V2, Kind.PARTIAL, "echo", BODY)),
    ("18 final", mdp.final(V2, "echo", BODY),
     (b"MDPC02", b"\x03", b"echo", b"\x00one", b""),
     ClientReply(V2, Kind.FINAL, "echo", BODY)),
]  # fmt: skip

MESSAGES = [
    *((name, made, frames, read_at_broker, meant) for name, made, frames, meant in AT_BROKER),
    *((name, made, frames, read_at_worker, meant) for name, made, frames, meant in AT_WORKER),
    *((name, made, frames, read_at_client, meant) for name, made, frames, meant in AT_CLIENT),
]


@pytest.mark.parametrize(
    ("made", "frames", "read", "meant"),
    [row[1:] for row in MESSAGES],
    ids=[f"{row[0]} by {row[3].__name__}" for row in MESSAGES],
)
def test_each_message_of_both_rfcs_is_written_and_read_byte_for_byte(
    made: Frames, frames: Frames, read: object, meant: object
) -> None:
    assert made == frames
    assert read(frames) == meant  # type: ignore[operator]  # one of three functions
    views = tuple(memoryview(frame) for frame in frames)  # as the link has them
    assert read(views) == meant  # type: ignore[operator]


@pytest.mark.parametrize(("command", "one", "two"), [
    (b"\x03", Kind.FINAL, Kind.PARTIAL), (b"\x04", Kind.HEARTBEAT, Kind.FINAL),
    (b"\x05", Kind.DISCONNECT, Kind.HEARTBEAT),
])  # fmt: skip
def test_a_byte_means_what_its_header_says(command: bytes, one: Kind, two: Kind) -> None:
    rest = (b"a", b"", b"x")
    for header, kind in (((b"", b"MDPW01"), one), ((b"MDPW02",), two)):
        tail = rest if kind in (Kind.PARTIAL, Kind.FINAL) else ()
        read = read_at_broker((*header, command, *tail))
        assert isinstance(read, WorkerCommand) and read.kind is kind


MALFORMED: list[tuple[str, Frames]] = [
    ("frames", ()),
    ("frames", (b"",)),
    ("header", (b"x",)),
    ("header", (b"", b"")),
    ("header", (b"", b"MDPC0X", b"echo", b"x")),
    ("header", (b"MDPC01", b"echo", b"x")),
    ("header", (b"", b"MDPC02", b"\x01", b"echo", b"x")),
    ("header", (b"MDPW01", b"\x01", b"echo")),
    ("header", (b"", b"MDPW02", b"\x01", b"echo")),
    ("frames", (b"", b"MDPC01")),
    ("frames", (b"", b"MDPC01", b"echo")),
    ("command", (b"MDPC02",)),
    ("frames", (b"MDPC02", b"\x01")),
    ("frames", (b"MDPC02", b"\x01", b"echo")),
    ("command", (b"MDPC02", b"\x02", b"echo", b"x")),
    ("command", (b"MDPC02", b"echo", b"x")),
    ("command", (b"MDPW02",)),
    ("command", (b"MDPW02", b"\x07")),
    ("command", (b"", b"MDPW01", b"\x06")),
    ("command", (b"MDPW02", b"\x01\x01", b"echo")),
    ("frames", (b"MDPW02", b"\x01")),
    ("frames", (b"MDPW02", b"\x01", b"echo", b"x")),
    ("frames", (b"", b"MDPW01", b"\x04", b"")),
    ("frames", (b"MDPW02", b"\x06", b"x")),
    ("frames", (b"MDPW02", b"\x04", b"a", b"")),
    ("frames", (b"MDPW02", b"\x04", b"a", b"b", b"x")),
    ("address", (b"MDPW02", b"\x04", bytes(256), b"", b"x")),
    ("service", (b"", b"MDPC01", b"", b"x")),
    ("service", (b"", b"MDPC01", b"a\nb", b"x")),
    ("service", (b"", b"MDPC01", b"a/b", b"x")),
    ("service", (b"", b"MDPC01", b"\xff", b"x")),
    ("service", (b"", b"MDPC01", b"localhost:5555", b"x")),
    ("service", (b"", b"MDPC01", b"mmi.\n", b"x")),
    ("service", (b"", b"MDPC01", b"mmi." + bytes(99), b"x")),
    ("service", (b"MDPW02", b"\x01", b"x" * (NAME_BYTES_MAX + 1))),
]


@pytest.mark.parametrize(("reason", "frames"), MALFORMED)
def test_anything_else_at_a_broker_is_malformed(reason: str, frames: Frames) -> None:
    with pytest.raises(Malformed, match=f"^{reason}$"):
        read_at_broker(frames)


@pytest.mark.parametrize(("frames", "read"), [
    (mdp.request(V2, "echo", BODY), read_at_client),
    (mdp.heartbeat(V1), read_at_client),
    ((b"MDPC02",), read_at_client),
    (mdp.worker_ready(V2, "echo"), read_at_worker),
    (mdp.worker_final(V1, b"a", BODY), read_at_worker),
    (mdp.final(V1, "echo", BODY), read_at_worker),
])  # fmt: skip
def test_what_a_broker_never_says_is_malformed(frames: Frames, read: object) -> None:
    with pytest.raises(Malformed):
        read(frames)  # type: ignore[operator]  # one of two functions


@pytest.mark.parametrize("name", [
    "mmi.service", "mmi.a/b", "titanic.request", "a", "x" * NAME_BYTES_MAX, "größe", "a name",
])  # fmt: skip
def test_names_that_may_be_announced_and_reserved_ones_are_services(name: str) -> None:
    assert read_at_broker(mdp.request(V1, name, (b"x",))) == ClientRequest(V1, name, (b"x",))


VERSIONS = st.sampled_from(Version)
SERVICES = st.text("abc.ö", min_size=1, max_size=20)
ADDRESSES = st.binary(max_size=255)
BODIES = st.lists(st.binary(max_size=9), min_size=1, max_size=4).map(tuple)


@given(version=VERSIONS, service=SERVICES, address=ADDRESSES, body=BODIES)
def test_whatever_is_written_is_read(
    version: Version, service: str, address: bytes, body: Frames
) -> None:
    asked = read_at_broker(mdp.request(version, service, body))
    assert asked == ClientRequest(version, service, body)
    told = read_at_client(mdp.final(version, service, body))
    assert told == ClientReply(version, Kind.FINAL, service, body)
    told = read_at_client(mdp.partial(service, body))
    assert told == ClientReply(V2, Kind.PARTIAL, service, body)
    given_ = read_at_worker(mdp.worker_request(version, address, body))
    assert given_ == WorkerCommand(version, Kind.REQUEST, "", address, body)
    done = read_at_broker(mdp.worker_final(version, address, body))
    assert done == WorkerCommand(version, Kind.FINAL, "", address, body)
    part = read_at_broker(mdp.worker_partial(address, body))
    assert part == WorkerCommand(V2, Kind.PARTIAL, "", address, body)


FRAMES = st.sampled_from([
    b"", b"MDPC01", b"MDPC02", b"MDPW01", b"MDPW02", b"MDPC0X", b"echo", b"mmi.service",
    *(bytes((byte,)) for byte in range(8)),
]) | st.binary(max_size=300)  # fmt: skip


@given(st.lists(FRAMES, max_size=8).map(tuple))
def test_whatever_comes_is_read_or_malformed(frames: Frames) -> None:
    for read in (read_at_broker, read_at_worker, read_at_client):
        with suppress(Malformed):
            read(frames)
