"""The results of many calls, of which a window is under way at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from zmqkit.blocking.begun import outcome_of
from zmqkit.core.calls.call import Call, CallOptions
from zmqkit.core.effects import Effect
from zmqkit.drivers.blocking import Waiter
from zmqkit.errors import UsageError, ZmqkitError
from zmqkit.roles.answers import value_of
from zmqkit.roles.mapping import Body, Items

if TYPE_CHECKING:
    from zmqkit.blocking.role import Life
    from zmqkit.core.calls.client import ClientCore
    from zmqkit.roles.scheme import Lookup


class Mapped(Iterator[Any]):
    """The results of `Client.map`, in the order of its items.

    Only one thread at a time may iterate. `close`, the end of a `with` block, or of the
    object's life, cancels the calls that are under way and reads no further items.
    """

    def __init__(
        self,
        life: Life[Lookup],
        core: ClientCore,
        method: str,
        items: Items,
        options: CallOptions,
        *,
        return_errors: bool,
    ) -> None:
        self._life = life
        self._core = core
        self._method = method
        self._items: Items | None = items
        self._options = options
        self._return_errors = return_errors
        # The calls that were begun and whose results were not returned, in order. They stay
        # when another thread closes, since this one may look at the first.
        self._under_way: deque[Call | ZmqkitError] = deque()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        items, under_way = self._items, self._under_way
        if items is None:
            raise StopIteration
        count = len(under_way)
        room = items.room(count) if not count or self._waits() else items.wanted(count)
        if room:
            try:
                self._begin(items.take(room))
            except BaseException:
                self.close()
                raise
        if not under_way:
            self._items = None
            raise StopIteration
        value, error = self._first()
        if self._items is None:
            self.close()  # another thread did, maybe while this one began calls
            raise StopIteration
        under_way.popleft()
        if error is None:
            return value_of(value, self._options)
        if self._return_errors:
            return error
        self.close()
        raise error

    def close(self) -> None:
        """Cancel the calls that are under way; no further result follows.

        Any thread may close, and it does no harm to close again. Who waits for a result then
        gets none: the loop ends.
        """
        self._items = None
        if self._calls():
            self._life.end(self._give_up)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # This may run on any thread, in the middle of this client's own work: never wait for
        # the lock.
        left = self._calls() if hasattr(self, "_under_way") else []
        if left and not self._life.try_command(self._core.withdraw, left):
            for call in left:
                self._core.abandon(call)

    def _calls(self) -> list[Call]:
        return [each for each in self._under_way if isinstance(each, Call)]

    def _waits(self) -> bool:
        """Whether the first call has no outcome yet."""
        first = self._under_way[0]
        return isinstance(first, Call) and not _waiter_of(first).done

    def _begin(self, bodies: list[Body | UsageError]) -> None:
        """Begin a call for each body; one that cannot travel stands for itself."""
        if bodies:
            self._life.submit(self._submit, bodies)

    def _submit(self, bodies: list[Body | UsageError], now: float) -> None:
        call, add = self._core.call, self._under_way.append
        for each in bodies:
            if isinstance(each, UsageError):
                add(each)
            else:
                add(call(self._method, *each, self._options, Waiter(), now))

    def _first(self) -> tuple[object, ZmqkitError | None]:
        """Wait for the first call to end; return its value and its error."""
        first = self._under_way[0]
        if not isinstance(first, Call):
            return None, first
        waiter = _waiter_of(first)
        if waiter.done:
            return waiter.value, waiter.error
        return outcome_of(self._life, waiter, self._give_up)

    def _give_up(self, waiter: object, now: float) -> list[Effect]:
        return self._core.withdraw(self._calls(), now)


def _waiter_of(call: Call) -> Waiter:
    assert isinstance(call.waiter, Waiter)
    return call.waiter
