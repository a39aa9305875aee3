"""What both services share: the core for their place, and through whom they answer."""

from __future__ import annotations

from typing import Any

from zmqkit.core.calls.dialling import DiallingCore
from zmqkit.core.calls.service import ServiceCore
from zmqkit.model import MAJORDOMO
from zmqkit.roles.describing import describe_in
from zmqkit.roles.foreign import worker_of
from zmqkit.roles.handlers import Handlers
from zmqkit.roles.scheme import Binding, Dialling


def service_core(
    place: Binding | Dialling, handlers: Handlers, concurrency: int, protocol: str | None
) -> ServiceCore:
    """Return the core of a service, which registers with brokers if its place says so.

    protocol: what these brokers speak, unless it is zmqkit's own.
    """
    methods, streams = handlers.idempotent, handlers.streams
    if protocol is not None:
        return worker_of(place, handlers, concurrency, protocol)
    describe_in(handlers)
    if isinstance(place, Dialling):
        return DiallingCore(
            place.incarnation, methods, concurrency, streams, device=MAJORDOMO, name=place.name
        )
    return ServiceCore(place.incarnation, methods, concurrency, streams)


class AnswersVia:
    """Says through which brokers a service answers."""

    _life: Any

    @property
    def via(self) -> str:
        """The name or URL of the brokers; empty if the service is called directly."""
        via: str = self._life.plan.place.via
        return via
