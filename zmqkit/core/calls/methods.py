"""What a service offers: methods that give one value, and streams, which give many."""

from __future__ import annotations

from collections.abc import Mapping

from zmqkit.core.calls.answers import refuse
from zmqkit.core.calls.outcome import NO_METHOD
from zmqkit.core.dispatch.window import Answer

_NAMES_MAX = 20
_SHOWN_CHARS = 100


class Methods:
    """Names, and whether a request for one may run twice; both maps may grow later."""

    def __init__(self, plain: Mapping[str, bool], streams: Mapping[str, bool]) -> None:
        self.plain = plain
        self.streams = streams

    def repeats(self, name: str) -> bool:
        """Whether a request for it may run twice."""
        return self.plain.get(name, False) or self.streams.get(name, False)

    def idempotent(self) -> list[str]:
        """All whose requests may run twice."""
        return [name for name in (*self.plain, *self.streams) if self.repeats(name)]

    def refusal(self, name: str, *, streams: bool) -> Answer | None:
        """Why a request for it is not accepted, as an answer; None when it is.

        streams: whether many values are asked for. Who asks so takes one as well.
        """
        if name in self.streams and not streams:
            text = f"{name!r} gives many values; ask for them with client.stream({name!r}, ...)"
            return refuse(NO_METHOD, text)
        if name in self.plain or name in self.streams:
            return None
        return refuse(NO_METHOD, f"no method {name[:_SHOWN_CHARS]!r}; {self._names()}")

    def _names(self) -> str:
        names = sorted([*self.plain, *self.streams]) or ["none"]
        more = f", … ({len(names)} in all)" if len(names) > _NAMES_MAX else ""
        return f"there are {', '.join(names[:_NAMES_MAX])}{more}"
