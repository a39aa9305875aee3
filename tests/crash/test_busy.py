"""Services behind a broker that are busy for long, in a file of their own as they take long."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import zmqkit
from tests.crash.broker_actor import lines
from tests.crash.stage import BOUND_S, Start
from zmqkit.limits import LEASE_S, REGISTERED_S

pytestmark = pytest.mark.slow


def stay_busy(start: Start, name: str, folder: Path, durable: bool, *work: object) -> None:
    """Call a service that is busy for long, while another one is there to take the call."""
    folder.mkdir()
    log = str(folder / "log")
    start("broker", of=name, journal=str(folder / "journals") if durable else None)
    busy = start("answering", of=name, log=log)
    with zmqkit.Client(name, timeout_s=BOUND_S, wait_s=BOUND_S) as client:
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(client.call, "occupied", "buy-0", *work)
            busy.event("came")
            other = start("answering", of=name, log=log)
            assert call.result(2 * BOUND_S) == "BUY-0"
        assert client.call("add", "add-1") == "ADD-1"
    assert [line.key for line in lines(Path(log))] == ["buy-0", "add-1"]
    assert busy.alive() and other.alive()


@pytest.mark.parametrize(("how", "seconds"), [("snooze", 30.0), ("burn", 15.0)])
def test_a_service_that_is_busy_for_long_is_not_given_up_and_runs_once(
    start: Start, name: str, tmp_path: Path, how: str, seconds: float
) -> None:
    """Asleep its process answers all pings; while it holds the interpreter it is silent.

    A broker without a journal and one with a journal have their turn at once.
    """
    assert seconds > max(LEASE_S, REGISTERED_S)
    with ThreadPoolExecutor(2) as pool:
        both = [
            pool.submit(
                stay_busy,
                start,
                f"{name}{kind}",
                tmp_path / kind,
                kind == "durable",
                how,
                seconds,
            )
            for kind in ("memory", "durable")
        ]
        for each in both:
            each.result()
