"""What a role logs, and when: after its work, while it holds no lock.

Theory of operation. Logging runs code of the program: handlers and filters. That code may be
slow, may raise, or may use the very role that logs; a handler may publish each line. So the
role's work only notes its lines. They are logged once the lock is released, on an event loop in
a turn of their own. One thread at a time logs, so lines keep their order. A thread that comes
meanwhile leaves its lines to that thread; so does a handler that uses the role. A thread that
leads must not log, since nobody drives meanwhile: it gives up the lead first.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from zmqkit.core.effects import Note
from zmqkit.limits import NOTES_MAX

log = logging.getLogger("zmqkit")

_WARNINGS = frozenset(
    {
        "notify-failed", "subscriber-excluded", "journal-failed", "handler-overdue",
        "bridge-cut", "bridge-refused", "other-space", "forwarders-in-a-circle",
        "handler-holds-loop",
        "device-unreachable", "device-refused", "device-missing", "devices-full",
        "mdp-request-failed", "mdp-request-refused", "mdp-requests-lost", "mdp-nobody-serves",
    }
)  # fmt: skip
"""Events that want attention where they happen, such as losses that no caller learns of: they
are logged as warnings, which Python shows."""


_TEXTS = ("text", "error")
"""Fields that are sentences."""


class _Fields(dict[str, object]):
    """The fields of an event, as a line shows them: each by its name, and the text last."""

    def __str__(self) -> str:
        rest = dict(self)
        texts = [str(rest.pop(name)) for name in _TEXTS if name in rest]
        words = [f"{name}={value!r}" for name, value in rest.items()]
        return ": ".join([*([" ".join(words)] if words else []), *map(_escaped, texts)])


def _escaped(text: str) -> str:
    """Return text of a peer, say, so that it cannot pass for another line."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def contained(write: Callable[..., object], *values: object) -> None:
    """Call a function that logs; what the program's own logging raises ends here.

    It is written to standard error, as `logging` does with what its handlers raise.
    """
    try:
        write(*values)
    except Exception:  # noqa: BLE001 - it may be anything, and no work of ours depends on it
        if logging.raiseExceptions and sys.stderr is not None:
            with suppress(OSError):  # nobody reads standard error
                traceback.print_exc()


class Notes:
    """The lines of one role that are not logged yet."""

    def __init__(self) -> None:
        # Is called when there is something to tell and there was nothing.
        self.arrived: Callable[[], object] | None = None
        # Is called with each event of the core, in the middle of its work.
        self.heard: Callable[[Note], object] | None = None
        self._lines: deque[tuple[int, str, tuple[object, ...]]] = deque()
        self._dropped = 0
        self._teller: dict[str, object] = {}

    @property
    def due(self) -> bool:
        """Whether there are lines to log that no thread is logging."""
        return bool(self._lines) and not self._teller

    def note(self, note: Note) -> None:
        """Add an event of a core."""
        if self.heard is not None:
            self.heard(note)
        level = logging.WARNING if note.event in _WARNINGS else logging.INFO
        self.add(level, "%s %s", note.event, _Fields(note.fields))

    def add(self, level: int, text: str, *values: object) -> None:
        """Add a line, in the form that `logging` takes."""
        if self.arrived is not None and not self._lines:
            self.arrived()
        if len(self._lines) < NOTES_MAX:
            self._lines.append((level, text, values))
        else:
            self._dropped += 1

    def tell(self) -> None:
        """Log the lines, unless a thread does so already. The caller holds no lock."""
        me, teller = object(), self._teller
        while self._lines:
            try:
                if teller.setdefault("is", me) is not me:
                    return
                while self._lines:
                    contained(_log, *self._lines.popleft())
                if self._dropped:
                    dropped, self._dropped = self._dropped, 0
                    contained(log.warning, "%d more lines came too fast to be logged", dropped)
            finally:
                if teller == {"is": me}:  # no call between, in which an interrupt may come
                    del teller["is"]


def _log(level: int, text: str, values: tuple[object, ...]) -> None:
    log.log(level, text, *values)
