"""A host whose firewall drops what comes in at UDP port 5353 finds whoever comes later."""

from __future__ import annotations

import time

import pytest

from tests.lan.network import Lan
from tests.lan.stage import Stage

pytestmark = pytest.mark.slow

FOUND_S = 30.0
"""A second until the lack is seen, five between two questions, and the time of the machine."""
MDNS = "udp dport 5353"

UNSERVED = """
import sys, zmqkit
with zmqkit.Client(sys.argv[1], insecure=True, timeout_s=20, wait_s=9) as client:
    try:
        client.call("who")
    except zmqkit.NoService as error:
        print(error)
"""


@pytest.mark.lan
def test_replacements_are_found_behind_a_firewall(lan: Lan, stage: Stage) -> None:
    there, here = lan.hosts
    with here.drops(MDNS):
        services = [stage.service(there, f"{place}0") for place in "ab"]
        client = stage.client(here)
        stage.used([client], services)
        for number in (1, 2):
            for place in (0, 1):
                services[place].kill()
                services[place] = stage.service(there, f"{'ab'[place]}{number}")
                ready_at = time.monotonic()

                def answered_at(since: float = ready_at) -> float | None:
                    found = (client.answered_by(each.tag, since) for each in services)
                    return min(filter(None, found), default=None)

                stage.until(answered_at, "one of them answers")
                took_s = (answered_at() or 0.0) - ready_at
                stage.measured(f"served after replacement {number} of {place}", took_s)
                assert took_s < FOUND_S


@pytest.mark.lan
def test_one_that_starts_late_is_found_behind_a_firewall(lan: Lan, stage: Stage) -> None:
    there, here = lan.hosts
    with here.drops(MDNS):
        client = stage.client(here)
        began_at = time.monotonic()
        stage.until(lambda: time.monotonic() > began_at + 4.0, "four seconds pass")
        assert {each.error for each in client.calls} == {"NoService"}
        service = stage.service(there, "late")
        took_s = stage.used([client], [service])
        stage.measured("first use", took_s)
        assert took_s < FOUND_S


@pytest.mark.lan
def test_who_finds_nobody_is_told_that_announcements_do_not_arrive(
    lan: Lan, stage: Stage
) -> None:
    there, here = lan.hosts
    stage.service(there, "one whom nobody looks for")
    with here.drops(MDNS):
        said, _ = here.python(UNSERVED, "nobody").communicate(timeout=30)
        assert "announcements do not arrive here: a firewall of this machine" in said
    said, _ = here.python(UNSERVED, "nobody").communicate(timeout=30)
    assert "none is running" in said and "announcements" not in said
