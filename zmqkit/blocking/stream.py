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
    """The values that a service's generator gives, in order and each once; see `Client.stream`.

    Used as an iterator, by one thread at a time. Whoever stops early closes it, or leaves that
    to the end of a `with` block or of the object's life: its generator is closed then.
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
        """Want no more of it: the service closes the generator. Nothing follows; may repeat."""
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
        # Maybe in the middle of this client's own work, on any thread: never wait for the lock.
        if not hasattr(self, "_call"):
            return  # an interrupt came while it was made
        call = self._call
        if not (call.over or self._life.try_command(self._core.cancel, call.sequence)):
            self._core.abandon(call.sequence)

    def _take(self) -> tuple[object, bool] | None:
        """The next value, and whether that is worth credit; None while there is none."""
        call = self._call
        if call.values:
            return self._core.take(call), self._core.owes_credit
        if not call.over:
            return None
        error, call.error = call.error, None
        raise error or StopIteration

    def _listen(self, waiter: object, now: float) -> None:
        """Begin to wait for something to come."""
        if self._call.listener is not None:
            raise UsageError("another thread waits for this stream; read it in one alone")
        self._core.listen(self._call, waiter, now)

    def _give_up(self, waiter: object, now: float) -> list[Effect]:
        """Cancel the call if it goes on, and forget what came."""
        call = self._call
        effects = [] if call.over else self._core.cancel(call.sequence, now)
        call.values.clear()
        call.error = None
        return effects
