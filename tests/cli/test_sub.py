"""What `zmqkit sub` says of the publishers that are there."""

from __future__ import annotations

import pytest

from zmqkit.cli.sub import present


@pytest.mark.parametrize(
    ("publishers", "devices", "said"),
    [
        (1, 0, "1 publisher is there"),
        (0, 1, "1 device is there"),
        (1, 1, "1 publisher and 1 device are there"),
        (2, 0, "2 publishers are there"),
    ],
)
def test_publishers_and_devices_are_counted_apart(
    publishers: int, devices: int, said: str
) -> None:
    rows = [{"forwards": False}] * publishers + [{"forwards": True}] * devices
    assert present([dict[str, object](row) for row in rows]) == said
