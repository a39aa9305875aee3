"""The third driver: turns in virtual time."""

from __future__ import annotations

import pytest

from zmqkit.core.effects import Effect
from zmqkit.simulation.calls import ClientRole
from zmqkit.simulation.world import Plan, World


@pytest.fixture
def role() -> ClientRole:
    """A client that nobody answers."""
    world = World(1, Plan())
    role = world.client(world.start("user"), "orders")
    world.run(1.0)
    return role


def run(role: ClientRole, duration_s: float = 1.0) -> None:
    timeline = role.process.network.timeline
    timeline.run_until(timeline.now + duration_s)


def test_what_is_posted_happens_in_order_in_a_turn(role: ClientRole) -> None:
    done: list[int] = []
    for number in range(5):
        role.driver.post(lambda now, number=number: done.append(number))  # type: ignore[misc]
    assert not done
    run(role)
    assert done == [0, 1, 2, 3, 4]


def test_a_process_that_pauses_takes_no_turns(role: ClientRole) -> None:
    done: list[float] = []
    role.process.silent = True
    role.driver.post(done.append)
    run(role)
    assert not done
    role.process.silent = False
    role.process.run_on()
    run(role, 0.0)
    assert len(done) == 1


def test_users_of_a_closed_role_go_on_after_a_pause(role: ClientRole) -> None:
    """Seed 146: whoever read a stream of a closed client never came to its end."""
    done: list[float] = []
    role.close_soon()
    run(role)
    assert role.closed
    role.driver.post(done.append)
    role.process.silent = True
    run(role)
    role.process.silent = False
    role.process.run_on()
    run(role)
    assert len(done) == 1


def test_a_closed_role_is_commanded_no_more(role: ClientRole) -> None:
    def command(now: float) -> list[Effect]:
        raise AssertionError("it is closed")

    role.close_soon()
    role.driver.command(command)
    run(role)
    assert role.closed and role not in role.process.roles


def test_a_core_that_is_due_for_ever_is_noticed(
    role: ClientRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(role.core, "deadline", lambda: role.process.network.timeline.now)
    role.driver.wake()
    with pytest.raises(AssertionError, match="due for ever"):
        run(role)
