"""Shows what zmqkit logs, if ZMQKIT_LOG says so and the program has no logging of its own."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

from zmqkit.drivers.notes import log

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class ToStderr(logging.Handler):
    """Writes entries to standard error, as long as nothing else of the program shows them."""

    @property
    def stream(self) -> TextIO | None:
        """What is standard error now; a program may replace it."""
        return sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        """Write one entry, unless the program has a handler for it."""
        stream = self.stream
        if stream is None or _is_shown_elsewhere():
            return
        try:
            stream.write(f"{self.format(record)}\n")
            stream.flush()
        except Exception:  # noqa: BLE001 - as every handler of `logging` does
            self.handleError(record)


to_stderr = ToStderr()
"""The one handler of zmqkit's own."""

to_stderr.setFormatter(logging.Formatter(FORMAT))


def log_as_told(word: str) -> None:
    """Have the logger `zmqkit` write to standard error, from the level of that name on.

    word: a level of ZMQKIT_LOG; empty for none. This leaves the logger as it is if the program
    has a handler for it, and its level if the program has set one.
    """
    if word and to_stderr not in log.handlers and not _is_shown_elsewhere():
        log.addHandler(to_stderr)
        if log.level == logging.NOTSET:
            log.setLevel(word.upper())


def _is_shown_elsewhere() -> bool:
    """Return whether the program has a handler that these entries reach."""
    above = logging.getLogger().handlers if log.propagate else []
    return any(handler is not to_stderr for handler in (*log.handlers, *above))
