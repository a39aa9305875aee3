"""Wall clocks that step, as a machine's does when it asks for the time: nobody looks at one."""

from __future__ import annotations

import time
from itertools import cycle

import pytest

from tests.roles.kit import BOUND_S, Kit, until

DAY_S = 86_400.0


@pytest.fixture
def stepping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the clock leap at each look: a day on, a year back, to its beginning, and on."""
    now, leaps = time.time, cycle((DAY_S, -365 * DAY_S, None, 0.0))

    def leaping() -> float:
        leap = next(leaps)
        return 0.0 if leap is None else now() + leap

    monkeypatch.setattr(time, "time", leaping)
    monkeypatch.setattr(time, "time_ns", lambda: int(leaping() * 1e9))


@pytest.mark.usefixtures("stepping")
def test_roles_find_each_other_and_go_on_while_the_clock_steps(kit: Kit) -> None:
    def double(value: int) -> int:
        return 2 * value

    service = kit.serving(double)
    client = kit.client(timeout_s=BOUND_S)  # discovery begins, and is used
    publisher = kit.publisher()
    subscriber = kit.subscriber()
    assert publisher.ready(timeout_s=BOUND_S) == 1
    for number in range(100):
        assert client.call("double", number) == 2 * number
        publisher.publish("t", number)
        message = subscriber.receive(BOUND_S)
        assert (message.body, message.sequence) == (number, number + 1)
    assert client.stats()["retries"] == client.stats()["expired"] == 0
    service.close()
    until(lambda: client.instances() == [])
    assert subscriber.stats()["missing"] == 0
