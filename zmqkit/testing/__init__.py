"""For tests of programs that use zmqkit: virtual time with faults, and what links promise.

The fixtures are those of the pytest plugin `pytest_zmqkit`. docs/testing.md shows all of it.
"""

from zmqkit.testing.world import Call, Caller, Instance, World

__all__ = ["Call", "Caller", "Instance", "World"]
