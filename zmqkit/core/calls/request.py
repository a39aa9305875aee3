"""One request as a service has it."""

from __future__ import annotations

from dataclasses import dataclass

from zmqkit.core.dispatch.window import Window, Windows


@dataclass(slots=True)
class Request:
    """One request as its handler sees it. `cancelled` is set when the caller gave up.

    size: the bytes of it that came.
    """

    ticket: int
    client: int
    sequence: int
    method: str
    args: list[object]
    kwargs: dict[str, object]
    headers: dict[str, object] | None
    priority: int
    deadline_at: float
    oneway: bool
    size: int = 0
    cancelled: bool = False

    @property
    def id(self) -> str:
        """The message id as 32 hexadecimal digits, the same on each attempt."""
        return f"{self.client:016x}{self.sequence:016x}"


RequestWindow = Window[Request]
"""The reply window of one client of a service."""

RequestWindows = Windows[Request]
"""Those of all its clients."""
