"""The beginnings of topics that a subscriber has subscribed to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from zmqkit.errors import UsageError
from zmqkit.wire import publication


class Prefixes:
    """The prefixes in force, each once, in the order in which they were added."""

    def __init__(self, prefixes_max: int) -> None:
        # The same as a tuple, for `startswith`.
        self.starts: tuple[bytes, ...] = ()
        self._in_force: dict[bytes, None] = {}
        self._prefixes_max = prefixes_max

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._in_force)

    def want(self, topic: bytes) -> bool:
        """Whether a topic begins with one of the prefixes."""
        return topic.startswith(self.starts)

    def add(self, prefixes: Iterable[str]) -> list[bytes]:
        """Add prefixes, and return those that are new. Raises UsageError for a wrong one."""
        added = [prefix for prefix in _checked(prefixes) if prefix not in self._in_force]
        if len(self._in_force) + len(added) > self._prefixes_max:
            raise UsageError(
                f"a subscriber has at most {self._prefixes_max} topics; use prefixes"
            )
        self._in_force |= dict.fromkeys(added)
        self.starts = tuple(self._in_force)
        return added

    def remove(self, prefixes: Iterable[str]) -> list[bytes]:
        """Remove prefixes, and return those that were in force."""
        removed = [prefix for prefix in _checked(prefixes) if prefix in self._in_force]
        for prefix in removed:
            self.displace(prefix)
        self.starts = tuple(self._in_force)
        return removed

    def place(self, prefix: bytes) -> None:
        """Add one prefix of somebody else's; `want` does not follow it."""
        self._in_force[prefix] = None

    def displace(self, prefix: bytes) -> None:
        """Remove one prefix; `want` does not follow it."""
        self._in_force.pop(prefix, None)


def _checked(prefixes: Iterable[str]) -> dict[bytes, None]:
    """Return each prefix once, as it stands in a packet. Raises UsageError for a wrong one."""
    if isinstance(prefixes, (str, bytes)) or not isinstance(prefixes, Iterable):
        raise UsageError(f"topics are a list of text, not {prefixes!r}; use [{prefixes!r}]")
    return dict.fromkeys(publication.check_prefix(prefix) for prefix in prefixes)
