"""Questions to another process of this machine, over a socket in the file system.

A connection carries one question and its answer. Each has its length in front, as four bytes.
The socket has mode 0600 before anybody can connect, so that only its owner's processes ask. One
thread sleeps until somebody does. It answers one question after the other, and gives nobody
longer than some seconds; whatever comes in, it goes on.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from zmqkit.drivers.notes import contained, log
from zmqkit.limits import (
    ANSWER_BYTES_MAX,
    ANSWER_S,
    QUESTION_BYTES_MAX,
    QUESTION_S,
    QUESTIONS_BACKLOG,
    REST_S_MAX,
)

PATH_BYTES_MAX = 100
"""A socket's path may have 103 bytes on some systems and 107 on others. It is made under a
longer name, by one."""

_HEAD_BYTES = 4
_SOL_LOCAL, _LOCAL_PEERPID = 0, 2
"""Where macOS tells the process at the other end; Python has no names for these."""


class Listener:
    """A socket at a path, and the thread that answers there."""

    def __init__(self, path: str, answer: Callable[[bytes], bytes]) -> None:
        """Listen at an absolute path; a socket that somebody left there is replaced.

        answer: is called on the thread. Raises OSError.
        """
        self.path = path
        self._answer = answer
        self._socket = socket.socket(socket.AF_UNIX)
        self._closing, self._close = socket.socketpair()
        self._asker: socket.socket | None = None
        try:
            self._listen()
        except BaseException:
            self._let_go()
            raise
        self._thread = threading.Thread(target=self._run, name="zmqkit-queue", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Remove the socket, and end the thread once it has answered what it began."""
        with suppress(OSError):
            os.unlink(self.path)
        # Unlike `close`, this reaches the thread even if a forked child has the socket too.
        self._close.shutdown(socket.SHUT_RDWR)
        asker = self._asker
        if asker is not None:
            with suppress(OSError):  # what it has not asked by now is not waited for
                asker.shutdown(socket.SHUT_RD)
        self._thread.join(2 * ANSWER_S)
        self._let_go()

    def _listen(self) -> None:
        """Make the socket under another name, so that whoever finds it can connect."""
        new = f"{self.path}~"
        with suppress(FileNotFoundError):
            os.unlink(new)
        self._socket.bind(new)
        try:
            os.chmod(new, 0o600)
            self._socket.listen(QUESTIONS_BACKLOG)
            os.rename(new, self.path)
        except BaseException:
            os.unlink(new)
            raise

    def _let_go(self) -> None:
        for each in (self._socket, self._closing, self._close):
            each.close()

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._closing, select.POLLIN)
        while all(at != self._closing.fileno() for at, _ in poll.poll()):
            try:
                connection, _ = self._socket.accept()
            except OSError as error:  # there are no descriptors left, say
                contained(log.warning, "a question was not taken: %s", error)
                self._pause()
                continue
            with connection, suppress(OSError):
                self._asker = connection
                self._serve(connection)
            self._asker = None

    def _pause(self) -> None:
        poll = select.poll()
        poll.register(self._closing, select.POLLIN)
        poll.poll(REST_S_MAX * 1000)

    def _serve(self, connection: socket.socket) -> None:
        question = _receive(connection, QUESTION_BYTES_MAX, time.monotonic() + QUESTION_S)
        if question is None:
            return
        try:
            answer = self._answer(question)
        except Exception:  # noqa: BLE001 - a bug, and no reason to stop listening
            contained(log.exception, "a question was not answered")
            return
        connection.settimeout(ANSWER_S)
        connection.sendall(len(answer).to_bytes(_HEAD_BYTES, "big") + answer)


def ask(path: str, question: bytes, timeout_s: float = ANSWER_S) -> bytes:
    """Return the answer of the process that listens at a path.

    Raises ConnectionRefusedError or FileNotFoundError if none does, TimeoutError if it does not
    answer in time, and ConnectionResetError if it ended or did not understand.
    """
    until = time.monotonic() + timeout_s
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(path)
        except BlockingIOError as error:  # so many wait already
            raise TimeoutError(str(error)) from error
        with suppress(BrokenPipeError):  # it hung up, and may have said why
            connection.sendall(len(question).to_bytes(_HEAD_BYTES, "big") + question)
        answer = _receive(connection, ANSWER_BYTES_MAX, until)
    if answer is None:
        raise ConnectionResetError("the process hung up without an answer")
    return answer


def listener_of(path: str) -> int | None:
    """Return the id of the process that listens at a path, whether it answers or not.

    None if no process does, or if the system does not tell which one it is.
    """
    with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
        connection.settimeout(QUESTION_S)
        connection.connect(path)
        if sys.platform == "darwin":
            return connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID) or None
        told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        process: int = struct.unpack("3i", told)[0]
        return process or None  # 0 stands for one that cannot be seen from this container
    return None


def _receive(connection: socket.socket, bytes_max: int, until: float) -> bytes | None:
    """Return what the other side sent, or None if that is too long or ends too early.

    Raises TimeoutError if it is not there at the time `until`.
    """
    head = _exactly(connection, _HEAD_BYTES, until)
    size = int.from_bytes(head, "big")
    if len(head) < _HEAD_BYTES or size > bytes_max:
        return None
    body = _exactly(connection, size, until)
    return body if len(body) == size else None


def _exactly(connection: socket.socket, size: int, until: float) -> bytes:
    """Return so many bytes; fewer if the other side closes first."""
    pieces: list[bytes] = []
    while size > 0:
        connection.settimeout(max(0.001, until - time.monotonic()))
        piece = connection.recv(min(size, 1 << 20))
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
