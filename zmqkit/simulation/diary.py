"""Describe messages for the diary of a world, in a few words each."""

from __future__ import annotations

from zmqkit.model import Frames
from zmqkit.simulation.subscriptions import subscription
from zmqkit.wire import packet as wire
from zmqkit.wire import publication

_PRIVATE_BYTES = len(publication.private(publication.EVERYBODY))
_MAGIC = wire.FIRST.to_bytes(4, "big")[:3]
_KINDS = {
    1: "HELLO", 2: "WELCOME", 3: "PING", 4: "PONG", 5: "BYE",
    8: "REQUEST", 9: "REPLY", 10: "ERROR", 11: "NOTIFY", 12: "CANCEL", 13: "RECALL",
    16: "PUBLISH", 17: "MARK", 18: "CREDIT",
    48: "STREAM", 49: "ITEM", 50: "END", 51: "GRANT",
}  # fmt: skip


def summary(frames: Frames) -> str:
    """Return the kind and the bytes of a message between processes, or of a call."""
    first = frames[0] if frames else b""
    kind = _KINDS.get(first[3], "?") if len(first) > 3 else "?"
    return f"{kind} {bytes(first[34:]).hex() if len(first) < 200 else len(first)}"


def told(frames: Frames) -> str:
    """Return what a publisher or a subscriber sends, with its topic."""
    frame = bytes(frames[0]) if frames else b""
    end = frame.find(b"\0") or _PRIVATE_BYTES
    if frame[:1] == publication.TALK:
        return summary((frame[1:],))
    verb, prefix = subscription(frames)
    if verb and frame[end : end + 3] != _MAGIC:
        name = "SUBSCRIBE" if verb == publication.SUBSCRIBE else "UNSUBSCRIBE"
        return f"{name} {prefix!r}"
    return f"{frame[:end]!r} {summary((frame[end:], *frames[1:]))}"
