"""Roles that fail to open: they keep nothing, and none says that it is open."""

from __future__ import annotations

from typing import Any

import pytest

import zmqkit
from tests.roles.kit import AsyncKit, Kit
from zmqkit.node import node as nodes

STEPS = [
    ("service", "zmqkit.{}Driver"),
    ("service", "zmqkit.roles.role.Plan.prepare"),
    ("service", "zmqkit.roles.scheme.Binding.appear"),
    ("client", "zmqkit.{}Driver"),
    ("client", "zmqkit.roles.scheme.Lookup.appear"),
    ("client", "zmqkit.roles.nearby.memory.owners"),
]
STEP_IDS = [f"{kind}-{step.replace('{}', '').rpartition('.')[2]}" for kind, step in STEPS]


class Refused(BaseException):
    """What a step of the opening raises."""


def refuse(*_: object, **__: object) -> None:
    raise Refused


def double(value: int) -> int:
    return 2 * value


class Scene:
    """A role whose opening fails at a step, and the process's node, which others use too."""

    def __init__(
        self, kit: Kit, kind: str, step: str, module: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = f"memory://{kit.name}" if "memory" in step else ""
        self.kit, self.kind = kit, kind
        self.other = nodes.acquire()
        users = len(nodes._nodes[""])
        self.role: Any = kit.service() if kind == "service" else kit.client(url, count=0)
        with monkeypatch.context() as patch:
            patch.setattr(step.format(module), refuse)
            for _ in range(2):
                with pytest.raises((Refused, zmqkit.UsageError)) as raised:
                    self.open()
        self.second = raised.type
        kept = len(nodes._nodes[""]) - users, self.other._roles
        nodes.release(self.other)
        assert kept == (0, 0)

    def open(self) -> None:
        """Use the role for the first time."""
        if self.kind == "service":
            self.role.start()
        else:
            self.role.ready(timeout_s=0)


@pytest.mark.parametrize(("kind", "step"), STEPS, ids=STEP_IDS)
def test_an_asyncio_role_that_failed_to_open_keeps_nothing_and_may_try_again(
    aio: AsyncKit, kind: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(aio, kind, step, "asyncio.role.Aio", monkeypatch)
    assert scene.second is Refused
    if kind == "service":
        scene.role.handler(double)
        aio.serve(scene.role)
        assert aio.client().call("double", 2) == 4
    else:
        scene.open()


@pytest.mark.parametrize(("kind", "step"), STEPS, ids=STEP_IDS)
def test_a_blocking_role_that_failed_to_open_keeps_nothing_and_does_not_say_it_is_open(
    blocking: Kit, kind: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(blocking, kind, step, "blocking.role.Blocking", monkeypatch)
    began = "Driver" not in step
    assert scene.second is (zmqkit.UsageError if began else Refused)
    assert ("closed" in repr(scene.role)) is began
    assert scene.role.stats()["accepted"] == 0
