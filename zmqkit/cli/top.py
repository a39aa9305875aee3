"""`zmqkit top`: the busiest roles, as they change, with keys to look closer."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import click

from zmqkit.cli.grouping import OF_ALL, SORTS, cells, ordered, together
from zmqkit.cli.looking import looking
from zmqkit.cli.ls import listening
from zmqkit.cli.output import say, say_json, table, tell
from zmqkit.cli.searched import searched_for_all
from zmqkit.cli.stats import WAIT_S, nobody, show_once, silence
from zmqkit.cli.view import View
from zmqkit.errors import ConfigError
from zmqkit.node.node import Node
from zmqkit.node.statistics import Reader, Row

READ_S = 1.0
"""How long from the beginning of one reading to that of the next, which waits no longer."""


@click.command("top", short_help="Watch what each role does, the busiest first.")
@click.argument("name", required=False)
@click.option("--once", is_flag=True, help="Print one table, and end.")
@click.option("--json", "as_json", is_flag=True, help="One array of objects a reading.")
@click.option(
    "--sort", type=click.Choice([*SORTS]), default="rate", show_default=True, help="By what."
)
@looking(WAIT_S, "With --once, how long to look for processes.")
def command(
    *, name: str | None, once: bool, as_json: bool, sort: str, wait_s: float, insecure: bool
) -> None:
    """Show what the roles of a NAME do, or all roles on this machine, anew each second.

    A line stands for all instances of a name in one role; below it stand its methods, topics,
    queues or services. A terminal shows them until q or Ctrl-C, which needs rich: pip install
    'zmqkit[top]'. Up and down, or j and k, select a line; Enter shows the instances of its
    name, and Escape goes back; s sorts by the next column; / filters. Elsewhere the table is
    printed each second. RATE and the rest are as in `zmqkit stats`.

    \b
    zmqkit top
    zmqkit top orders --sort p99
    zmqkit top --once --json
    """

    def show(rows: list[Row]) -> None:
        lines = ordered(together(rows), sort)
        if as_json:
            say_json([line.as_object() for line in lines])
        elif lines:
            for text in table(cells(lines, OF_ALL)):
                say(text)

    if once:
        show_once(show, name, wait_s, insecure=insecure)
    elif as_json or not is_terminal():
        _print(show, name, insecure=insecure, as_json=as_json)
    else:
        _watch(name, sort, insecure=insecure)


def is_terminal() -> bool:
    """Return whether there is a terminal to draw on and to read keys from."""
    if sys.platform == "win32" or os.environ.get("TERM") in ("dumb", "unknown"):
        return False
    return sys.stdin.isatty() and sys.stdout.isatty()


def _print(
    show: Callable[[list[Row]], None], name: str | None, *, insecure: bool, as_json: bool
) -> None:
    """Show the rows each second, until it is interrupted."""
    told = ""
    with listening(threading.Event(), insecure=insecure) as node, Reader(node) as reader:
        reach = node.environment.reach(insecure=insecure or None)
        while True:
            next_at = time.monotonic() + READ_S
            rows = reader.read(name, reach=reach, timeout_s=READ_S)
            show(rows)
            if rows and not as_json:
                say("")
            news = silence(reader.silent) if reader.silent else ""
            news = news if rows else f"{nobody(name)} is there"
            if news not in ("", told):
                tell(news)
            told = news
            threading.Event().wait(max(0.0, next_at - time.monotonic()))


def _watch(name: str | None, sort: str, *, insecure: bool) -> None:
    """Show the rows on the terminal, until a key ends it."""
    try:
        from zmqkit.cli.screen import screen
        from zmqkit.cli.terminal import Terminal
    except ImportError as error:
        raise ConfigError(
            "the screen of `zmqkit top` needs rich; pip install 'zmqkit[top]', or use --once"
        ) from error
    view = View(sort)
    with ExitStack() as ends:
        node = ends.enter_context(listening(threading.Event(), insecure=insecure))
        terminal = Terminal()
        ends.callback(terminal.close)
        readings = ends.enter_context(Readings(node, name, terminal.wake, insecure=insecure))
        ends.enter_context(terminal)
        while not view.is_over:
            found = readings.take()
            if found is not None:
                view.take(*found)
            where = "" if view.rows else searched_for_all(name, insecure=insecure)
            nothing = f"{nobody(name)} is there: {where}"
            size = terminal.size
            lines = screen(view, *size, nobody=nothing, encoding=terminal.encoding)
            terminal.draw(lines, size)
            for key in terminal.wait():
                view.press(key)


class Readings:
    """While the context is entered, a thread reads all statistics each second."""

    def __init__(
        self, node: Node, name: str | None, news: Callable[[], None], *, insecure: bool
    ) -> None:
        """name: of the roles that are read; None for all. news: is called after each one."""
        self._node = node
        self._name = name
        self._news = news
        self._reach = node.environment.reach(insecure=insecure or None)
        self._last: deque[tuple[list[Row], list[str]]] = deque(maxlen=1)
        self._error: Exception | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="readings", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def take(self) -> tuple[list[Row], list[str]] | None:
        """Return the last reading, and who did not answer; None if it was taken already.

        Raises what stopped the thread.
        """
        if self._error is not None:
            raise self._error
        return self._last.pop() if self._last else None

    def _run(self) -> None:
        try:
            with Reader(self._node) as reader:
                while not self._over.is_set():
                    next_at = time.monotonic() + READ_S
                    rows = reader.read(self._name, reach=self._reach, timeout_s=READ_S)
                    self._last.append((rows, reader.silent))
                    self._news()
                    self._over.wait(max(0.0, next_at - time.monotonic()))
        except Exception as error:  # noqa: BLE001 - the thread that draws raises it again
            self._error = error
            self._news()
