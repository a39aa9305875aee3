"""Machines where announcements do not arrive, and only their own questions are answered."""

from __future__ import annotations

from zmqkit.simulation.feed import Reception
from zmqkit.simulation.world import Plan, World

FOUND_S = 7.0
"""A second until the lack is seen, five between two questions, one for the answer."""


def deaf() -> World:
    """A world where nobody hears announcements; who asks is answered."""
    return World(1, Plan(reception=Reception(deaf=1.0, answers=True), ports_stay=True))


def test_one_that_starts_late_is_found() -> None:
    world = deaf()
    role = world.client(world.start("user"), "orders")
    world.run(60.0)
    world.serve(world.start("a"), "orders")
    world.run(FOUND_S)
    assert role.core.ready_count == 1


def test_replacements_are_found_one_after_the_other() -> None:
    world = deaf()
    service = world.serve(world.start("a0"), "orders")
    role = world.client(world.start("user"), "orders")
    world.run(2.0)
    for number in (1, 2):
        world.leave(service)
        world.run(60.0)
        service = world.serve(world.start(f"a{number}"), "orders")
        world.run(FOUND_S)
        called = world.call(role, "add")
        world.run(1.0)
        assert called.error is None and role.core.ready_count == 1
