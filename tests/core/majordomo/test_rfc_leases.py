"""The leases of busy workers of RFCs."""

from __future__ import annotations

import random
from math import inf

from tests.core.majordomo.hall import ANN, Hall
from zmqkit.core.majordomo.rfc_leases import RfcLeases


def test_each_lease_is_as_long_as_its_service_has_it() -> None:
    leases: RfcLeases[str] = RfcLeases(10.0, {"slow": 60.0, "quick": 1.0})
    for worker, service in (("ann", "slow"), ("bob", "quick"), ("eve", "echo")):
        leases.begin(worker, service, 0.0)
    assert leases.deadline() == 1.0 and leases.over(0.9) == []
    assert leases.over(10.0) == ["bob", "eve"]
    leases.end("bob")
    leases.end("bob")
    assert "bob" not in leases and leases.deadline() == 10.0
    leases.begin("eve", "echo", 5.0)
    assert leases.deadline() == 15.0
    leases.end("eve")
    assert leases.deadline() == 60.0
    leases.end("ann")
    assert leases.deadline() == inf and leases.workers() == set()


def test_the_deadline_is_that_of_the_earliest_lease() -> None:
    chance = random.Random(7)
    leases: RfcLeases[int] = RfcLeases(10.0, {"slow": 60.0, "quick": 1.0})
    ends: dict[int, float] = {}
    for at in range(2000):
        worker, now = chance.randrange(50), at / 10
        if chance.random() < 0.3:
            leases.end(worker)
            ends.pop(worker, None)
        else:
            service, length_s = chance.choice([("slow", 60.0), ("quick", 1.0), ("echo", 10.0)])
            leases.begin(worker, service, now)
            ends[worker] = now + length_s
        leases.check()
        assert leases.deadline() == min(ends.values(), default=inf)
        assert set(leases.over(now)) == {each for each, end in ends.items() if end <= now}


def test_a_service_may_have_a_lease_of_its_own() -> None:
    hall = Hall(leases={"echo": 30.0, "other": 1.0})
    hall.ready(ANN)
    hall.call("a", b"?")
    for _ in range(11):
        hall.beat(ANN)
        hall.wait(2.5)
    assert hall.stats["dropped"] == {}
    hall.beat(ANN)
    hall.wait(2.5)
    assert hall.stats["dropped"] == {"late": 1}
