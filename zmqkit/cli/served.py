"""Ask devices whether they have anybody for the services that they list."""

from __future__ import annotations

import time

import zmqkit
from zmqkit.model import BROKER, ROUTED
from zmqkit.node.listings import Listing

ASK_S = 1.0
"""How long all questions together may take."""


def served(found: list[Listing], *, insecure: bool) -> dict[str, bool]:
    """Return, by label, whether the services of devices have an instance behind them.

    Those that do not say so in time are left out.
    """
    until = time.monotonic() + ASK_S
    told: dict[str, bool] = {}
    for row in found:
        left_s = until - time.monotonic()
        if row.role not in (BROKER, ROUTED) or row.state != "up" or left_s <= 0:
            continue
        with zmqkit.Client(f"{row.address}/{row.name}", insecure=insecure or None) as client:
            if client.ready(timeout_s=left_s):
                told[row.label] = any(each["served"] for each in client.instances())
    return told
