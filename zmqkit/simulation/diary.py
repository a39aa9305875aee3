"""Describe messages for the diary of a world, in a few words each."""

from __future__ import annotations

from zmqkit.model import Frames
from zmqkit.simulation.subscriptions import subscription
from zmqkit.wire import packet as wire
from zmqkit.wire import publication
from zmqkit.wire.encoding import Buffer

_PRIVATE_BYTES = len(publication.private(publication.EVERYBODY))
_MAGIC = wire.FIRST.to_bytes(4, "big")[:3]


def summary(frames: Frames) -> str:
    """Return the kind and the bytes of a message between processes, or of a call."""
    first = frames[0] if frames else b""
    kind = wire.KIND_NAMES.get(kind_of(first), "?")
    return f"{kind} {bytes(first[34:]).hex() if len(first) < 200 else len(first)}"


def told(frames: Frames) -> str:
    """Return what a publisher or a subscriber sends, with its topic."""
    frame = bytes(frames[0]) if frames else b""
    end = head_bytes(frame)
    if frame[:1] == publication.TALK:
        return summary((frame[1:],))
    verb, prefix = subscription(frames)
    if verb and frame[end : end + 3] != _MAGIC:
        name = "SUBSCRIBE" if verb == publication.SUBSCRIBE else "UNSUBSCRIBE"
        return f"{name} {prefix!r}"
    return f"{frame[:end]!r} {summary((frame[end:], *frames[1:]))}"


def kind_of(packet: Buffer) -> int:
    """Return the kind that a packet says; 0 if it is too short."""
    return packet[3] if len(packet) > 3 else 0


def head_bytes(frame: bytes) -> int:
    """Return how many bytes a publisher or a subscriber puts in front of a packet."""
    if frame[:1] == publication.TALK:
        return 1
    return frame.find(b"\0") or _PRIVATE_BYTES
