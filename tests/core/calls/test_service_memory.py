"""What a service gives up, and when."""

from __future__ import annotations

from tests import packets
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Handle
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import REPLY

CLIENT, SERVICE, PEER = 1, 10, b"p"


def answered(service: ServiceCore, sequence: int) -> None:
    """Have a request arrive, run and be answered."""
    [effect] = service.receive(PEER, packets.request(CLIENT, SERVICE, sequence), 0.0)
    assert isinstance(effect, Handle)
    service.handled([(effect.requests[0], Answer(REPLY, encode(42)))], 0.0)
    assert service.flush(0.0)


def test_what_is_settled_is_freed_once_the_turn_is_over() -> None:
    service = ServiceCore(SERVICE, {"add": False}, 1)
    answered(service, 5)
    service.receive(PEER, packets.request(CLIENT, SERVICE, 6, settled=6), 0.0)
    service.check()
    assert service.stats()["retained_bytes"]
    assert service.flush(0.0) == []
    service.check()
    assert not service.stats()["retained_bytes"]


def test_what_was_settled_when_it_closed_is_not_freed_twice() -> None:
    service = ServiceCore(SERVICE, {"add": False}, 1)
    answered(service, 5)
    service.receive(PEER, packets.request(CLIENT, SERVICE, 6, settled=6), 0.0)
    service.close()
    assert service.flush(0.0) == []
    service.check()
    assert service.stats()["retained_bytes"] == 0
