"""Engines on the loopback interface find each other, and part without a trace."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.discovery.kit import Peer, Stranger, info, peers, record, run
from zmqkit.model import Record

pytestmark = pytest.mark.slow


def test_engines_hear_each_other(mine: str) -> None:
    async def scene() -> None:
        async with peers(mine, 2) as (left, right):
            ours, theirs = record(f"{mine}.left"), record(f"{mine} right")
            await left.engine.announce(ours)
            await right.engine.announce(theirs)
            for each in (left, right):
                await each.hears(ours)
                await each.hears(theirs)
            assert set(left.events()) == {"heard mdns:loopback"}

    run(scene())


def test_newcomer_hears_who_was_there_before(mine: str) -> None:
    async def scene() -> None:
        async with peers(mine, 1) as (first,):
            there = [record(f"{mine}{n}") for n in range(60)]
            for each in there:
                await first.engine.announce(each)
            async with peers(mine, 1) as (newcomer,):
                for each in there:
                    await newcomer.hears(each)

    run(scene())


def test_change_is_heard_and_a_repetition_is_not(mine: str) -> None:
    async def scene() -> None:
        async with peers(mine, 2) as (left, right):
            before = record(mine)
            after = replace(before, port=6000, control_port=6001)
            await left.engine.announce(before)
            await right.hears(before)
            await left.engine.announce(before)
            await left.engine.announce(after)
            await right.hears(after)
            assert right.events() == ["heard mdns:loopback"] * 2

    run(scene())


def test_withdrawn_record_vanishes_and_the_others_stay(mine: str) -> None:
    async def scene() -> None:
        async with peers(mine, 2) as (left, right):
            gone, kept = record(f"{mine}1"), record(f"{mine}2")
            for each in (gone, kept):
                await left.engine.announce(each)
                await right.hears(each)
            await left.engine.withdraw(gone.incarnation)
            await left.engine.withdraw(gone.incarnation)
            await right.misses(gone)
            assert list(right.records) == [kept.incarnation]
            assert right.events()[-1] == "vanished mdns:loopback"

    run(scene())


def test_one_that_two_direct_questions_missed_is_forgotten_where_nothing_else_arrives(
    mine: str,
) -> None:
    async def scene() -> None:
        async with peers(mine, 2) as (left, right):
            ours = record(mine)
            await left.engine.announce(ours)
            await right.hears(ours)
            known = right.engine._known
            heard = set(known._records)
            for answers in (set(), heard, set()):
                known.confirm(answers)
                assert list(right.records) == [ours.incarnation]
            known.confirm(set())
            assert right.records == {}

    run(scene())


def test_one_that_was_never_announced_answers_a_direct_question(mine: str) -> None:
    async def scene() -> None:
        async with peers(mine, 1, query_s=60.0) as (peer,), Stranger() as other:
            assert peer.engine._engine is not None
            await peer.engine._engine._direct
            late = record(mine)
            other.registry.async_add(info(late))
            peer.engine.ask_directly()
            await peer.hears(late)
            assert peer.deaf == []

    run(scene())


def test_goodbyes_are_the_last_word_even_right_after_the_announcement(mine: str) -> None:
    # The question of `right` is answered a moment later: behind the goodbyes, unless dropped.
    async def scene() -> None:
        async with peers(mine, 1) as (right,):
            async with peers(mine, 1) as (left,):
                first, second = record(f"{mine}1"), record(f"{mine}2")
                for each in (first, second):
                    await left.engine.announce(each)
                    await right.hears(each)
                await left.engine.withdraw(first.incarnation)
            await right.misses(first)
            await right.misses(second)

    run(scene())


@pytest.mark.parametrize(
    ("changes", "event"),
    [
        ({"properties": {}}, "mdns.malformed"),
        ({"properties": b"\xff\xff"}, "mdns.malformed"),
        ({"port": 0}, "mdns.malformed"),
        ({"parsed_addresses": ["192.0.2.7"]}, "mdns.elsewhere"),
        ({"parsed_addresses": []}, "mdns.unresolved"),
    ],
)
def test_what_cannot_be_used_is_noted_and_dropped(
    mine: str, changes: dict[str, object], event: str
) -> None:
    async def scene() -> None:
        async with peers(mine, 1, complete_s=0.1) as (peer,), Stranger() as other:
            bad, good = record(f"{mine}bad"), record(f"{mine}good")
            for each in (info(bad, **changes), info(good)):
                await other.announce(each)
            await peer.hears(good)
            await peer.until(lambda: event in peer.events())
            assert list(peer.records) == [good.incarnation]

    run(scene())


def test_what_an_instance_lacks_is_asked_for(mine: str) -> None:
    async def scene() -> None:
        async with peers(mine, 1) as (peer,), Stranger() as other:
            late = record(mine)
            await other.announce(info(late, parsed_addresses=[]))
            other.registry.async_update(info(late))
            await peer.hears(late)

    run(scene())


def test_own_query_finds_who_was_announced_unheard(mine: str) -> None:
    # The browser itself asks but three times within these seconds.
    async def scene() -> None:
        async with peers(mine, 1, query_s=0.1) as (peer,), Stranger() as other:
            for n in range(5):
                unheard = record(f"{mine}{n}")
                other.registry.async_add(info(unheard))
                await peer.hears(unheard)

    run(scene())


def test_what_is_known_is_told_again_now_and_then_and_on_request(mine: str) -> None:
    async def scene() -> None:
        async with peers(mine, 2, query_s=0.1) as (left, right):
            ours, other = record(mine), record(f"{mine}other")
            for each in (ours, other):
                await left.engine.announce(each)
                await right.hears(each)
            right.reminders.clear()
            right.engine.remind(mine)
            assert right.reminders == [ours]
            await right.until(lambda: other in right.reminders)
            assert right.events() == ["heard mdns:loopback"] * 2

    run(scene())


def test_error_in_a_callback_does_not_end_the_hearing(mine: str) -> None:
    class Fragile(Peer):
        def heard(self, record: Record, source: str) -> None:
            if record == first:
                raise RuntimeError("cannot bear it")
            super().heard(record, source)

    first, second = record(f"{mine}1"), record(f"{mine}2")

    async def scene() -> None:
        right = Fragile(mine)
        await right.engine.open()
        async with peers(mine, 1) as (left,):
            await left.engine.announce(first)
            await right.until(lambda: "RuntimeError('cannot bear it')" in right.reasons())
            await left.engine.announce(second)
            await right.hears(second)
        await right.engine.close()

    run(scene())


def test_tables_are_bounded(mine: str) -> None:
    async def scene() -> None:
        async with peers(mine, 2, records_max=1, announced_max=2) as (left, right):
            first, second, third = (record(f"{mine}{n}") for n in range(3))
            for each in (first, second):
                await left.engine.announce(each)
                await right.hears(each)
            assert list(right.records) == [second.incarnation]
            assert "mdns.evicted" in right.events()
            await left.engine.announce(third)
            assert left.events()[-1] == "mdns.full"

    run(scene())


def test_own_queries_are_fewer_among_many(mine: str) -> None:
    query_s = Peer(mine).engine.query_s
    assert [query_s(peers) for peers in (0, 50, 100, 1000)] == [5.0, 5.0, 10.0, 100.0]


def test_closed_engine_does_nothing_and_may_be_opened_again(mine: str) -> None:
    async def scene() -> None:
        left, right, ours = Peer(mine), Peer(mine), record(mine)
        await left.engine.close()
        await left.engine.announce(ours)
        await left.engine.withdraw(ours.incarnation)
        for _ in range(2):
            for each in (left, right):
                await each.engine.open()
                await each.engine.open()
            await left.engine.announce(ours)
            await right.hears(ours)
            await left.engine.close()
            await left.engine.close()
            await right.misses(ours)
            await right.engine.close()

    run(scene())


def test_engine_closes_at_whatever_moment(mine: str, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        for turns in range(10):
            async with peers(mine, 1) as (peer,):
                for _ in range(turns):
                    await asyncio.sleep(0)
            assert not peer.told
        async with peers(mine, 1) as (peer,):
            await peer.engine.announce(record(mine))

    run(scene())
    assert not caplog.records


def test_record_that_nobody_would_accept_is_an_error(mine: str) -> None:
    async def scene() -> None:
        async with peers(mine, 1) as (peer,):
            with pytest.raises(ValueError, match="port 0"):
                await peer.engine.announce(replace(record(mine), port=0))

    run(scene())


def test_another_process_with_the_name_of_an_instance_does_not_replace_it(mine: str) -> None:
    honest = record(mine)
    forged = [replace(honest, process=honest.process ^ n) for n in (1, 2)]

    async def scene() -> None:
        async with peers(mine, 1, claims_max=2) as (peer,), Stranger() as other:
            # Each is announced three times, and all of that is over before the next one.
            await other.announce(info(forged[0]))
            await asyncio.gather(*other.repeats)
            await peer.hears(forged[0])
            await (await other.engine.async_update_service(info(honest)))
            await peer.hears(honest)
            assert peer.events() == ["heard mdns:loopback"] * 2
            peer.reminders.clear()
            peer.engine.remind(mine)
            assert peer.reminders == [forged[0], honest]
            await (await other.engine.async_update_service(info(forged[1])))
            await peer.hears(forged[1])
            assert peer.events()[2:] == ["vanished mdns:loopback", "heard mdns:loopback"]
            peer.reminders.clear()
            peer.engine.remind(mine)
            assert peer.reminders == [honest, forged[1]]

    run(scene())
