"""A process that subscribes to the run's progress, as anybody on the network might."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from types import TracebackType
from typing import Self

END_S = 3.0


class Watcher:
    """`zmqkit sub` of a name in a process of its own; it ends after so many messages."""

    def __init__(self, name: str, count: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "zmqkit", "sub", name, "--json", "--count", str(count)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for this process, which ends that one
        )

    async def received(self) -> list[object]:
        """The bodies of what it received, once it has ended; it is given END_S."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> list[object]:
        try:
            text, _ = self._process.communicate(timeout=END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            text, _ = self._process.communicate()
        return [json.loads(line)["body"] for line in text.splitlines()]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
