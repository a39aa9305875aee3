"""Streams whose ends die: the values are a prefix, and the other side learns of it."""

from __future__ import annotations

import time
from itertools import islice

import pytest

import zmqkit
from tests.crash.stage import BOUND_S, Start, balance, until

pytestmark = pytest.mark.slow

KINDS = pytest.mark.parametrize("kind", ["blocking", "asyncio"])
LOST_S = 10.0


@KINDS
def test_service_that_is_killed_ends_its_streams_after_what_came(
    start: Start, client: zmqkit.Client, kind: str
) -> None:
    service = start("service", kind, idempotent=True)
    stream = client.stream("stream", 7)
    values = list(islice(stream, 5000))
    start("service", kind, idempotent=True)
    service.kill()
    began = time.monotonic()
    with pytest.raises(zmqkit.PeerLost) as caught:
        values.extend(stream)  # those that came before it stay
    assert caught.value.may_have_run and time.monotonic() - began < LOST_S
    assert values == list(range(7, 7 + len(values)))
    assert client.call("double", 2) == 4
    assert balance(client.stats()) == 0


@KINDS
def test_client_that_leaves_without_a_word_has_its_streams_closed_when_it_ends(
    start: Start, client: zmqkit.Client, kind: str
) -> None:
    service = start("service", kind)
    other = zmqkit.Client(client.name, timeout_s=BOUND_S)
    stream = other.stream("stream", 0)
    assert list(islice(stream, 3)) == [0, 1, 2]
    other.close(0)
    service.event("closed")
    until(lambda: service.ask("stats")["in_flight"] == 0)
    assert balance(service.ask("stats")) == 0
