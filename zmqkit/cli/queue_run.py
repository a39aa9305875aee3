"""`zmqkit queue run`: give the tasks of a journal at rest to workers until none is left."""

from __future__ import annotations

import os
import sys
import time
from math import inf

import click

import zmqkit
from zmqkit.cli.main import FAILED, INTERRUPTED, IOERR, TIMEOUT
from zmqkit.cli.numeric import Number
from zmqkit.cli.output import say, say_error, say_json, several, show, tell
from zmqkit.cli.stopping import stopping
from zmqkit.core.effects import Effect
from zmqkit.core.tasks.task import State
from zmqkit.errors import UsageError
from zmqkit.limits import DRAIN_S
from zmqkit.roles.asking import QueueAtRest, opened
from zmqkit.types import PusherStats

_LOOK_S = 0.5
_NOT_DONE = ("failed", "dead", "expired", "cancelled", "dropped")


@click.command("run", short_help="Give the tasks of a journal at rest to workers.")
@click.argument("file")
@click.option("--timeout", "timeout_s", type=Number(min=0, min_open=True), metavar="SECONDS",
              help="Give out no more tasks after so long.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--insecure", is_flag=True, help="Use workers on other machines, in plain text.")
def run(*, file: str, timeout_s: float | None, as_json: bool, insecure: bool) -> int:
    """Give the tasks of a journal to the workers of its name, until none is left.

    FILE is a journal at rest: no process has it open. While this command has, it is the queue's
    pusher, and `zmqkit queue` asks it. Tasks that are delayed are waited for, and results until
    a sink has taken them. A streamer of the name gets the tasks if there is one.

    On SIGINT, SIGTERM or after --timeout no more tasks are given out, and those that workers
    have are finished, for ten seconds at most; a second signal ends that too. What is left
    stays in FILE. Exit codes: 0 all are done, 1 some have failed, 74 the disk failed, 124 or
    130 some are left.

    \b
    zmqkit queue requeue thumbnails.journal --all
    zmqkit queue run thumbnails.journal
    """
    pusher = RestedPusher(_name_in(file), file, insecure=insecure or None)
    until = inf if timeout_s is None else time.monotonic() + timeout_s
    if pusher.stats()["paused"]:
        pusher.close(0)
        raise UsageError(f"{file} is paused; `zmqkit queue resume {file}` ends that")
    if pusher.left:
        with stopping(pusher, "task"):
            pusher.work_off(until, Progress(pusher))
            pusher.close(0)
    else:
        pusher.close(0)
    _tell_end(pusher, file, as_json=as_json)
    if pusher.fault is not None:
        say_error(f"{pusher.fault}; what ended since then may run again")
        return IOERR
    if pusher.left:
        return INTERRUPTED if pusher.is_stopped else TIMEOUT
    return FAILED if any(pusher.ended(each) for each in _NOT_DONE) else 0


def _name_in(file: str) -> str:
    """Return the name of the queue in a journal; UsageError if a process has it open."""
    with opened(file) as queue:
        about = queue.ask({"do": "ls"})
    if not isinstance(queue, QueueAtRest):
        raise UsageError(
            f"{file} is open in process {about['process']}, which gives its tasks out itself"
        )
    if queue.journal.has_requests:
        raise UsageError(
            f"{file} has requests that a broker keeps; run the broker again, and it goes on "
            "with them"
        )
    return str(about["name"])


def _tell_end(pusher: RestedPusher, file: str, *, as_json: bool) -> None:
    """Write what became of the tasks."""
    ended = {each: pusher.ended(each) for each in ("done", *_NOT_DONE)}
    if as_json:
        say_json({"name": pusher.name, **ended, "left": pusher.left})
        return
    others = [f"{ended[each]:,} {each}" for each in _NOT_DONE if ended[each]]
    others += [f"{pusher.left:,} left"] if pusher.left else []
    say(", ".join([f"{several(ended['done'], 'task')} done", *others]))
    if dead := pusher.count("dead"):
        tell(f"{several(dead, 'task')} dead in it; `zmqkit queue dead {file}` says why")


