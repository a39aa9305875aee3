"""The parent of the processes of `zmqkit work MODULE:WORKER`: keeps so many of them at work.

Each child is started as a program of its own, never forked, and is told of the parent's end by
the end of a connection, so none outlives it; a watchdog kills one that does not notice. A child
that dies is replaced. Where children die before they can be found, over and over, the parent
gives up: another one would do no better. The first signal is passed on, and each child finishes
what it began; the next one kills them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import subprocess
import sys
import time
from asyncio.subprocess import Process
from contextlib import suppress
from math import inf

from zmqkit.cli.main import CONFIG, FAILED, UNAVAILABLE, USAGE
from zmqkit.cli.manners import Attended, Manners
from zmqkit.cli.output import JsonLines, say_error, tell
from zmqkit.cli.pulse import LoopPulse
from zmqkit.cli.stopping import end_by
from zmqkit.cli.totals import Totals
from zmqkit.cli.watchdog import Watchdog, kill_group
from zmqkit.cli.work_process import BEAT, OVERDUE, READY, REFUSED, SPENT
from zmqkit.roles.stopping import SIGNALS

_PAUSE_S = 0.1
_PAUSE_S_MAX = 5.0
"""The pause before a process that died soon is replaced; it doubles, up to the second."""
_SOON_S = 1.0
_STILLBORN_MAX = 5
"""How many processes in a row may die before they can be found."""
_SILENT_S = 5.0
"""How much longer than an attempt may take a process may be silent before it is killed."""
_LINGER_S = 5.0
"""How much longer than its tasks have a process may take to end."""
_TELLING = (USAGE, UNAVAILABLE, CONFIG)
"""Exit codes of a process that say more than that it failed, so they are this one's too."""
_AGAIN_S = 0.1
"""Signals within this time count as one, as in `Stopping`."""


def supervise(target: str, count: int, tasks_max: int | None, wanted: Manners) -> int:
    """Keep so many processes at work until told to stop; return the exit code."""
    with (
        Attended(wanted, "worker", target, service=None, noun="task") as attended,
        asyncio.Runner() as runner,
    ):
        return runner.run(Supervisor(target, count, tasks_max, attended).run())


class Child:
    """One process, and what it said."""

    def __init__(
        self, process: Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.process = process
        self.writer = writer
        self.pid = process.pid
        self.begun_at = time.monotonic()
        self.words: set[str] = set()
        self.limit_s = inf
        self._reader = reader

    async def next_word(self) -> tuple[str, dict[str, object]] | None:
        """Wait for the next word; None at the end. TimeoutError if the process is silent."""
        silent_s = None if self.limit_s == inf else self.limit_s + _SILENT_S
        line = await asyncio.wait_for(self._reader.readline(), silent_s)
        if not line.endswith(b"\n"):
            return None
        word, values = json.loads(line)
        self.words.add(word)
        return word, values

    def end(self, number: int) -> None:
        """Send a signal to the process; one that cannot be found yet has nothing to finish."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number if READY in self.words else signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process and what it started."""
        kill_group(self.pid)

    def how_it_ended(self) -> str:
        """Return what the end of the process was."""
        code = self.process.returncode
        assert code is not None
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}" if code else "ended"


