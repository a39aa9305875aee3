"""Watch a list: redraw it on a terminal, or write one line for each change elsewhere."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from math import inf

from zmqkit.cli.output import draw, escaped, say, say_json
from zmqkit.node.listings import Listing, changes
from zmqkit.roles.watching import LOOK_S

_SIGNS = {"added": "+", "changed": "~", "removed": "-"}


class Watch:
    """Shows what changes in a list until its time is over or it is interrupted.

    look: returns the list.
    news: set when the list may have changed.
    draw: returns the list as lines for people. If it is None, changes are written as JSON.
    """

    def __init__(
        self,
        look: Callable[[], list[Listing]],
        news: threading.Event,
        draw: Callable[[list[Listing]], list[str]] | None,
        *,
        settle_s: float = 0.05,
    ) -> None:
        """settle_s: the wait before each look; meanwhile a new role is asked and answers."""
        self._look = look
        self._news = news
        self._draw = draw
        self._settle_s = settle_s
        self._on_terminal = draw is not None and sys.stdout.isatty()
        self._before: list[Listing] = []
        self._drawn: list[str] = []

    def run(self, for_s: float | None) -> None:
        """Show changes for `for_s` seconds, or without an end if that is None."""
        end_at = inf if for_s is None else time.monotonic() + for_s
        while True:
            threading.Event().wait(self._settle_s)
            self._show(self._look())
            left_s = end_at - time.monotonic()
            if left_s <= 0:
                return
            self._news.wait(min(LOOK_S, left_s))
            self._news.clear()

    def _show(self, rows: list[Listing]) -> None:
        if self._on_terminal and self._draw is not None:
            self._redraw(self._draw(rows))
        else:
            for change, listing in changes(self._before, rows):
                if self._draw is None:
                    say_json({"change": change, **asdict(listing)})
                else:
                    say(change_line(change, listing))
        self._before = rows

    def _redraw(self, lines: Sequence[str]) -> None:
        """Draw the lines from the top, as many as fit, if anything is different."""
        columns, height = shutil.get_terminal_size()
        fitting = [escaped(line)[:columns] for line in lines[: height - 1]]
        if fitting != self._drawn:
            self._drawn = fitting
            draw(fitting)


def change_line(change: str, listing: Listing) -> str:
    """Return a change as a line for people."""
    words = (_SIGNS[change], listing.name, listing.role, listing.address, listing.state)
    why = f" ({listing.why})" if listing.why and change != "removed" else ""
    return " ".join(words) + why
