"""A terminal as `zmqkit top` uses it: a screen of its own, and keys as they are pressed."""

from __future__ import annotations

import codecs
import os
import re
import select
import signal
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.control import Control
from rich.text import Text

from zmqkit.cli.screen import Drawn

_SPLIT_S = 0.05
"""How long the rest of a key is awaited that came in pieces."""

_READ_BYTES = 1024
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"

_KEY = re.compile("\x1b(?:\\[[0-9;]*[A-Za-z~]|O[A-Za-z])|.", re.DOTALL)
_PIECE = re.compile("\x1b(?:\\[[0-9;]*|O)?\\Z")
_NAMES = {
    "\x1b[A": "up", "\x1bOA": "up", "\x1b[B": "down", "\x1bOB": "down",
    "\x1b[D": "left", "\x1bOD": "left", "\x1b[5~": "page-up", "\x1b[6~": "page-down",
    "\x1b[H": "home", "\x1bOH": "home", "\x1b[1~": "home",
    "\x1b[F": "end", "\x1bOF": "end", "\x1b[4~": "end",
    "\r": "enter", "\n": "enter", "\x1b": "escape", "\x7f": "backspace", "\b": "backspace",
    "\x03": "interrupt",
}  # fmt: skip


class Keys:
    """Turns what a terminal sends into keys: characters, and names of those that have none."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    @property
    def is_split(self) -> bool:
        """Whether the beginning of a key came, which may also be one for itself."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[str]:
        """Return the keys that are complete. No data: those that came in pieces are, too."""
        text = self._rest + self._decoder.decode(data)
        piece = _PIECE.search(text) if data else None
        self._rest = piece[0] if piece else ""
        whole = text[: len(text) - len(self._rest)]
        return [_NAMES.get(key, key) for key in _KEY.findall(whole)]


class Terminal:
    """While the context is entered, the terminal shows a screen of its own, without a cursor.

    It is as it was afterwards. Signals that end a process are the key `interrupt` meanwhile.
    """

    def __init__(self) -> None:
        self._keys = Keys()
        self._console = Console(file=sys.stdout, force_terminal=True, highlight=False)
        self._input = sys.stdin.fileno()
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)
        self._is_told_to_end = False
        self._ends = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as ends:
            ends.enter_context(self._signals())
            ends.enter_context(self._at_once())
            ends.enter_context(self._console.screen())
            self._write(_NO_WRAP)
            ends.callback(self._write, _WRAP)
            self._ends = ends.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ends.close()

    def close(self) -> None:
        """Release what `wake` uses."""
        os.close(self._woken)
        os.close(self._wake)

    @property
    def size(self) -> tuple[int, int]:
        """How many columns and lines there are now; 80 and 24 where that is not known."""
        columns, lines = os.get_terminal_size(sys.stdout.fileno())
        return columns or 80, lines or 24

    @property
    def encoding(self) -> str:
        """How text is encoded for it."""
        return sys.stdout.encoding or "utf-8"

    def draw(self, lines: Sequence[Drawn], size: tuple[int, int]) -> None:
        """Draw a screen of that size."""
        self._console.size = os.terminal_size(size)
        text = Text(no_wrap=True, overflow="crop", end="")
        for number, line in enumerate(lines):
            text.append("\n" if number else "")
            text.append(line.text, line.style)
        self._console.print(Control.home(), text, sep="", end="")

    def wait(self) -> list[str]:
        """Wait for keys, a new size, or `wake`; return the keys."""
        wait_s = _SPLIT_S if self._keys.is_split else None
        ready, _, _ = select.select([self._input, self._woken], [], [], wait_s)
        with suppress(BlockingIOError):
            while len(os.read(self._woken, _READ_BYTES)) == _READ_BYTES:
                pass
        keys = ["interrupt"] if self._is_told_to_end else []
        if not ready:
            return keys + self._keys.feed(b"")
        if self._input in ready:
            keys += self._keys.feed(data) if (data := self._read()) else ["interrupt"]
        return keys

    def wake(self) -> None:
        """End a `wait`; any thread may call this."""
        with suppress(BlockingIOError):  # there is enough in it
            os.write(self._wake, b"\0")

    def _read(self) -> bytes:
        """Return what was typed; nothing once the terminal is gone."""
        try:
            return os.read(self._input, _READ_BYTES)
        except OSError:
            return b""

    def _write(self, codes: str) -> None:
        sys.stdout.write(codes)
        sys.stdout.flush()

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        """Have keys arrive as they are pressed, unseen, and Ctrl-C be one of them."""
        before = termios.tcgetattr(self._input)
        after = termios.tcgetattr(self._input)
        after[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG)
        after[6][termios.VMIN], after[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._input, termios.TCSADRAIN, after)
        try:
            yield
        finally:
            termios.tcsetattr(self._input, termios.TCSADRAIN, before)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Have signals end `wait`."""
        ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {each: signal.signal(each, self._told_to_end) for each in ends}
        before[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, lambda *_: self.wake())
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _told_to_end(self, *_: object) -> None:
        self._is_told_to_end = True
        self.wake()
