"""`zmqkit demo`: show the main job at work while one of the workers is killed."""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path

import click

from zmqkit.cli.loop import on_loop
from zmqkit.cli.output import say, say_json, several, table, tell
from zmqkit.demo.majordomo import Collected
from zmqkit.demo.pipeline import Done
from zmqkit.demo.run import PROCESSES, Result, run
from zmqkit.errors import ConfigError

_REDRAW_S = 0.1
_BAR_CHARS = 24
_WORDS = 5


@click.command("demo", short_help="See it work: three processes, one of them killed.")
@click.argument("path", required=False, type=click.Path(exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="One object, in one line.")
def command(*, path: str | None, as_json: bool) -> int:
    """Count the words of a text in other processes, some of which are killed meanwhile.

    The text is PATH, read as UTF-8 and of some 8,000 characters at least, else one that comes
    with Python. Three processes serve under one name, and are found by discovery alone; one is
    killed half-way. Then the text goes as tasks through a streamer with a journal to two
    workers; a worker is killed, and the streamer, which starts again. At last it goes as
    requests through a Majordomo broker with a journal, which is killed, and starts again. The
    counts are compared with one made here.

    The keys of --json: ok; pids of the service processes; killed, a pid; found_ms, from the
    start of the first process until the client was connected with all three; calls; retries;
    calls_per_s; p50_ms and p99_ms of the time that a call took; lost calls; published steps of
    the progress, and how many a subscriber in another process missed; pipeline, with its tasks,
    those lost, the pids killed and took_ms; majordomo, with its requests, those lost, the pid
    killed and took_ms; words, the twenty most frequent with their counts. The exit code is 1
    when anything is lost or a count is wrong.
    """
    file = Path(path) if path else _own_text()
    text = file.read_text(encoding="utf-8", errors="replace")
    progress = Progress()
    try:
        result = on_loop(run(text, progress.show))
    finally:
        progress.clear()
    if as_json:
        say_json(result.summary())
    else:
        verdict, *lines = report(file, result)
        say(verdict, fg="green" if result.ok else "red", bold=True)
        for line in lines:
            say(line)
    for what, errors in (
        ("lost call", result.errors),
        ("lost task", result.tasks.errors),
        ("lost request", result.requests.errors),
    ):
        for error in errors[:1]:
            tell(f"first of {several(len(errors), what)}: {error}")
    return 0 if result.ok else 1


def report(file: Path, result: Result) -> list[str]:
    """Return the run as lines for people: the verdict, then a table."""
    verdict = "ok: no call, task or request was lost, and every word was counted right"
    if not result.ok:
        what = "the counts differ from those made here"
        what = "requests to the broker were lost" if result.requests.lost else what
        what = "tasks were lost" if result.tasks.lost else what
        what = "calls were lost" if result.lost else what
        what = "the subscriber missed messages" if result.missed else what
        verdict = f"FAILED: {what}"
    p50, p99, worst = (result.percentile_s(each) * 1e3 for each in (50, 99, 100))
    most = result.counted.most_common(_WORDS)
    watched = f", {result.missed:,} of them missed by a subscriber in another process"
    if not result.missed:
        watched = ", all received by a subscriber in another process"
    words = "".join(f", {word} {number:,}" for word, number in most)
    rows = [
        (
            "text",
            f"{file}, {several(result.chars, 'character')} in {several(result.calls, 'chunk')}",
        ),
        ("processes", " ".join(map(str, result.pids))),
        ("killed", f"{result.killed}, by SIGKILL half-way"),
        ("discovery", f"{result.found_s * 1e3:.0f} ms from the first start to all {PROCESSES}"),
        ("calls", f"{result.calls:,}"),
        ("retries", f"{result.retries:,}"),
        ("throughput", f"{result.calls_per_s:,.0f} calls/s"),
        ("latency", f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {worst:.1f} ms"),
        ("lost", f"{result.lost:,}" if result.lost else "none"),
        ("progress", f"{result.published:,} steps published{watched}"),
        ("tasks", _tasks(result.tasks)),
        ("requests", _requests(result.requests)),
        ("words", f"{result.counted.total():,} in all{words}"),
    ]
    return [verdict, *table(rows)]


def _tasks(done: Done) -> str:
    worker, streamer = done.killed or (0, 0)
    lost = f"{done.lost:,} of them lost" if done.lost else "none lost"
    return (
        f"{done.tasks:,} through a streamer with a journal, {lost}; worker {worker} and "
        f"streamer {streamer} killed by SIGKILL"
    )


def _requests(collected: Collected) -> str:
    lost = f"{collected.lost:,} of them lost" if collected.lost else "none lost"
    return (
        f"{collected.requests:,} through a broker with a journal, {lost}; broker "
        f"{collected.killed} killed by SIGKILL"
    )


class Progress:
    """A line on standard error that follows a run. It is shown only on a terminal."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._next_at = 0.0

    def show(self, result: Result) -> None:
        """Draw the line again, unless it was drawn a moment ago."""
        if not self._shown or time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + _REDRAW_S
        tasks, requests = result.tasks, result.requests
        if requests.requests:
            line = _bar(requests.done, requests.requests, "requests", requests.errors)
        elif tasks.tasks:
            line = _bar(tasks.done, tasks.tasks, "tasks", tasks.errors)
        elif result.calls:
            line = _bar(result.done, result.calls, "calls", result.errors)
        else:
            line = f"processes {' '.join(map(str, result.pids))} look for each other"
        killed = [pid for pid in (result.killed, *tasks.killed, requests.killed) if pid]
        if killed:
            line += f", {' '.join(map(str, killed))} killed"
        sys.stderr.write(f"\r{line}\x1b[K")
        sys.stderr.flush()

    def clear(self) -> None:
        """Erase the line."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _bar(done: int, count: int, what: str, errors: list[str]) -> str:
    full = "#" * (_BAR_CHARS * done // count)
    return f"[{full:.<{_BAR_CHARS}}] {done:,}/{count:,} {what}, {len(errors)} lost"


def _own_text() -> Path:
    """Return the text that comes with Python. Raise ConfigError if this Python lacks it."""
    found = importlib.util.find_spec("pydoc_data.topics")
    if found is None or not found.origin or not Path(found.origin).exists():
        raise ConfigError("this Python came without pydoc_data; give a text as PATH")
    return Path(found.origin)
