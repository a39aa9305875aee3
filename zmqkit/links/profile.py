"""Profiles: the purposes of a link's sockets, which decide their kinds and options."""

from __future__ import annotations

from enum import Enum

import zmq

from zmqkit.limits import CREDIT, CREDIT_PACKETS, FRAMES_MAX, PACKET_BYTES_MAX

_SEND_BUFFER_BYTES = 208 << 10
"""How much of a stream of packets TCP may keep for sending. Without a limit, Linux lets this
buffer grow to megabytes, which no cache holds. Linux doubles the number asked for, and by
default it allows no larger number. A limit for the receiving side would halve the rate of
bodies of 1 MiB."""


class Profile(Enum):
    """The purpose of a link's sockets. Their kinds and options follow from it."""

    DATA = "data"  # many messages; the high-water marks are finite
    CONTROL = "control"  # few messages; whether the connection lives matters
    DEVICES = "devices"  # as DATA, for a device: TCP itself finds a silent cut
    FOREIGN = "foreign"  # to a device of somebody else; whether the connection lives matters
    TOPICS = "topics"  # the side that binds publishes to all that connect, by topic
    TOPICS_WITH_CREDIT = "topics with credit"  # as TOPICS; what credit allows is never dropped
    FORWARDER = "forwarder"  # binds as TOPICS_WITH_CREDIT does, and connects to many topics


_COMMON = {
    zmq.LINGER: 0,  # close() says how long; libzmq's own default is for ever
    zmq.MAXMSGSIZE: PACKET_BYTES_MAX,  # libzmq refuses a larger one before it takes memory
    zmq.IPV6: 1,
    # Without it, a connection after a cut waits for TCP's SYN back-off: 11 s after a minute.
    zmq.CONNECT_TIMEOUT: 1000,
    zmq.HANDSHAKE_IVL: 3000,  # else a half-open handshake lasts for 30 s
    zmq.RECONNECT_IVL: 100,
    zmq.RECONNECT_IVL_MAX: 1000,
}

_OPTIONS = {
    Profile.DATA: {
        # The marks are finite and above the window of CREDIT messages. So TCP slows a flood,
        # and a ROUTER never drops. This profile has no heartbeats: with a full receive queue
        # they abort libzmq.
        zmq.SNDHWM: 2 * CREDIT,
        zmq.RCVHWM: 2 * CREDIT,
    },
    # A worker that dialled, or a foreign peer, has no control connection. Without this limit
    # TCP would repeat for a quarter of an hour what nobody acknowledges, and its connection
    # would seem to stand. A process that stands still is no cut, since its kernel acknowledges.
    Profile.DEVICES: {
        zmq.SNDHWM: 2 * CREDIT,
        zmq.RCVHWM: 2 * CREDIT,
        zmq.TCP_MAXRT: 5000,
    },
    # Nothing tells that a device of somebody else is there but the connection to it. The same
    # limit finds its silent cut; not every ZeroMQ understands heartbeats.
    Profile.FOREIGN: {
        zmq.SNDHWM: 2 * CREDIT,
        zmq.RCVHWM: 2 * CREDIT,
        zmq.TCP_MAXRT: 5000,
        zmq.IMMEDIATE: 1,
    },
    Profile.CONTROL: {
        # Heartbeats find a silent cut in 3 to 4.5 s. TCP alone does not find it in a minute.
        # Heartbeats are safe here only because the receive queue has no mark. It stays short,
        # since a control link carries little.
        zmq.HEARTBEAT_IVL: 1000,
        zmq.HEARTBEAT_TIMEOUT: 3000,
        zmq.HEARTBEAT_TTL: 3000,
        zmq.RCVHWM: 0,
        zmq.SNDHWM: 2 * CREDIT,
        zmq.IMMEDIATE: 1,  # libzmq parks nothing for an address where nobody answers
    },
    # A subscriber that does not read loses the messages beyond the mark, and counts them. This
    # profile has no heartbeats either. It leaves XPUB_NODROP off, since with that option one
    # full subscriber would stop the others.
    Profile.TOPICS: {
        zmq.SNDHWM: 2 * CREDIT,
        zmq.RCVHWM: 2 * CREDIT,
        zmq.SNDBUF: _SEND_BUFFER_BYTES,
    },
    # Below the mark there is room for a window, for what gathered while the window was full,
    # and for packets that are no messages. The mark is twice that, since libzmq learns only
    # after half of the mark what was taken from a queue. A mark is never changed later: a queue
    # that was full would stay full, and libzmq can crash.
    Profile.TOPICS_WITH_CREDIT: {
        zmq.SNDHWM: 2 * CREDIT_PACKETS,
        zmq.RCVHWM: 2 * CREDIT,
        zmq.SNDBUF: _SEND_BUFFER_BYTES,
    },
}


# A forwarder may subscribe to more prefixes than any mark allows packets, and libzmq silently
# drops a subscription beyond the mark. Whoever connects sends little else.
_OPTIONS[Profile.FORWARDER] = _OPTIONS[Profile.TOPICS_WITH_CREDIT]
_SUBSCRIBING = {Profile.FORWARDER: {zmq.SNDHWM: 0}}


def options_of(profile: Profile, kind: int) -> dict[zmq.SocketOption, int]:
    """Return the options of a socket of that kind, of a link with this profile."""
    others = _SUBSCRIBING.get(profile, {}) if kind == zmq.XSUB else {}
    return {**_COMMON, **_OPTIONS[profile], **others}


def frames_max(profile: Profile) -> int:
    """Return how many frames of a message are kept; who sends more is not understood.

    Packets have two at most. Foreign peers of a device may send more, and so may a foreign
    device.
    """
    return FRAMES_MAX if profile in (Profile.DEVICES, Profile.FOREIGN) else 16


def is_watched(profile: Profile) -> bool:
    """Return whether a link tells of connections that were made and broke."""
    return profile in (Profile.CONTROL, Profile.FOREIGN)


def packets_max(profile: Profile) -> int:
    """Return how many packets of a link that binds may wait for a peer. Bytes have no limit."""
    return _OPTIONS[profile][zmq.SNDHWM]


KINDS = {
    Profile.DATA: (zmq.ROUTER, zmq.DEALER),
    Profile.DEVICES: (zmq.ROUTER, zmq.DEALER),
    Profile.FOREIGN: (zmq.ROUTER, zmq.DEALER),
    Profile.CONTROL: (zmq.ROUTER, zmq.DEALER),
    Profile.TOPICS: (zmq.XPUB, zmq.XSUB),
    Profile.TOPICS_WITH_CREDIT: (zmq.XPUB, zmq.XSUB),
    Profile.FORWARDER: (zmq.XPUB, zmq.XSUB),
}
"""The kind of the socket that binds, and of the sockets that connect."""
