"""For tests of programs that use zmqkit: virtual time with faults, and what links promise.

The fixtures are those of the pytest plugin `pytest_zmqkit`. docs/testing.md shows all of it.
"""

from zmqkit.testing.calls import Call, Caller, Instance, WorldStream
from zmqkit.testing.tasks import WorldPusher, WorldTicket, WorldWorker
from zmqkit.testing.topics import WorldPublisher, WorldSubscriber
from zmqkit.testing.world import World

__all__ = [
    "Call",
    "Caller",
    "Instance",
    "World",
    "WorldPublisher",
    "WorldPusher",
    "WorldStream",
    "WorldSubscriber",
    "WorldTicket",
    "WorldWorker",
]
