"""What the tests of a service's core have in common: packets in, what runs, answers."""

from __future__ import annotations

from tests import packets
from tests.packets import read
from zmqkit.core.calls.request import Request
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Effect, Handle, Send
from zmqkit.model import Frames
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import (
    ERROR,
    REPLY,
    REQUEST,
    pack,
    unpack,
)
from zmqkit.wire.rows import request_columns, request_row

SERVICE, CLIENT, OTHER = 0xA, 1, 2
PEER = b"p"


def receive(
    service: ServiceCore, frames: Frames, now: float = 0.0, peer: bytes = PEER
) -> list[Effect]:
    """Have a packet arrive; the core is sound afterwards."""
    effects = service.receive(peer, frames, now)
    service.check()
    return effects


def request(*sequences: int, **options: object) -> Frames:
    """Requests of the one client."""
    return packets.request(CLIENT, SERVICE, *sequences, **options)  # type: ignore[arg-type]  # its own options


def large(sequence: int, size: int) -> Frames:
    """A request of the one client with so many bytes as its argument."""
    row = request_row("add", None, (), {})
    columns = request_columns([sequence], [5000], ["add"], [4], [row])
    return pack(REQUEST, CLIENT, SERVICE, 0, columns, row, bytes(size))


def handled(effects: list[Effect]) -> list[Request]:
    """The requests that are to run."""
    return [request for e in effects if isinstance(e, Handle) for request in e.requests]


def answer(
    service: ServiceCore, requests: list[Request], value: object = 42, now: float = 0.0
) -> list[Effect]:
    """Have handlers give this value, and the turn end."""
    results = [(request, Answer(REPLY, encode(value))) for request in requests]
    effects = service.handled(results, now)
    service.check()
    effects += service.flush(now)
    service.flush(now)
    service.check()
    return effects


def codes(effects: list[Effect]) -> list[tuple[int, str]]:
    """Which ids were refused with which code."""
    found: list[tuple[int, str]] = []
    for effect in effects:
        if isinstance(effect, Send) and unpack(effect.frames).kind == ERROR:
            sequences, rows = read(effect)[1]  # type: ignore[misc]  # columns
            found += [(n, row[0]) for n, row in zip(sequences, rows, strict=True)]
    return found
