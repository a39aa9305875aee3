"""What the screen of `zmqkit top` shows, and what each key changes about it.

It shows one of two tables: a line for each name, role and part, or, of one name, a line for
each instance. The line that is selected stays so, wherever the next reading puts it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zmqkit.cli.grouping import (
    OF_ALL,
    OF_EACH,
    SORTS,
    Key,
    Line,
    each_alone,
    matching,
    ordered,
    together,
)
from zmqkit.node.statistics import Row

FILTER_CHARS_MAX = 60
PAGE = 10
"""How many lines a page key moves."""


class View:
    """The table, and what is selected, sorted and filtered in it."""

    def __init__(self, sort: str) -> None:
        self.sort = sort
        self.filter = ""
        # Whether keys are typed into the filter.
        self.is_typing = False
        # The name whose instances are shown; None for the table of all names.
        self.of: str | None = None
        self.is_over = False
        self.rows: Sequence[Row] = ()
        # Processes that did not answer, and whether there was any reading yet.
        self.silent: Sequence[str] = ()
        self.has_read = False
        self.lines: list[Line] = []
        # The place of the selected line; 0 if there is none.
        self.at = 0
        self._keys: dict[str, Callable[[], None]] = {
            "q": self._end, "interrupt": self._end,
            "up": lambda: self._move(-1), "k": lambda: self._move(-1),
            "down": lambda: self._move(1), "j": lambda: self._move(1),
            "page-up": lambda: self._move(-PAGE), "page-down": lambda: self._move(PAGE),
            "home": lambda: self._move(-self.at),
            "end": lambda: self._move(len(self.lines)),
            "enter": self._enter, "escape": self._back, "left": self._back,
            "s": self._sort_by_the_next, "/": self._type,
        }  # fmt: skip

    @property
    def columns(self) -> Sequence[str]:
        """The columns of the table."""
        return OF_ALL if self.of is None else OF_EACH

    def take(self, rows: Sequence[Row], silent: Sequence[str]) -> None:
        """Show another reading."""
        self.rows, self.silent, self.has_read = rows, silent, True
        self._show()

    def press(self, key: str) -> None:
        """Do what a key is for: a character, or the name of a key that has none."""
        if self.is_typing:
            self._typed(key)
        elif key in self._keys:
            self._keys[key]()
        self._show()

    def _show(self) -> None:
        selected: Key | None = self.lines[self.at].key if self.lines else None
        if self.of is None:
            lines = together(self.rows)
        else:
            lines = each_alone(row for row in self.rows if row.name == self.of)
        self.lines = ordered(matching(lines, self.filter), self.sort)
        places = [at for at, line in enumerate(self.lines) if line.key == selected]
        last = max(0, len(self.lines) - 1)
        self.at = places[0] if places else min(self.at, last)

    def _typed(self, key: str) -> None:
        if key == "interrupt":
            self._end()
        elif key == "enter":
            self.is_typing = False
        elif key == "escape":
            self.is_typing, self.filter = False, ""
        elif key == "backspace":
            self.filter = self.filter[:-1]
        elif len(key) == 1 and key.isprintable():
            self.filter = (self.filter + key)[:FILTER_CHARS_MAX]

    def _end(self) -> None:
        self.is_over = True

    def _move(self, count: int) -> None:
        self.at = min(max(0, self.at + count), max(0, len(self.lines) - 1))

    def _enter(self) -> None:
        if self.of is None and self.lines:
            self.of, self.filter, self.at = self.lines[self.at].name, "", 0
            self.lines = []

    def _back(self) -> None:
        """Leave the filter, or else the instances of a name."""
        if self.filter:
            self.filter = ""
        elif self.of is not None:
            name, self.of, self.lines, self.at = self.of, None, [], 0
            self._show()
            names = [line.name for line in self.lines]
            self.at = names.index(name) if name in names else 0

    def _sort_by_the_next(self) -> None:
        sorts = [*SORTS]
        self.sort = sorts[(sorts.index(self.sort) + 1) % len(sorts)]

    def _type(self) -> None:
        self.is_typing = True
