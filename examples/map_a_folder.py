"""Map a function over the files of a folder, by as many workers as there are.

Prints:

    100 files, 5050 lines
    the longest is poem-100.txt
"""

import asyncio
import tempfile
from pathlib import Path

from zmqkit.asyncio import Pusher, Worker

NAME = "example-map"


def count_lines(path: str) -> list[object]:
    with Path(path).open() as file:
        return [Path(path).name, sum(1 for _ in file)]


async def main(paths: list[str]) -> None:
    workers = [Worker(NAME) for _ in range(3)]  # elsewhere each is a process of its own
    for worker in workers:
        worker.task(count_lines, thread=True)  # it reads a file, so it is not for the loop
        await worker.start()
    async with Pusher(NAME) as pusher:
        # 20 files are under way at a time, and their results come as they end.
        results = pusher.map(paths, window=20, ordered=False, timeout_s=20)
        lines = {name: count async for name, count in results}
        print(f"{len(lines)} files, {sum(lines.values())} lines")
        print("the longest is", max(lines, key=lambda name: lines[name]))
    for worker in workers:
        await worker.close()


with tempfile.TemporaryDirectory() as name:
    for number in range(1, 101):
        (Path(name) / f"poem-{number}.txt").write_text("roses are red\n" * number)
    asyncio.run(main([str(path) for path in Path(name).iterdir()]))
