"""The limits of devices that pass calls on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zmqkit.limits import CREDIT, WORKERS_MAX, ClientLimits, Limits, ServiceLimits


@dataclass(slots=True, frozen=True, kw_only=True, eq=False)
class RelayLimits(Limits):
    """The limits that brokers and routers have in common: those towards their clients."""

    # Requests held at once, for all services together.
    requests_max: int = 100_000
    # Bytes of the requests held at once, for all services together.
    requests_bytes_max: int = 512 << 20
    # Requests that one client has at one service, at most.
    client_requests_max: int = CREDIT
    # Clients of one service that are remembered.
    clients_max: int = 10_000
    # Bytes of answers of one service that its clients have not settled.
    retained_bytes_max: int = 64 << 20

    @property
    def front(self) -> ServiceLimits:
        """The limits of one service towards its clients."""
        return ServiceLimits(
            credit=self.client_requests_max,
            requests_max=self.requests_max,
            client_requests_max=2 * self.client_requests_max,
            held_bytes_max=self.requests_bytes_max,
            clients_max=self.clients_max,
            retained_bytes_max=self.retained_bytes_max,
        )

    def back_of(self, instances_max: int, credit_max: int) -> ClientLimits:
        """Return the limits of one service towards so many instances, each with this credit."""
        return ClientLimits(
            waiting_calls_max=self.requests_max,
            instances_max=instances_max,
            known_max=instances_max,
            credit_max=credit_max,
        )


@dataclass(slots=True, frozen=True, kw_only=True, eq=False)
class RouterLimits(RelayLimits):
    """The limits of one router. What is a service there is a name that it passes on."""

    _least: ClassVar = {"retained_bytes_max": 0, "idle_s": 0}

    # Services of one name.
    services_max: int = WORKERS_MAX
    # Requests that one service has at a time.
    service_credit_max: int = CREDIT
    # How long a name is told of without a service and without a request.
    idle_s: float = 10.0

    @property
    def back(self) -> ClientLimits:
        """The limits of one name towards its services."""
        return self.back_of(self.services_max, self.service_credit_max)
