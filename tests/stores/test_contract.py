"""The suite of stores bites: each rule finds out a store that breaks it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.stores import contract
from tests.stores.contract import DURABLE_RULES, RULES
from tests.stores.stage import ALL, ALL_DURABLE, Rule, name_of, prove
from zmqkit.limits import ATTEMPTS_MAX, STORE_BATCH
from zmqkit.stores.contract import (
    Alteration,
    Answer,
    End,
    Evidence,
    Look,
    Needs,
    NewTask,
    Settlement,
    Taken,
)
from zmqkit.stores.ledger_store import LedgerStore

SOON_S = 0.1


class Silent(LedgerStore):
    """Meets every need and says not how."""

    async def open(self, needs: Needs) -> Evidence:
        await super().open(needs)
        return Evidence({})


class Plain(LedgerStore):
    """Knows no options."""

    async def add(self, tasks: Sequence[NewTask]) -> list[Answer]:
        return await super().add([NewTask(each.body) for each in tasks])


class Unnamed(LedgerStore):
    """Knows no ids and no unique keys."""

    async def add(self, tasks: Sequence[NewTask]) -> list[Answer]:
        return await super().add([replace(each, id=None, unique=None) for each in tasks])


class Text(LedgerStore):
    """Takes bodies for text."""

    async def add(self, tasks: Sequence[NewTask]) -> list[Answer]:
        texts = [each.body.decode("ascii", "replace").encode() for each in tasks]
        return await super().add(
            [replace(task, body=text) for task, text in zip(tasks, texts, strict=True)]
        )


class Cut(LedgerStore):
    """Takes as much of a batch as fits."""

    async def add(self, tasks: Sequence[NewTask]) -> list[Answer]:
        return await super().add(tasks[:STORE_BATCH])


class Mixed(LedgerStore):
    """Answers a batch in another order."""

    async def add(self, tasks: Sequence[NewTask]) -> list[Answer]:
        return [*reversed(await super().add(tasks))]


class Forgetful(LedgerStore):
    """Acknowledges tasks that it does not write."""

    async def open(self, needs: Needs) -> Evidence:
        evidence = await super().open(replace(needs, durable=False))
        return Evidence({"durable": "trust me", **evidence.facts})


class Backwards(LedgerStore):
    """Gives the last of the next tasks out first."""

    async def take(
        self, count_max: int, *, lease_s: float, wait_s: float = 0.0, attempts_max: int = 3
    ) -> list[Taken]:
        taken = await super().take(
            count_max, lease_s=lease_s, wait_s=wait_s, attempts_max=attempts_max
        )
        return taken[::-1]


class Unfair(Plain):
    """Starves what has a low priority: here, what is old."""

    async def take(
        self, count_max: int, *, lease_s: float, wait_s: float = 0.0, attempts_max: int = 3
    ) -> list[Taken]:
        taken = await super().take(
            count_max, lease_s=lease_s, wait_s=wait_s, attempts_max=attempts_max
        )
        if [each.body for each in taken] == [b"old"]:
            return await self.take(count_max, lease_s=lease_s, wait_s=wait_s)
        return taken


class Hasty(LedgerStore):
    """Waits for nothing."""

    async def take(
        self, count_max: int, *, lease_s: float, wait_s: float = 0.0, attempts_max: int = 3
    ) -> list[Taken]:
        return await super().take(count_max, lease_s=lease_s, attempts_max=attempts_max)


class Leaky(LedgerStore):
    """Goes on taking for a caller that has given up."""

    async def take(
        self, count_max: int, *, lease_s: float, wait_s: float = 0.0, attempts_max: int = 3
    ) -> list[Taken]:
        taking = asyncio.ensure_future(super().take(count_max, lease_s=lease_s, wait_s=wait_s))
        return await asyncio.shield(taking)


class Doubling(LedgerStore):
    """Has the next taker get the same tasks."""

    async def take(
        self, count_max: int, *, lease_s: float, wait_s: float = 0.0, attempts_max: int = 3
    ) -> list[Taken]:
        taken = await super().take(count_max, lease_s=lease_s, wait_s=wait_s)
        await self.settle([Settlement(each.receipt, End.RELEASED) for each in taken])
        return taken


class Obliging(LedgerStore):
    """Makes the best of wrong values."""

    async def take(
        self, count_max: int, *, lease_s: float, wait_s: float = 0.0, attempts_max: int = 3
    ) -> list[Taken]:
        return await super().take(max(1, min(count_max, STORE_BATCH)), lease_s=lease_s)


class Eternal(LedgerStore):
    """Has leases that never end."""

    async def take(
        self, count_max: int, *, lease_s: float, wait_s: float = 0.0, attempts_max: int = 3
    ) -> list[Taken]:
        taken = await super().take(count_max, lease_s=1e6, wait_s=wait_s)
        return [replace(each, lease_s=lease_s) for each in taken]


class Patient(LedgerStore):
    """Tries what is lost again for ever."""

    async def take(
        self, count_max: int, *, lease_s: float, wait_s: float = 0.0, attempts_max: int = 3
    ) -> list[Taken]:
        return await super().take(
            count_max, lease_s=lease_s, wait_s=wait_s, attempts_max=ATTEMPTS_MAX
        )


class Lenient(LedgerStore):
    """Takes any receipt of the task that was taken last for the one of its lease."""

    async def take(
        self, count_max: int, *, lease_s: float, wait_s: float = 0.0, attempts_max: int = 3
    ) -> list[Taken]:
        taken = await super().take(
            count_max, lease_s=lease_s, wait_s=wait_s, attempts_max=attempts_max
        )
        self.receipt = taken[-1].receipt if taken else getattr(self, "receipt", b"")
        return taken

    async def settle(self, settlements: Sequence[Settlement]) -> list[Answer]:
        return await super().settle(
            [replace(each, receipt=self.receipt) for each in settlements]
        )


class Agreeable(LedgerStore):
    """Says yes to each settlement."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[Answer]:
        answers = await super().settle(settlements)
        return [replace(each, changed=True) for each in answers]


