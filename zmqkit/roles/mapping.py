"""What the maps of both kinds of clients share: items that are read lazily, and encoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from zmqkit.core.calls.call import CallOptions
from zmqkit.errors import UsageError
from zmqkit.limits import WAITING_CALLS_MAX
from zmqkit.roles.handlers import call_body
from zmqkit.wire.encoding import Buffer

Body = tuple[bytes, Buffer | None]


class Items:
    """The items of a map, each of them encoded when there is room for its call."""

    def __init__(
        self, method: str, items: Iterable[object], options: CallOptions, window: int
    ) -> None:
        """Raises UsageError for a wrong window, or items that cannot be iterated over."""
        if type(window) is not int or not 1 <= window <= WAITING_CALLS_MAX:
            raise UsageError(
                f"window is {window!r}; use a whole number from 1 to {WAITING_CALLS_MAX}"
            )
        if not isinstance(items, Iterable):
            raise UsageError(f"items is {items!r}; use a list or another iterable")
        self._method = method
        self._options = options
        self._window = window
        self._left: Iterator[object] | None = iter(items)

    def wanted(self, under_way: int) -> int:
        """Return how many calls to begin, for calls that are under way and do not wait.

        Calls are begun by the half window, so that they leave in few packets.
        """
        return self._window - under_way if 2 * under_way <= self._window else 0

    def room(self, under_way: int) -> int:
        """Return how many calls may be begun."""
        return self._window - under_way

    def take(self, count: int) -> list[Body | UsageError]:
        """Read up to so many items; return the body of each, or why it cannot travel."""
        taken: list[Body | UsageError] = []
        while len(taken) < count and self._left is not None:
            item = next(self._left, self)
            if item is self:
                self._left = None
                break
            try:
                taken.append(call_body(self._method, (item,), {}, self._options))
            except UsageError as error:
                taken.append(error)
        return taken
