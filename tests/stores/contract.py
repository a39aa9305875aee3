"""The rules of `zmqkit.stores.contract`, each a coroutine that proves it of one store.

A store's own test module runs each rule on it:

    @pytest.mark.parametrize("rule", RULES, ids=name_of)
    def test_store(rule: Rule) -> None:
        prove(rule, MyStore)

`DURABLE_RULES` close the store and make it again, which then has what the first one had.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from tests.stores.stage import (
    LONG_S,
    SHORT_S,
    Rule,
    Stage,
    accepted,
    only,
)
from zmqkit.errors import UsageError
from zmqkit.limits import STORE_BATCH
from zmqkit.stores.contract import (
    Alteration,
    End,
    NewTask,
    Settlement,
    State,
)

# Tasks in and out


async def each_need_is_answered_with_evidence(stage: Stage) -> None:
    assert sorted(stage.evidence.facts) == sorted(stage.needs.names())
    assert all(stage.evidence.facts.values())


async def bodies_come_as_they_went(stage: Stage) -> None:
    bodies = [b"", bytes(range(256)), b"\n" * 100_000]
    ids = await stage.add(*bodies)
    taken = await stage.take(10)
    assert [(each.id, each.body) for each in taken] == list(zip(ids, bodies, strict=True))
    assert len({each.receipt for each in taken}) == 3


async def tasks_are_taken_in_order_and_once(stage: Stage) -> None:
    ids = await stage.add(*[b"%d" % n for n in range(5)])
    taken = [*await stage.take(2), *await stage.take(2), *await stage.take(2)]
    assert [each.id for each in taken] == ids
    assert {each.attempt for each in taken} == {1}
    assert await stage.take() == []


async def the_highest_priority_is_next(stage: Stage) -> None:
    await stage.store.add([NewTask(b"%d" % n, priority=n) for n in (2, 9, 0, 5)])
    assert [each.body for each in await stage.take(4)] == [b"9", b"5", b"2", b"0"]


async def one_of_sixteen_is_the_oldest(stage: Stage) -> None:
    await stage.store.add([NewTask(b"old", priority=0)])
    await stage.store.add([NewTask(b"new", priority=9) for _ in range(20)])
    assert b"old" in [(await stage.next()).body for _ in range(16)]


async def a_taker_that_waits_is_told(stage: Stage) -> None:
    waiting = asyncio.ensure_future(stage.next())
    await asyncio.sleep(0)
    [id] = await stage.add(b"x")
    assert (await waiting).id == id


async def a_taker_is_woken(stage: Stage) -> None:
    waiting = asyncio.ensure_future(stage.store.take(1, lease_s=LONG_S, wait_s=LONG_S))
    end_at = asyncio.get_running_loop().time() + stage.bound_s
    while not waiting.done() and asyncio.get_running_loop().time() < end_at:
        await stage.store.wake()  # again, as it may have a way to go before it waits
        await asyncio.sleep(0)
    assert waiting.done() and waiting.result() == []


async def a_take_that_is_cancelled_has_no_task(stage: Stage) -> None:
    waiting = asyncio.ensure_future(stage.store.take(1, lease_s=LONG_S, wait_s=LONG_S))
    await stage.store.look()
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting], timeout=stage.bound_s)
    assert waiting.cancelled()
    [id] = await stage.add(b"x")
    for _ in range(5):  # whoever goes on waiting would have it now
        await asyncio.sleep(0)
    assert (await stage.next()).id == id


async def a_closed_store_refuses(stage: Stage) -> None:
    waiting = asyncio.ensure_future(stage.store.take(1, lease_s=LONG_S, wait_s=LONG_S))
    await asyncio.sleep(0)
    await stage.store.close()
    await asyncio.wait([waiting], timeout=stage.bound_s)
    assert waiting.done() and isinstance(waiting.exception(), UsageError)
    with pytest.raises(UsageError):
        await stage.add(b"x")


# Options


async def a_delayed_task_waits(stage: Stage) -> None:
    await stage.store.add([NewTask(b"late", delay_s=LONG_S), NewTask(b"soon", delay_s=SHORT_S)])
    assert (await stage.next()).body == b"soon"
    assert await stage.take() == []


async def an_expired_task_is_not_taken(stage: Stage) -> None:
    new = [
        NewTask(b"over", expires_s=SHORT_S, delay_s=LONG_S),
        NewTask(b"x", expires_s=LONG_S),
    ]
    over, _ = accepted(await stage.store.add(new))
    assert (await stage.next()).body == b"x"
    await stage.reach(over, State.EXPIRED)


async def an_id_is_accepted_once(stage: Stage) -> None:
    for _ in range(2):
        answers = await stage.store.add([NewTask(b"1", id="order-17"), NewTask(b"2", id="b")])
        assert [each.id for each in answers] == ["order-17", "b"]
    assert [each.changed for each in answers] == [False, False]
    taken = await stage.take(10)
    assert [each.body for each in taken] == [b"1", b"2"]
    await stage.settle(taken[0])
    [again] = await stage.store.add([NewTask(b"3", id="order-17")])
    assert (again.changed, again.error) == (False, None)
    assert (await stage.store.look()).accepted == 2


async def a_unique_key_has_one_open_task(stage: Stage) -> None:
    both = await stage.store.add([NewTask(b"1", unique="cat"), NewTask(b"2", unique="cat")])
    assert [each.changed for each in both] == [True, False] and both[0].id == both[1].id
    task = await stage.next()
    [third] = await stage.store.add([NewTask(b"3", unique="cat")])
    assert not third.changed
    await stage.settle(task)
    [fourth] = await stage.store.add([NewTask(b"4", unique="cat")])
    assert fourth.changed and (await stage.next()).body == b"4"


async def a_key_is_taken_one_at_a_time_in_order(stage: Stage) -> None:
    await stage.store.add([NewTask(b"%d" % n, order_by="k") for n in range(4)])
    await stage.settle(only(await stage.take(10)), End.RETRY)
    seen = []
    for end in (End.DONE, End.DEAD, End.DONE, End.DONE):
        task = only(await stage.take(10))
        seen.append(task.body)
        await stage.settle(task, end)
    assert seen == [b"0", b"1", b"2", b"3"]


# Leases


async def a_lease_that_is_over_is_a_lost_attempt(stage: Stage) -> None:
    [id] = await stage.add(b"x")
    first = await stage.next(lease_s=SHORT_S)
    second = await stage.next()
    assert (first.id, first.attempt, first.lease_s) == (id, 1, SHORT_S)
    assert (second.id, second.attempt, second.lease_s) == (id, 2, LONG_S)
    assert len((await stage.found(id)).reasons) == 1


async def a_task_whose_last_attempt_is_lost_is_dead(stage: Stage) -> None:
    [id] = await stage.add(b"x")
    await stage.next(lease_s=SHORT_S, attempts_max=1)
    assert (await stage.reach(id, State.DEAD)).reasons


async def the_receipt_of_an_older_lease_settles_nothing(stage: Stage) -> None:
    [id] = await stage.add(b"x")
    old = await stage.next(lease_s=SHORT_S)
    new = await stage.next()
    for end in End:
        assert not (await stage.settle(old, end)).changed
    [renewed] = await stage.store.renew([old.receipt], lease_s=LONG_S)
    assert not renewed.changed
    assert (await stage.found(id)).state is State.LEASED
    assert (await stage.settle(new)).changed


async def unknown_receipts_settle_nothing(stage: Stage) -> None:
    await stage.add(b"x")
    receipt = (await stage.next()).receipt
    forged = [b"", b"x", receipt + b"x", receipt[:-1], bytes(len(receipt))]
    answers = await stage.store.settle([Settlement(each, End.DONE) for each in forged])
    assert [each.changed for each in answers] == [False] * 5
    assert (await stage.store.look()).counts[State.LEASED] == 1


async def a_lease_goes_on_that_is_renewed(stage: Stage) -> None:
    await stage.add(b"x")
    lease_s, is_renewed = SHORT_S, False
    while not is_renewed:  # the machine may be slower than the lease
        lease_s *= 2
        task = await stage.next(lease_s, attempts_max=1000)
        [answer] = await stage.store.renew([task.receipt], lease_s=LONG_S)
        is_renewed = answer.changed
    assert await stage.store.take(1, lease_s=LONG_S, wait_s=2 * lease_s) == []
    await stage.store.renew([task.receipt], lease_s=SHORT_S)
    assert (await stage.next()).id == task.id


# Settlements


async def the_first_settlement_wins(stage: Stage) -> None:
    [id] = await stage.add(b"x")
    task = await stage.next()
    both = [Settlement(task.receipt, End.DONE, value=b"1"), Settlement(task.receipt, End.DEAD)]
    assert [each.changed for each in await stage.store.settle(both)] == [True, False]
    assert not (await stage.settle(task, value=b"2")).changed
    found = await stage.found(id)
    assert (found.state, found.value, found.attempts) == (State.DONE, b"1", 1)


async def a_retry_is_another_attempt(stage: Stage) -> None:
    [id] = await stage.add(b"x")
    assert (await stage.settle(await stage.next(), End.RETRY, reason="no")).changed
    second = await stage.next()
    assert second.attempt == 2 and (await stage.found(id)).reasons == ("no",)
    await stage.settle(second, End.RETRY, delay_s=LONG_S)
    assert await stage.take() == []
    assert (await stage.found(id)).state is State.WAITING


async def what_is_released_is_next_and_costs_nothing(stage: Stage) -> None:
    first, _ = await stage.add(b"1", b"2")
    assert (await stage.settle(await stage.next(), End.RELEASED)).changed
    task = await stage.next()
    assert (task.id, task.attempt) == (first, 1)
    assert (await stage.found(first)).reasons == ()


async def a_dead_task_is_kept_and_tried_again(stage: Stage) -> None:
    [id] = await stage.add(b"x")
    task = await stage.next()
    assert not await stage.alter(Alteration.REQUEUE, id)
    await stage.settle(task, End.DEAD, reason="never")
    dead = only((await stage.store.look(dead_max=5)).dead)
    assert (dead.id, dead.state, dead.reasons) == (id, State.DEAD, ("never",))
    assert await stage.take() == []
    assert await stage.alter(Alteration.REQUEUE, id)
    again = await stage.next()
    assert (again.id, again.body, again.attempt) == (id, b"x", 1)


async def a_cancelled_task_is_over(stage: Stage) -> None:
    leased, waiting = await stage.add(b"1", b"2")
    task = await stage.next()
    for id in (leased, waiting):
        assert await stage.alter(Alteration.CANCEL, id)
        assert not await stage.alter(Alteration.CANCEL, id)
        assert (await stage.found(id)).state is State.CANCELLED
    assert not (await stage.settle(task)).changed
    assert await stage.take() == []


async def a_dead_or_waiting_task_can_be_purged(stage: Stage) -> None:
    dead, waiting = await stage.add(b"1", b"2")
    await stage.settle(await stage.next(), End.DEAD)
    assert not await stage.alter(Alteration.CANCEL, dead)
    for id in (dead, waiting):
        assert await stage.alter(Alteration.PURGE, id)
        assert not await stage.alter(Alteration.REQUEUE, id)
    assert (await stage.store.look()).counts[State.DROPPED] == 2
    assert await stage.take() == []


async def many_takers_do_each_task_once(stage: Stage) -> None:
    new = [
        NewTask(b"%d" % n, priority=n % 10, order_by=None if n % 3 else f"k{n % 2}")
        for n in range(40)
    ]
    ids = accepted(await stage.store.add(new))
    chance, done, keys = random.Random(7), Counter[str](), Counter[str | None]()

    async def work() -> None:
        while sum(done.values()) < len(ids):
            taken = await stage.store.take(3, lease_s=LONG_S, wait_s=SHORT_S)
            for task in taken:
                keys[new[int(task.body)].order_by] += 1
            assert max(keys["k0"], keys["k1"]) <= 1, "two tasks of a key at a time"
            for task in taken:
                await asyncio.sleep(0)
                keys[new[int(task.body)].order_by] -= 1
                end = chance.choice([End.DONE, End.DONE, End.RETRY, End.RELEASED])
                assert (await stage.settle(task, end)).changed
                done[task.id] += end is End.DONE

    await asyncio.gather(*[work() for _ in range(4)])
    assert done == Counter(ids)
    assert (await stage.store.look()).counts[State.DONE] == len(ids)


# Batches


async def a_batch_that_is_partly_refused_says_which(stage: Stage) -> None:
    new = [NewTask(b"1"), NewTask(b"2", priority=10), NewTask(b"3"), NewTask(b"4", id="")]
    answers = await stage.store.add(new)
    assert [each.changed for each in answers] == [True, False, True, False]
    assert [isinstance(each.error, UsageError) for each in answers] == [False, True] * 2
    first, third = await stage.take(10)
    assert (first.body, third.body) == (b"1", b"3")
    settlements = [Settlement(each, End.DONE) for each in (b"?", first.receipt, b"?")]
    settled = await stage.store.settle(settlements)
    assert [each.changed for each in settled] == [False, True, False]
    altered = await stage.store.alter(Alteration.CANCEL, ["nobody", third.id])
    assert [each.changed for each in altered] == [False, True]
    found = (await stage.store.look([third.id, "nobody", first.id])).found
    assert [each and each.state for each in found] == [State.CANCELLED, None, State.DONE]


async def a_batch_has_a_limit(stage: Stage) -> None:
    with pytest.raises(UsageError, match=str(STORE_BATCH)):
        await stage.store.add([NewTask(b"x")] * (STORE_BATCH + 1))
    assert (await stage.store.look()).accepted == 0


async def wrong_values_are_refused(stage: Stage) -> None:
    await stage.add(b"x")
    for count_max, lease_s, wait_s in [
        (0, LONG_S, 0.0), (STORE_BATCH + 1, LONG_S, 0.0), (1, 0.0, 0.0), (1, LONG_S, -1.0),
        (1, float("nan"), 0.0),
    ]:  # fmt: skip
        with pytest.raises(UsageError):
            await stage.store.take(count_max, lease_s=lease_s, wait_s=wait_s)
    task = await stage.next()
    with pytest.raises(UsageError):
        await stage.store.renew([task.receipt], lease_s=0.0)
    answer = await stage.settle(task, End.RETRY, delay_s=-1.0)
    assert not answer.changed and isinstance(answer.error, UsageError)
    assert (await stage.settle(task)).changed


async def the_counts_balance(stage: Stage) -> None:
    ids = await stage.add(*[b"%d" % n for n in range(8)])
    taken = await stage.take(6)
    for task, end in zip(taken, [End.DONE, End.DEAD, End.RETRY, End.RELEASED], strict=False):
        await stage.settle(task, end)
        look = await stage.store.look()
        assert look.accepted == sum(look.counts.values()) == 8
    await stage.store.alter(Alteration.CANCEL, ids[6:7])
    await stage.store.alter(Alteration.PURGE, ids[7:8])
    look = await stage.store.look()
    assert look.accepted == sum(look.counts.values()) == 8
    assert {state.value: count for state, count in look.counts.items() if count} == {
        "done": 1, "dead": 1, "waiting": 2, "leased": 2, "cancelled": 1, "dropped": 1,
    }  # fmt: skip


# Durable stores


async def what_was_accepted_is_there_again(stage: Stage) -> None:
    new = [
        NewTask(b"plain"), NewTask(b"first", priority=9),
        NewTask(b"id", id="order-17"), NewTask(b"unique", unique="cat"),
        NewTask(b"k1", order_by="k"), NewTask(b"k2", order_by="k"),
        NewTask(b"late", delay_s=LONG_S), NewTask(b"over", delay_s=LONG_S, expires_s=SHORT_S),
    ]  # fmt: skip
    ids = accepted(await stage.store.add(new))
    await stage.reopen()
    assert (await stage.found(ids[-2])).state is State.WAITING
    again = [NewTask(b"?", id="order-17"), NewTask(b"?", unique="cat")]
    assert [each.id for each in await stage.store.add(again)] == ids[2:4]
    taken = [await stage.next() for _ in range(5)]
    bodies = [each.body for each in taken]
    assert bodies[0] == b"first"
    assert sorted(bodies[1:]) == [b"id", b"k1", b"plain", b"unique"]
    assert {each.id for each in taken} == set(ids[:5])
    await stage.settle(taken[bodies.index(b"k1")])
    assert (await stage.next()).body == b"k2"
    await stage.reach(ids[-1], State.EXPIRED)


async def what_was_settled_stays_settled(stage: Stage) -> None:
    ids = await stage.add(b"done", b"dead", b"retry", b"purged")
    ends = (End.DONE, End.DEAD, End.RETRY)
    for task, end in zip(await stage.take(3), ends, strict=True):
        more: dict[str, object] = {"value": b"42"} if end is End.DONE else {"reason": "no"}
        assert (await stage.settle(task, end, **more)).changed
    assert await stage.alter(Alteration.PURGE, ids[3])
    await stage.reopen()
    task = only(await stage.take(10))
    assert (task.id, task.attempt, task.body) == (ids[2], 2, b"retry")
    dead = only((await stage.store.look(dead_max=5)).dead)
    assert (dead.id, dead.reasons) == (ids[1], ("no",))
    done = await stage.found(ids[0])
    assert (done.state, done.value) == (State.DONE, b"42")


async def what_was_leased_comes_again(stage: Stage) -> None:
    [id] = await stage.add(b"x")
    old = await stage.next(lease_s=SHORT_S)
    await stage.reopen()
    new = await stage.next()
    assert (new.id, new.body) == (id, b"x")
    assert not (await stage.settle(old)).changed
    assert (await stage.settle(new)).changed


RULES: list[Rule] = [
    each_need_is_answered_with_evidence, bodies_come_as_they_went,
    tasks_are_taken_in_order_and_once, the_highest_priority_is_next,
    one_of_sixteen_is_the_oldest, a_taker_that_waits_is_told, a_taker_is_woken,
    a_take_that_is_cancelled_has_no_task, a_closed_store_refuses,
    a_delayed_task_waits, an_expired_task_is_not_taken,
    an_id_is_accepted_once, a_unique_key_has_one_open_task,
    a_key_is_taken_one_at_a_time_in_order, a_lease_that_is_over_is_a_lost_attempt,
    a_task_whose_last_attempt_is_lost_is_dead, the_receipt_of_an_older_lease_settles_nothing,
    unknown_receipts_settle_nothing, a_lease_goes_on_that_is_renewed,
    the_first_settlement_wins, a_retry_is_another_attempt,
    what_is_released_is_next_and_costs_nothing, a_dead_task_is_kept_and_tried_again,
    a_cancelled_task_is_over, a_dead_or_waiting_task_can_be_purged,
    many_takers_do_each_task_once,
    a_batch_that_is_partly_refused_says_which, a_batch_has_a_limit, wrong_values_are_refused,
    the_counts_balance,
]  # fmt: skip
DURABLE_RULES: list[Rule] = [
    what_was_accepted_is_there_again, what_was_settled_stays_settled,
    what_was_leased_comes_again,
]  # fmt: skip
