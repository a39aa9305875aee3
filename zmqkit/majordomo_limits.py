"""The limits of a Majordomo broker, and of our roles at somebody else's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zmqkit.device_limits import RelayLimits
from zmqkit.limits import (
    BODY_BYTES_MAX,
    CREDIT,
    LEASE_S,
    TIMEOUT_S_MAX,
    ClientLimits,
    Limits,
    PusherLimits,
)


@dataclass(slots=True, frozen=True, kw_only=True, eq=False)
class MdpLimits(Limits):
    """The limits of what a broker has to do with clients and workers of RFC 7 and RFC 18."""

    # Clients, each with one service, and the requests that one of them has open.
    clients_max: int = 10_000
    client_requests_max: int = CREDIT
    # How long a request may take, how long one that is kept (RFC 9) may wait to be begun, and
    # how long a client without requests is remembered.
    request_s: float = 60.0
    kept_s: float = 86_400.0
    client_idle_s: float = 300.0
    # How often a relay hears of the clients that have requests open there.
    refresh_s: float = 20.0
    # Workers, and the bytes of one's reply that are kept until they can be passed on; each part
    # that is kept counts 128 bytes more.
    workers_max: int = 10_000
    reply_bytes_max: int = BODY_BYTES_MAX
    # How often broker and workers tell each other that they are there, and after how many such
    # pauses an idle worker that was silent is gone.
    heartbeat_s: float = 2.5
    liveness: int = 4
    # How long a worker may have a request and send no reply to it, or no further part of one.
    lease_s: float = LEASE_S

    _least: ClassVar = dict.fromkeys(
        ("request_s", "kept_s", "client_idle_s", "refresh_s", "heartbeat_s", "lease_s"), 0.1
    )
    _most: ClassVar = {"reply_bytes_max": BODY_BYTES_MAX}


@dataclass(slots=True, frozen=True, kw_only=True, eq=False)
class MdpPeerLimits(Limits):
    """The limits of a client or service of ours at a broker that speaks RFC 7 or RFC 18."""

    # Bytes of a reply that are kept until they can be passed on; each part that is kept counts
    # 128 bytes more.
    reply_bytes_max: int = BODY_BYTES_MAX
    # How often broker and service tell each other that they are there, and after how many such
    # pauses a broker that was silent is given up.
    heartbeat_s: float = 2.5
    liveness: int = 4
    # The pause, at least, between two connections; a service doubles it each time that the
    # broker said nothing of use, up to the longest.
    reconnect_s: float = 0.5
    reconnect_longest_s: float = 30.0
    # How long a client counts a broker as there that it has no connection to any more.
    return_s: float = 5.0
    # How long a service tries to connect until it tells so in the log.
    connect_s: float = 3.0

    _least: ClassVar = dict.fromkeys(
        ("heartbeat_s", "reconnect_s", "reconnect_longest_s", "return_s", "connect_s"), 0.1
    )
    _most: ClassVar = {"reply_bytes_max": BODY_BYTES_MAX}

    @property
    def mdp(self) -> MdpLimits:
        """The limits of the one client that a broker is to a service: one request at a time."""
        return MdpLimits(clients_max=1, client_requests_max=1, request_s=TIMEOUT_S_MAX)


@dataclass(slots=True, frozen=True, kw_only=True, eq=False)
class BrokerLimits(RelayLimits):
    """The limits of one broker."""

    _least: ClassVar = {
        "retained_bytes_max": 0, "service_idle_s": 0, "outcomes_s": 0, "lease_s": 0,
        "rfc_request_s": 0.1, "rfc_kept_s": 0.1, "rfc_lease_s": 0.1, "rfc_heartbeat_s": 0.1,
    }  # fmt: skip

    # Services that there may be, with workers or only with requests.
    services_max: int = 10_000
    # Workers of one service.
    workers_max: int = 1_000
    # Requests that one worker has at a time.
    worker_credit_max: int = 64
    # How long a service stays without a worker and without a request.
    service_idle_s: float = 10.0
    # With a journal, of each service: the bytes of its file.
    journal_bytes_max: int = 64 << 30
    # With a journal, of each service: requests whose last attempt failed, which are kept.
    dead_max: int = 10_000
    # With a journal, of each service: settled requests whose outcome is kept.
    outcomes_max: int = 100_000
    # So many of those outcomes are replies to calls, which nobody collects.
    calls_kept_max: int = 1_000
    # With a journal, of each service: bytes of the outcomes that are kept.
    outcomes_bytes_max: int = 256 << 20
    # With a journal: how long an outcome is kept.
    outcomes_s: float = 86_400.0
    # With a journal: how long a worker that is out of reach keeps its requests.
    lease_s: float = LEASE_S
    # How long a request of a client of RFC 7 or RFC 18 may take.
    rfc_request_s: float = 60.0
    # How long a request that is kept for a client of RFC 9 may wait to be begun.
    rfc_kept_s: float = 86_400.0
    # How long a worker of RFC 7 or RFC 18 may have a request and send nothing.
    rfc_lease_s: float = LEASE_S
    # How often the broker and workers of RFC 7 or RFC 18 say that they are there.
    rfc_heartbeat_s: float = 2.5
    # After how many such pauses a worker of RFC 7 or RFC 18 that is silent is gone.
    rfc_liveness: int = 4

    @property
    def tasks(self) -> PusherLimits:
        """The limits of the ledger of one service, where there is a journal."""
        return PusherLimits(
            tasks_max=self.requests_max,
            tasks_bytes_max=self.requests_bytes_max,
            journal_bytes_max=self.journal_bytes_max,
            dead_max=self.dead_max,
            outcomes_max=self.outcomes_max,
            outcomes_bytes_max=self.outcomes_bytes_max,
            outcomes_s=self.outcomes_s,
            instances_max=self.workers_max,
            known_max=self.workers_max,
            credit_max=self.worker_credit_max,
            lease_s=self.lease_s,
        )

    @property
    def mdp(self) -> MdpLimits:
        """The limits of what the broker has to do with peers of RFC 7 and RFC 18."""
        return MdpLimits(
            clients_max=self.clients_max,
            client_requests_max=self.client_requests_max,
            request_s=self.rfc_request_s,
            kept_s=self.rfc_kept_s,
            heartbeat_s=self.rfc_heartbeat_s,
            liveness=self.rfc_liveness,
            lease_s=self.rfc_lease_s,
        )

    @property
    def back(self) -> ClientLimits:
        """The limits of one service towards its workers."""
        return self.back_of(self.workers_max, self.worker_credit_max)
