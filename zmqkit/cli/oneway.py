"""What becomes of one-way messages: the counters say how many were done, the log why not."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Self

import zmqkit

log = logging.getLogger("zmqkit")


class Failures(logging.Filter):
    """Keeps from the log why the first message failed, for the one line that people get.

    With -v the log shows it all the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = ""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be logged; what it says of a message is kept."""
        match record.args:
            case ("notify-failed", {"error": str(text)}):
                self.first = self.first or text
                return log.isEnabledFor(logging.INFO)
        return True

    def check(self, client: zmqkit.Client, timeout_s: float) -> None:
        """Raise when a message was not acknowledged: refused, or in vain till the end."""
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
