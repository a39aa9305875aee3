"""The limits of the cores."""

from __future__ import annotations

import pytest

from zmqkit.errors import ConfigError
from zmqkit.limits import MembershipLimits, ServiceLimits
from zmqkit.majordomo_limits import MdpLimits


@pytest.mark.parametrize("value", [0, -1, True, "5", 1.5, None])
def test_a_limit_under_which_nothing_works_is_an_error(value: int) -> None:
    with pytest.raises(ConfigError, match=rf"limit credit is {value!r}; use a number from 1"):
        ServiceLimits(credit=value)


def test_a_service_may_retain_nothing() -> None:
    assert ServiceLimits(retained_bytes_max=0).retained_bytes_max == 0
    with pytest.raises(ConfigError, match="from 0 on"):
        ServiceLimits(retained_bytes_max=-1)


def test_durations_may_have_fractions() -> None:
    assert ServiceLimits(forget_client_s=1.5).forget_client_s == 1.5
    with pytest.raises(ConfigError, match="forget_client_s is nan"):
        ServiceLimits(forget_client_s=float("nan"))


def test_nothing_is_told_that_others_would_not_read() -> None:
    with pytest.raises(ConfigError, match="limit addresses_max is 9; 8 at most"):
        MembershipLimits(addresses_max=9)


def test_a_broker_says_that_it_is_there_at_a_bounded_pace() -> None:
    assert MdpLimits(heartbeat_s=0.1).heartbeat_s == 0.1
    with pytest.raises(ConfigError, match=r"heartbeat_s is 0; use a number from 0\.1 on"):
        MdpLimits(heartbeat_s=0)
