"""What the sockets of a link are for, and so of which kinds they are and with which options."""

from __future__ import annotations

from enum import Enum

import zmq

from zmqkit.limits import CREDIT, CREDIT_PACKETS, PACKET_BYTES_MAX

_SEND_BUFFER_BYTES = 208 << 10
"""What TCP keeps of a stream of packets. Left to itself Linux lets it grow to megabytes, which
no cache holds; Linux doubles what is asked for, and by default allows no more. To limit what is
received in the same way halves the rate of bodies of 1 MiB."""


class Profile(Enum):
    """What the sockets of a link are for; their kinds and options follow from it.

    DATA: many messages behind finite marks. CONTROL: few, and the connection's life matters.
    TOPICS: who binds publishes to all who connect, by topic. TOPICS_WITH_CREDIT: the same, and
    what credit lets through is never dropped.
    """

    DATA = "data"
    CONTROL = "control"
    TOPICS = "topics"
    TOPICS_WITH_CREDIT = "topics with credit"


_COMMON = {
    zmq.LINGER: 0,  # close() says how long; libzmq's own default is for ever
    zmq.MAXMSGSIZE: PACKET_BYTES_MAX,  # refused by size, before memory is taken
    zmq.IPV6: 1,
    zmq.CONNECT_TIMEOUT: 1000,  # else a heal waits for TCP's SYN back-off, 11 s after a minute
    zmq.HANDSHAKE_IVL: 3000,  # no half-open handshake for 30 s
    zmq.RECONNECT_IVL: 100,
    zmq.RECONNECT_IVL_MAX: 1000,
}

_OPTIONS = {
    Profile.DATA: {
        # Finite marks, above the window of CREDIT messages, so that TCP slows a flood and a
        # ROUTER never drops. No heartbeats here: with a full receive queue they abort libzmq.
        zmq.SNDHWM: 2 * CREDIT,
        zmq.RCVHWM: 2 * CREDIT,
    },
    Profile.CONTROL: {
        # Heartbeats find a silent cut in 2 to 4 s, which TCP alone does not in a minute. They
        # are safe only because this queue has no mark; it stays short for it carries little.
        zmq.HEARTBEAT_IVL: 1000,
        zmq.HEARTBEAT_TIMEOUT: 3000,
        zmq.HEARTBEAT_TTL: 3000,
        zmq.RCVHWM: 0,
        zmq.SNDHWM: 2 * CREDIT,
        zmq.IMMEDIATE: 1,  # nothing is parked for an address where nobody answers
    },
    # Whoever does not read loses what is beyond the mark, and counts it. No heartbeats here
    # either. Without XPUB_NODROP, by which one full subscriber would stop the others.
    Profile.TOPICS: {
        zmq.SNDHWM: 2 * CREDIT,
        zmq.RCVHWM: 2 * CREDIT,
        zmq.SNDBUF: _SEND_BUFFER_BYTES,
    },
    # A window, what gathered when it was full, and what is no message fit below the mark. Twice
    # that, since libzmq learns what was taken from a queue only after half of its mark. A mark
    # is never changed later: a queue that was full then stays so, and libzmq can crash.
    Profile.TOPICS_WITH_CREDIT: {
        zmq.SNDHWM: 2 * CREDIT_PACKETS,
        zmq.RCVHWM: 2 * CREDIT,
        zmq.SNDBUF: _SEND_BUFFER_BYTES,
    },
}


def options_of(profile: Profile) -> dict[zmq.SocketOption, int]:
    """The options of every socket of such a link."""
    return {**_COMMON, **_OPTIONS[profile]}


def packets_max(profile: Profile) -> int:
    """How many packets of one that binds may wait for a peer; of bytes there is no limit."""
    return _OPTIONS[profile][zmq.SNDHWM]


KINDS = {
    Profile.DATA: (zmq.ROUTER, zmq.DEALER),
    Profile.CONTROL: (zmq.ROUTER, zmq.DEALER),
    Profile.TOPICS: (zmq.XPUB, zmq.XSUB),
    Profile.TOPICS_WITH_CREDIT: (zmq.XPUB, zmq.XSUB),
}
"""Who binds, who connects."""
