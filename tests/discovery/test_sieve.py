"""Names that zeroconf reads and cannot write: they cost nobody a query."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.discovery import forger
from tests.discovery.kit import Stranger, info, peers, record, run
from zmqkit.discovery.sieve import TYPE, is_instance

NO_UTF8 = forger.label(b"\xff" * 63)
"""Read as 63 characters, of three bytes each when they are written."""

Answers = Callable[[int], list[bytes]]
"""The answers of a packet, that live this many seconds."""


def pointer(target: bytes) -> Answers:
    """The packets' one answer: there is an instance of this name."""
    return lambda ttl_s: [forger.pointer(target, ttl_s)]


def host(target: bytes) -> Answers:
    """The packets' answers: there is an instance, and it runs on a host of this name."""
    name = forger.dns_name(f"x-00000000.{TYPE}")
    return lambda ttl_s: [forger.pointer(name, ttl_s), forger.server(name, target, ttl_s)]


FORGED = {
    "bytes that are no UTF-8": pointer(NO_UTF8 + forger.POINTER_TO_TYPE),
    "a dot at a label's end": pointer(forger.label(b"x-00000000.") + forger.POINTER_TO_TYPE),
    "control characters": pointer(forger.label(b"\1-00000000") + forger.POINTER_TO_TYPE),
    "another type": pointer(forger.dns_name("x-00000000.local.")),
    "a host of such a name": host(NO_UTF8 + forger.dns_name("local.")),
}


def test_name_of_an_instance_is_one_label_before_our_type() -> None:
    assert is_instance(f"orders of tea-0123abcd.{TYPE}")
    assert is_instance(f"{'ü' * 27}-0123abcd.{TYPE}".replace("_tcp", "_TCP"))


@pytest.mark.parametrize(
    "label",
    ["", "orders", "a.b-0123abcd", "a-0123abcd.", "\x01-0123abcd", "ü" * 28 + "-0123abcd"],
)
def test_what_zeroconf_could_not_write_or_nobody_announces_is_no_name(label: str) -> None:
    assert not is_instance(f"{label}.{TYPE}")
    assert not is_instance("orders-0123abcd._http._tcp.local.")


@pytest.mark.slow
@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_forged_record_costs_nobody_a_query(mine: str, forged: Answers) -> None:
    async def scene() -> None:
        async with peers(mine, 1, query_s=0.1) as (peer,), Stranger() as other:
            forger.multicast(*forged(forger.TTL_S))
            await peer.until(lambda: "mdns.unfit" in peer.events(unfit=True))
            # Zeroconf itself asks but three times within these seconds.
            for n in range(5):
                unheard = record(f"{mine}{n}")
                other.registry.async_add(info(unheard))
                await peer.hears(unheard)
            assert "mdns.failed" not in peer.events()
            forger.multicast(*forged(0))  # what else runs on this machine has it no longer

    run(scene())


@pytest.mark.slow
def test_many_forged_records_are_counted_and_few_are_noted(mine: str) -> None:
    async def scene() -> None:
        async with peers(mine, 1) as (peer,):
            for n in range(100):
                target = forger.label(b"\xff" * 60 + b"%03d" % n) + forger.POINTER_TO_TYPE
                forger.multicast(forger.pointer(target), forger.pointer(target, 0))
            await peer.until(lambda: "64" in peer.reasons())
            assert set(peer.events(unfit=True)) == {"mdns.unfit"}
            assert len(peer.told) <= 8

    run(scene())
