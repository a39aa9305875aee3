"""Adds, takes and settles tasks in a journal until it is killed; run with the file's path.

Prints a line after each answer: `added ID` or `done ID`.
"""

from __future__ import annotations

import asyncio
import itertools
import sys

from zmqkit.stores.contract import End, Needs, NewTask, Settlement
from zmqkit.stores.ledger_store import LedgerStore

BATCH = 20


async def main() -> None:
    store = LedgerStore("thumbnails", journal=sys.argv[1])
    await store.open(Needs(durable=True))

    async def add() -> None:
        for n in itertools.count():
            for answer in await store.add([NewTask(b"%d" % n)] * BATCH):
                print("added", answer.id, flush=True)

    async def work() -> None:
        while True:
            taken = await store.take(BATCH // 2, lease_s=1000.0, wait_s=1000.0)
            for answer in await store.settle([Settlement(t.receipt, End.DONE) for t in taken]):
                print("done", answer.id, flush=True)

    await asyncio.gather(add(), work())


if __name__ == "__main__":
    asyncio.run(main())