class RestedStats(PusherStats):
    """What a pusher counts, and how many tasks workers have."""

    in_flight: int


class RestedPusher(zmqkit.Pusher):
    """The pusher of a journal that was at rest, which pushes nothing and may be stopped."""

    def __init__(self, name: str, file: str, *, insecure: bool | None) -> None:
        super().__init__(name, journal=os.path.abspath(file), insecure=insecure)
        self.is_stopped = False
        self._before = {state.value: self.count(state.value) for state in State}

    def work_off(self, until: float, progress: Progress) -> None:
        """Give tasks out until none is left, or until the time `until`, or `stop`."""
        life = self._life
        life.open()
        while self.left and not (self._is_ending or life.is_past(until)):
            next_at = min(until, time.monotonic() + _LOOK_S)
            life.wait(lambda: not self.left or self._is_ending, next_at)
            progress.look()
        if self.left and self.fault is None:
            life.command(self._hold)
            end_at = time.monotonic() + DRAIN_S
            life.wait(lambda: not self.at_workers or self.fault is not None, end_at)
        progress.clear()

    def stop(self) -> None:
        """Have `work_off` give out no more tasks; a signal's handler may call this."""
        self.is_stopped = True
        self._life.wake()

    def stats(self) -> RestedStats:
        """Return the counters; `in_flight` is how many tasks workers have."""
        return {**super().stats(), "in_flight": self.at_workers}

    def ended(self, state: str) -> int:
        """Return how many tasks have come to this state since the file was opened."""
        return max(0, self.count(state) - self._before[state])

    def count(self, state: str) -> int:
        """Return how many tasks have this state; takes no lock, so a wait may ask."""
        return self._core.ledger.counts[State(state)]

    @property
    def left(self) -> int:
        """How many tasks are still to be done."""
        return self._core.in_flight

    @property
    def at_workers(self) -> int:
        """How many tasks workers have, or sinks their results; what a streamer has not."""
        return max(0, self.count("leased") - self._core.passed_on)

    @property
    def waits_for(self) -> str:
        """What keeps all tasks waiting; empty if some are under way, or will be."""
        core = self._core
        if not self.left:
            return ""
        if core.ledger.line.paused:
            return "the queue is paused; `zmqkit queue resume` has workers go on"
        if not core.ready_count and self.left > len(core.ledger.results):
            hint = core.hint or "start one with zmqkit.Worker or `zmqkit work`"
            return f"nobody works on {self.name!r}: {hint}"
        if self.left == len(core.ledger.results):
            return f"results wait for a sink; `zmqkit sink {self.name}` prints them"
        return ""

    @property
    def _is_ending(self) -> bool:
        return self.is_stopped or self.fault is not None

    def _hold(self, now: float) -> list[Effect]:
        """Give out no more tasks; unlike a pause, the journal does not keep this."""
        self._core.ledger.line.paused = True
        return []


class Progress:
    """Tells people how far the tasks are, on a terminal, and what they wait for."""

    def __init__(self, pusher: RestedPusher) -> None:
        self._pusher = pusher
        self._told = ""

    def look(self) -> None:
        """Show how many tasks are done, and once what all of them wait for."""
        pusher = self._pusher
        reason = pusher.waits_for if not pusher.is_stopped else ""
        if reason and reason != self._told:
            self.clear()
            tell(f"waiting with {several(pusher.left, 'task')}: {reason}")
        self._told = reason
        if sys.stderr.isatty():
            done, left = pusher.ended("done"), pusher.left
            show(f"{done:,} done, {pusher.at_workers:,} with workers, {left:,} left")

    def clear(self) -> None:
        """Leave the line to what is written next."""
        if sys.stderr.isatty():
            show("")
