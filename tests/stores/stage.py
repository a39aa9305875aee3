"""What the rules of stores stand on: a store that is open, and how to run a rule."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from zmqkit.stores.contract import (
    Alteration,
    Answer,
    End,
    Evidence,
    Found,
    Needs,
    NewTask,
    Settlement,
    State,
    Store,
    Taken,
)

BOUND_S = 30.0
LONG_S = 1000.0
SHORT_S = 0.02


@dataclass
class Stage:
    """A store that is open, and how to make it again."""

    make: Callable[[], Store]
    needs: Needs
    # How long to wait for what must come.
    bound_s: float

    async def open(self) -> None:
        self.store = self.make()
        self.evidence: Evidence = await self.store.open(self.needs)

    async def reopen(self) -> None:
        """Close the store, and open it again."""
        await self.store.close()
        await self.open()

    async def add(self, *bodies: bytes) -> list[str]:
        """Add tasks without options; return their ids."""
        return accepted(await self.store.add([NewTask(body) for body in bodies]))

    async def take(self, count_max: int = 1, lease_s: float = LONG_S) -> list[Taken]:
        """Take what there is now."""
        return await self.store.take(count_max, lease_s=lease_s)

    async def next(self, lease_s: float = LONG_S, attempts_max: int = 3) -> Taken:
        """Take the next task, which must come."""
        taken = await self.store.take(
            1, lease_s=lease_s, wait_s=self.bound_s, attempts_max=attempts_max
        )
        return only(taken)

    async def settle(self, task: Taken, end: End = End.DONE, **more: object) -> Answer:
        settlement = Settlement(task.receipt, end, **more)  # type: ignore[arg-type]  # as they are
        return only(await self.store.settle([settlement]))

    async def alter(self, alteration: Alteration, id: str) -> bool:
        return only(await self.store.alter(alteration, [id])).changed

    async def found(self, id: str) -> Found:
        found = only((await self.store.look([id])).found)
        assert found is not None
        return found

    async def reach(self, id: str, state: State) -> Found:
        """Wait until the only task is in this state, without being taken."""
        end_at = asyncio.get_running_loop().time() + self.bound_s
        while (found := await self.found(id)).state is not state:
            assert asyncio.get_running_loop().time() < end_at, found
            assert await self.store.take(1, lease_s=LONG_S, wait_s=SHORT_S) == []
        return found


Item = TypeVar("Item")
Rule = Callable[[Stage], Awaitable[None]]
ALL = Needs(ordered=True, unique=True, priority=True, delay=True, expiry=True)
ALL_DURABLE = Needs(
    durable=True, ordered=True, unique=True, priority=True, delay=True, expiry=True
)


def prove(
    rule: Rule, make: Callable[[], Store], needs: Needs = ALL, bound_s: float = BOUND_S
) -> None:
    """Run a rule on a store of its own. AssertionError says how the store breaks it."""

    async def main() -> None:
        stage = Stage(make, needs, bound_s)
        await stage.open()
        try:
            await rule(stage)
        finally:
            await stage.store.close()
            for left in asyncio.all_tasks() - {asyncio.current_task()}:
                left.cancel()  # a rule that fails may leave a take that waits

    asyncio.run(main())


def name_of(rule: Rule) -> str:
    return rule.__name__  # type: ignore[attr-defined]  # each is a function


def only(items: Sequence[Item]) -> Item:
    """The only item that there is to be."""
    assert len(items) == 1, items
    return items[0]


def accepted(answers: list[Answer]) -> list[str]:
    """The ids of tasks that were all accepted."""
    assert all(each.changed and each.error is None and each.id for each in answers)
    return [each.id for each in answers]
