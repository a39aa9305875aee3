"""What a device tells of the services that it has: as many as a process may have roles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from zmqkit.core.effects import Offer, Retract
from zmqkit.device.offering import Offering
from zmqkit.device.place import place
from zmqkit.drivers.perform import Hooks
from zmqkit.errors import UsageError
from zmqkit.limits import ROLES_MAX
from zmqkit.model import ROUTED, ROUTER
from zmqkit.roles.scheme import Binding


@pytest.fixture
def binding() -> Iterator[Binding]:
    binding = place(ROUTER, "edge", "tcp://127.0.0.1:0", None, insecure=None)
    link = binding.open()
    yield binding
    link.close(0)
    binding.release()


def test_a_process_has_no_more_services_than_it_admitted(binding: Binding) -> None:
    refused, hooks = Counter[str](), Hooks()
    Offering(binding, ROUTED, None, refused).belong_to(hooks)
    node = binding.node
    assert node is not None
    room = ROLES_MAX - 1  # the device itself is one
    for number in range(1, room + 3):
        hooks.offer(Offer(f"service-{number}", number))
    assert refused.total() == 2
    for number in (room + 1, 1):  # the first of them was refused; the other makes room
        hooks.retract(Retract(number))
        with pytest.raises(UsageError):  # there is one that waited for room
            node.admit()
    hooks.retract(Retract(2))
    node.admit()
    node.dismiss()
    for number in range(3, room + 3):
        hooks.retract(Retract(number))
