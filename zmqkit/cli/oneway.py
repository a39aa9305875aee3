"""The outcome of one-way messages.

Counters say how many ran, the log says why others failed.
"""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Self

import zmqkit

log = logging.getLogger("zmqkit")


class Failures(logging.Filter):
    """Keeps the reason why the first message failed, for the one line that people get.

    The reason comes from the log. With -v the log shows it as well.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = ""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log the record. Keep what it says of a failed message."""
        match record.args:
            case ("notify-failed", {"error": str(text)}):
                self.first = self.first or text
                return log.isEnabledFor(logging.INFO)
        return True

    def check(self, client: zmqkit.Client, timeout_s: float) -> None:
        """Raise PeerError if a message failed, or CallTimeout if one is not done in time."""
        stats = client.stats()
        done, sent = stats["delivered"], stats["accepted"]
        if stats["failed"]:
            counts = f"{client.name!r} did {done} of {sent} messages: " if sent != 1 else ""
            raise zmqkit.PeerError(f"{counts}{self.first}")
        if done != sent:
            raise zmqkit.CallTimeout(
                f"{client.name!r} did {done} of {sent} messages within {timeout_s:g} s; give "
                "it longer with --timeout"
            )

    def __enter__(self) -> Self:
        log.addFilter(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        log.removeFilter(self)
