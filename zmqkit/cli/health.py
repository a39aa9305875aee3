"""What a process answers over HTTP about itself: /livez, /readyz and /metrics.

A thread of its own answers, so that neither a slow asker nor a role that hangs holds up the
other. It takes few connections at a time, one request each, with an end to everything: the
request's size, how long it may take to come, and how long the answer may take to leave.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from zmqkit.device.place import HealthPlace
from zmqkit.errors import AddressTaken, ConfigError
from zmqkit.model import bracketed

CONNECTIONS_MAX = 16
REQUEST_BYTES_MAX = 8 << 10
REQUEST_S = 5.0
"""How long a request may take to come, and an answer to leave, each."""
_TEXT = "text/plain; charset=utf-8"


@dataclass(slots=True)
class Answers:
    """What the process says of itself: each returns what is wrong, or an empty text."""

    livez: Callable[[], str]
    readyz: Callable[[], str]
    # The content type and text of /metrics. Raises TimeoutError if they cannot be had now, and
    # ConfigError if they never can.
    metrics: Callable[[], tuple[str, bytes]]


Reply = tuple[HTTPStatus, str, bytes]


class Health:
    """Answers at a place until `close`. Raises AddressTaken if it cannot listen there."""

    def __init__(
        self, place: HealthPlace, answers: Answers, what: str = "health at tcp://"
    ) -> None:
        """what: begins the error, before the host and port."""
        self._answers = answers
        self._count = 0
        # Counters are asked for by one thread at a time, which may have to wait for the role.
        self._asking = threading.Lock()
        self._loop = asyncio.new_event_loop()
        try:
            self._server = self._loop.run_until_complete(self._listen(place))
        except OSError as error:
            self._loop.close()
            at = f"{bracketed(place.host or '*')}:{place.port}"
            raise AddressTaken(
                f"{what}{at}: {(error.strerror or str(error)).lower()}; name another "
                "address or port"
            ) from error
        host, port = self._server.sockets[0].getsockname()[:2]
        self.url = f"http://{bracketed(host)}:{port}"
        self._thread = threading.Thread(target=self._run, name="zmqkit-health", daemon=True)
        self._thread.start()

    async def _listen(self, place: HealthPlace) -> asyncio.Server:
        return await asyncio.start_server(
            self._serve, place.host or None, place.port,
            limit=REQUEST_BYTES_MAX, backlog=CONNECTIONS_MAX,
        )  # fmt: skip

    def close(self) -> None:
        """Answer no more."""
        with suppress(RuntimeError):  # it is closed
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        loop = self._loop
        try:
            loop.run_forever()
        finally:
            self._server.close()
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._count += 1
        try:
            if self._count > CONNECTIONS_MAX:
                return
            async with asyncio.timeout(REQUEST_S):
                head = await reader.readuntil(b"\r\n\r\n")
            reply, is_head = await self._reply(head)
            async with asyncio.timeout(REQUEST_S):
                writer.write(_written(reply, is_head=is_head))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asks so gets no answer
        finally:
            self._count -= 1
            writer.close()

    async def _reply(self, head: bytes) -> tuple[Reply, bool]:
        """Return the answer to a request, and whether only its head is wanted."""
        words = head.partition(b"\r\n")[0].decode("ascii", "replace").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _text(HTTPStatus.BAD_REQUEST, "this is no HTTP/1 request"), False
        method, path = words[0], words[1].partition("?")[0]
        if method not in ("GET", "HEAD"):
            return _text(HTTPStatus.METHOD_NOT_ALLOWED, "use GET or HEAD"), False
        is_head = method == "HEAD"
        if path == "/livez":
            return _judged(self._answers.livez(), "live"), is_head
        if path == "/readyz":
            return _judged(self._answers.readyz(), "ready"), is_head
        if path == "/metrics":
            return await self._metrics(), is_head
        said = "there are /livez, /readyz and /metrics"
        return _text(HTTPStatus.NOT_FOUND, said), is_head

    async def _metrics(self) -> Reply:
        if not self._asking.acquire(blocking=False):
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, "another request waits for these")
        loop = self._loop
        answer: asyncio.Future[Reply] = loop.create_future()

        def settle(reply: Reply) -> None:
            if not answer.done():
                answer.set_result(reply)

        def ask() -> None:
            reply = self._exposed()
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(settle, reply)

        threading.Thread(target=ask, name="zmqkit-metrics", daemon=True).start()
        try:
            async with asyncio.timeout(REQUEST_S):
                return await answer
        except TimeoutError:
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, "the role does not answer")

    def _exposed(self) -> Reply:
        """Return the counters; on a thread that may have to wait for them."""
        try:
            content_type, text = self._answers.metrics()
            return HTTPStatus.OK, content_type, text
        except ConfigError as error:
            return _text(HTTPStatus.NOT_IMPLEMENTED, str(error))
        except TimeoutError as error:
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        finally:
            self._asking.release()


def _text(status: HTTPStatus, text: str) -> Reply:
    return status, _TEXT, f"{text}\n".encode()


def _judged(wrong: str, well: str) -> Reply:
    return _text(HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK, wrong or well)


def _written(reply: Reply, *, is_head: bool) -> bytes:
    """Return the answer as HTTP/1.1 has it."""
    status, content_type, body = reply
    allow = "Allow: GET, HEAD\r\n" if status is HTTPStatus.METHOD_NOT_ALLOWED else ""
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {content_type}\r\n{allow}"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if is_head else body)
