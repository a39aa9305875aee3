"""A process that subscribes to the run's progress, as any process on the network might."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from types import TracebackType
from typing import Self

END_S = 3.0


class Watcher:
    """A process that runs `zmqkit sub` for a name. It ends after `count` messages.

    Its standard input is a pipe that this process holds open. So it ends with this process,
    however this process ends.
    """

    def __init__(self, name: str, count: int) -> None:
        theirs, self._held = os.pipe()  # `communicate` would close a pipe of Popen's
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", "zmqkit", "sub", name, "--json", "--count", str(count),
                "--until-eof",
            ],
            stdin=theirs,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for this process, which ends the other
        )  # fmt: skip
        os.close(theirs)

    async def received(self) -> list[object]:
        """Return the bodies of the messages that the process received.

        The process has END_S to end. Then it is killed.
        """
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
        os.close(self._held)