class Idle(LedgerStore):
    """Says that it did what it did not do."""

    async def renew(self, receipts: Sequence[bytes], *, lease_s: float) -> list[Answer]:
        return [Answer(changed=True) for _ in receipts]

    async def alter(self, alteration: Alteration, ids: Sequence[str]) -> list[Answer]:
        return [Answer(changed=True) for _ in ids]

    async def settle(self, settlements: Sequence[Settlement]) -> list[Answer]:
        return [Answer(changed=True) for _ in settlements]

    async def wake(self) -> None:
        """Wake nobody."""


class Free(LedgerStore):
    """Counts no attempt that failed."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[Answer]:
        return await super().settle(
            [
                replace(each, end=End.RELEASED) if each.end is End.RETRY else each
                for each in settlements
            ]
        )


class Strict(LedgerStore):
    """Counts each attempt, and puts it last."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[Answer]:
        return await super().settle(
            [
                replace(each, end=End.RETRY) if each.end is End.RELEASED else each
                for each in settlements
            ]
        )


class Boastful(LedgerStore):
    """Counts one task too many."""

    async def look(self, ids: Sequence[str] = (), *, dead_max: int = 0) -> Look:
        look = await super().look(ids, dead_max=dead_max)
        return replace(look, accepted=look.accepted + 1)


class Open(LedgerStore):
    """Goes on after it was closed."""

    async def close(self) -> None:
        """Close nothing."""


class Dropping(LedgerStore):
    """Takes for done what was at work as it was closed."""

    async def take(
        self, count_max: int, *, lease_s: float, wait_s: float = 0.0, attempts_max: int = 3
    ) -> list[Taken]:
        taken = await super().take(count_max, lease_s=1e6, wait_s=wait_s)
        self.taken = [*getattr(self, "taken", ()), *taken]
        return taken

    async def close(self) -> None:
        if not self._is_closed:
            left = [Settlement(each.receipt, End.DONE) for each in getattr(self, "taken", ())]
            await self.settle(left)
        await super().close()


WRONG: list[tuple[Rule, type[LedgerStore]]] = [
    (contract.each_need_is_answered_with_evidence, Silent),
    (contract.bodies_come_as_they_went, Text),
    (contract.tasks_are_taken_in_order_and_once, Backwards),
    (contract.the_highest_priority_is_next, Plain),
    (contract.one_of_sixteen_is_the_oldest, Unfair),
    (contract.a_taker_that_waits_is_told, Hasty),
    (contract.a_taker_is_woken, Idle),
    (contract.a_take_that_is_cancelled_has_no_task, Leaky),
    (contract.a_closed_store_refuses, Open),
    (contract.a_delayed_task_waits, Plain),
    (contract.an_expired_task_is_not_taken, Plain),
    (contract.an_id_is_accepted_once, Unnamed),
    (contract.a_unique_key_has_one_open_task, Unnamed),
    (contract.a_key_is_taken_one_at_a_time_in_order, Plain),
    (contract.a_lease_that_is_over_is_a_lost_attempt, Eternal),
    (contract.a_task_whose_last_attempt_is_lost_is_dead, Patient),
    (contract.the_receipt_of_an_older_lease_settles_nothing, Lenient),
    (contract.unknown_receipts_settle_nothing, Lenient),
    (contract.a_lease_goes_on_that_is_renewed, Idle),
    (contract.the_first_settlement_wins, Agreeable),
    (contract.a_retry_is_another_attempt, Free),
    (contract.what_is_released_is_next_and_costs_nothing, Strict),
    (contract.a_dead_task_is_kept_and_tried_again, Idle),
    (contract.a_cancelled_task_is_over, Idle),
    (contract.a_dead_or_waiting_task_can_be_purged, Idle),
    (contract.many_takers_do_each_task_once, Doubling),
    (contract.a_batch_that_is_partly_refused_says_which, Mixed),
    (contract.a_batch_has_a_limit, Cut),
    (contract.wrong_values_are_refused, Obliging),
    (contract.the_counts_balance, Boastful),
]
WRONG_ON_DISK: list[tuple[Rule, type[LedgerStore]]] = [
    (contract.what_was_accepted_is_there_again, Forgetful),
    (contract.what_was_settled_stays_settled, Idle),
    (contract.what_was_leased_comes_again, Dropping),
]


@pytest.mark.parametrize(("rule", "wrong"), WRONG, ids=lambda each: each.__name__)
def test_a_wrong_store_is_found_out(rule: Rule, wrong: type[LedgerStore]) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        prove(rule, lambda: wrong("thumbnails"), ALL, SOON_S)


@pytest.mark.parametrize(("rule", "wrong"), WRONG_ON_DISK, ids=lambda each: each.__name__)
def test_a_wrong_durable_store_is_found_out(
    rule: Rule, wrong: type[LedgerStore], tmp_path: Path
) -> None:
    journal = None if wrong is Forgetful else tmp_path / "thumbnails.journal"
    with pytest.raises(AssertionError):
        prove(rule, lambda: wrong("thumbnails", journal=journal), ALL_DURABLE, SOON_S)


def test_each_rule_has_a_store_that_breaks_it() -> None:
    assert [rule for rule, _ in WRONG] == RULES
    assert [rule for rule, _ in WRONG_ON_DISK] == DURABLE_RULES
    assert len({name_of(rule) for rule in [*RULES, *DURABLE_RULES]}) == 33