class Supervisor:
    """Keeps processes at work: starts, replaces and stops them, and says so."""

    def __init__(
        self, target: str, count: int, tasks_max: int | None, attended: Attended
    ) -> None:
        self._target = target
        self._attended = attended
        self._drain_s = attended.drain_s
        self._count = count
        self._tasks_max = tasks_max
        self._children: set[Child] = set()
        self._totals = Totals()
        self._ready_count = 0
        self._stillborn = 0
        self._soon = 0
        self._may_begin = asyncio.Event()
        self._stopping = asyncio.Event()
        self._watchdog = Watchdog(self._drain_s + _LINGER_S)
        self._stopped_at = inf
        self._code = 0

    async def run(self) -> int:
        """Work until told to stop; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._stop, number)
        others = (self._keep_later() for _ in range(self._count - 1))
        try:
            await asyncio.gather(self._keep(), *others)
        finally:
            self._watchdog.close()
        return self._code

    async def _keep_later(self) -> None:
        """Do what `_keep` does once a first process works, so that its error is told once."""
        await self._may_begin.wait()
        await self._keep()

    async def _keep(self) -> None:
        """Have one process at work, and another one after it, until told to stop."""
        while not self._stopping.is_set():
            child = await self._start()
            try:
                await self._attend(child)
            finally:
                self._children.discard(child)
            pause_s = self._ended(child)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)

    async def _start(self) -> Child:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *self._command(theirs.fileno()),
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                process_group=0,  # what a terminal sends is for the parent, which passes it on
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        child = Child(process, reader, writer)
        self._children.add(child)
        self._watchdog.add(child.pid)
        if self._stopping.is_set():
            child.end(signal.SIGTERM)
        return child

    def _command(self, descriptor: int) -> list[str]:
        log = logging.getLogger("zmqkit")
        verbose = log.isEnabledFor(logging.INFO) + log.isEnabledFor(logging.DEBUG)
        limit = [] if self._tasks_max is None else ["--max-tasks", str(self._tasks_max)]
        options = [*limit, "--drain", str(self._drain_s)]
        if JsonLines.wanted:
            options += ["--log-format", "json"]
        return [
            sys.executable, *(["-P"] if sys.flags.safe_path else []), "-m", "zmqkit",
            *["-v"] * verbose, "work", self._target, *options, "--supervised", str(descriptor),
        ]  # fmt: skip

    async def _attend(self, child: Child) -> None:
        """Listen to a process until it has ended."""
        listening = asyncio.create_task(self._listen(child))
        await child.process.wait()
        await asyncio.wait({listening}, timeout=_SOON_S)
        listening.cancel()
        child.writer.close()

    async def _listen(self, child: Child) -> None:
        try:
            while (said := await child.next_word()) is not None:
                word, values = said
                if word == READY:
                    self._is_ready(child, values)
                elif word == BEAT:
                    self._totals.take(child.pid, values)
                elif word == OVERDUE:
                    limit = f"task_timeout_s={child.limit_s:g}"
                    tell(f"process {child.pid}: a task took longer than {limit}; it ends")
        except TimeoutError:
            tell(f"process {child.pid} says nothing, and a task may take {child.limit_s:g} s")
            child.kill()

    def _is_ready(self, child: Child, values: dict[str, object]) -> None:
        limit_s = values["task_timeout_s"]
        if isinstance(limit_s, float):
            child.limit_s = limit_s
        reach = ", open to the network in plain text" if values["is_open"] else ""
        tell(f"process {child.pid} works at {values['endpoint']}{reach}")
        self._may_begin.set()
        self._stillborn = 0
        self._ready_count += 1
        if self._ready_count == self._count:
            line = f"working on {values['name']!r} in {_processes(self._count)}"
            pulse = LoopPulse(asyncio.get_running_loop(), self._stats)
            self._attended.ready(line, pulse)

    def _stats(self) -> dict[str, object]:
        """Return what the workers count, and how many processes can be found."""
        ready = sum(READY in child.words for child in self._children)
        starting = len(self._children) - ready
        processes = {"up": ready, "starting": starting}
        return {"in_flight": 0, **self._totals.stats(), "processes": processes}

    def _ended(self, child: Child) -> float:
        """Decide what follows from the end of a process; return the pause before the next."""
        code, how = child.process.returncode, child.how_it_ended()
        child.kill()  # what it started goes with it
        self._totals.ended(child.pid)
        self._watchdog.remove(child.pid)
        was_ready = READY in child.words
        if self._stopping.is_set():
            if was_ready and code:
                self._code = self._code or FAILED
                tell(f"process {child.pid} {how}")
            return 0.0
        if SPENT in child.words:
            tell(f"process {child.pid} ended after {self._tasks_max} tasks; another one begins")
            return 0.0
        if not was_ready:
            self._stillborn += 1
            by_itself = code is not None and code > 0 and not self._ready_count
            if by_itself or self._stillborn >= _STILLBORN_MAX:
                self._give_up(child, code if by_itself and code in _TELLING else FAILED)
                return 0.0
        is_soon = time.monotonic() < child.begun_at + _SOON_S or not was_ready
        self._soon = self._soon + 1 if is_soon and OVERDUE not in child.words else 0
        pause_s = min(_PAUSE_S * 2 ** (self._soon - 1), _PAUSE_S_MAX) if self._soon else 0.0
        when = f" in {pause_s:g} s" if pause_s else ""
        tell(f"process {child.pid} {how}; another one begins{when}")
        return pause_s

    def _give_up(self, child: Child, code: int) -> None:
        times = f", {self._stillborn} in a row" if self._stillborn > 1 else ""
        if REFUSED not in child.words or times:  # else it wrote all that there is to say
            say_error(
                f"process {child.pid} {child.how_it_ended()} before it could work{times}; "
                "mend what it says above, or what it imports"
            )
        self._code = code
        self._end_all(signal.SIGTERM)

    def _stop(self, number: int) -> None:
        """Stop at the first signal, and at once at the next one."""
        now = time.monotonic()
        if self._stopped_at == inf:
            self._stopped_at = now
            tell(f"stopping {_processes(len(self._children))}")
            self._end_all(number)
        elif now >= self._stopped_at + _AGAIN_S:
            for child in self._children:
                child.kill()
            end_by(number)

    def _end_all(self, number: int) -> None:
        """Have all processes finish what they began, and kill those that take too long."""
        self._attended.end()
        self._stopping.set()
        self._may_begin.set()
        for child in self._children:
            child.end(number)
        asyncio.get_running_loop().call_later(self._drain_s + _LINGER_S, self._kill_all)

    def _kill_all(self) -> None:
        for child in self._children:
            tell(f"process {child.pid} did not end in time, and is killed")
            child.kill()


def _processes(count: int) -> str:
    return f"{count} process" if count == 1 else f"{count:,} processes"
