"""The blocking side of a stream: its values, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from zmqkit.core.calls.client_streams import StreamCall
from zmqkit.core.effects import Effect
from zmqkit.errors import UsageError

if TYPE_CHECKING:
    from zmqkit.blocking.role import Life
    from zmqkit.core.calls.client import ClientCore
    from zmqkit.roles.scheme import Lookup


class Stream(Iterator[Any]):
    """The values of a service's generator, in order and each once; see `Client.stream`.

    Only one thread at a time may iterate over a stream. A reader that stops early calls
    `close`. The end of a `with` block, or of the object's life, closes the stream too. The
    service then closes the generator.
    """

    def __init__(self, life: Life[Lookup], core: ClientCore, call: StreamCall) -> None:
        self._life = life
        self._core = core
        self._call = call

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        value = self._life.pull(self._take, self._listen, self._give_up)
        return bytes(value) if type(value) is memoryview and self._call.options.copy else value

    def close(self) -> None:
        """Give up the stream: the service closes the generator, and no value follows.

        It does no harm to close a stream again.
        """
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
        if not hasattr(self, "_call"):
            return  # an interrupt came while the stream was made
        call = self._call
        if not (call.over or self._life.try_command(self._core.withdraw, [call])):
            self._core.abandon(call)

    def _take(self) -> tuple[object, bool] | None:
        """Return the next value and whether credit is owed; None while there is no value."""
        call = self._call
        if call.values:
            return self._core.take(call), self._core.owes_credit
        if not call.over:
            return None
        error, call.error = call.error, None
        raise error or StopIteration

    def _listen(self, waiter: object, now: float) -> None:
        """Have the core end the waiter's wait when a value or the end comes."""
        if self._call.listener is not None:
            raise UsageError("another thread waits for this stream; read it in one alone")
        self._core.listen(self._call, waiter, now)

    def _give_up(self, waiter: object, now: float) -> list[Effect]:
        """Cancel the call if it goes on, and drop the values that came."""
        call = self._call
        effects = [] if call.over else self._core.withdraw([call], now)
        call.values.clear()
        call.error = None
        return effects
