"""What the cores of a seed did, as plain values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.effects import Effect
from zmqkit.simulation.__main__ import main
from zmqkit.simulation.recording import Step, recording
from zmqkit.simulation.world import Plan, World


def steps() -> list[Step]:
    """A small world: a service that leaves, and a client that has called it."""
    with recording() as record:
        world = World(1, Plan())
        service = world.serve(world.start("a"), "orders")
        client = world.client(world.start("user"), "orders")
        world.run(1.0)
        world.call(client, "blob")
        world.stream(client, "count")
        world.run(1.0)
        world.leave(service)
        world.run(2.0)
    return record.steps


def test_the_same_cores_do_the_same() -> None:
    first = steps()
    assert first == steps() == json.loads(json.dumps(first))
    commands = {(str(core).split()[0], command) for core, command, *_ in first}
    assert commands >= {
        ("MembershipCore", "offer"), ("ClientCore", "submit"), ("ServiceCore", "handled"),
        ("ServiceCore", "__init__"), ("ClientCore", "take"),
    }  # fmt: skip


def test_the_first_step_that_differs_is_what_a_changed_core_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = steps()
    leave = ServiceCore.leave

    def leave_later(self: ServiceCore) -> list[Effect]:
        return leave(self)[1:]

    monkeypatch.setattr(ServiceCore, "leave", leave_later)
    after = steps()
    core, command, *_ = next(step for n, step in enumerate(before) if step != after[n])
    assert str(core).startswith("ServiceCore") and command == "leave"


def test_nothing_is_recorded_any_more_afterwards() -> None:
    before = dict(vars(ServiceCore))
    with recording() as record:
        assert vars(ServiceCore) != before
    assert vars(ServiceCore) == before and not record.steps


@pytest.mark.slow
def test_a_seed_is_recorded_step_by_step(tmp_path: Path) -> None:
    path = tmp_path / "steps"
    assert main(["--seed", "4", "--record", str(path)]) == 0
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) > 1000 and all(len(row) == 5 for row in rows)
