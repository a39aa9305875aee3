"""RFC 9 (Titanic): clients of RFCs that have a request kept, and ask for its reply later.

    titanic.request   a service and a body    200 and an id, once the request is on disk
    titanic.reply     an id                   200 and the reply, as often as it is asked for
                                              300 while there is none, or it is not on disk yet
                                              500 if the request failed; it may be requeued
                                              400 if it is unknown, or never gets a reply
    titanic.close     an id                   200; nothing is kept of the request any more
    any other titanic.*                       400

A request that is kept is a task of its service's ledger, as one that a client of ours submits,
so it needs a broker with journals; without them each answer is 500. The first half of an id is
the number of the journal, by which the ledger is found, and the second half is drawn. An id is
looked up among the ids that were given, and is never part of a path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from zmqkit.core.effects import Effect, Send
from zmqkit.core.majordomo.bodies import answer_body
from zmqkit.core.majordomo.durable_back import DurableBack
from zmqkit.core.majordomo.feed import Deed
from zmqkit.core.majordomo.relay import Relay
from zmqkit.core.majordomo.told import reply_of
from zmqkit.core.tasks.task import Encoded, State, Task
from zmqkit.errors import UsageError
from zmqkit.model import NAME_BYTES_MAX, Frames, PeerId, check_name
from zmqkit.wire import mdp
from zmqkit.wire.encoding import Buffer, decode
from zmqkit.wire.mdp import Version

REQUEST = "titanic.request"
"""The service that keeps a request."""

OK = b"200"
_PENDING, _UNKNOWN, _ERROR = b"300", b"400", b"500"
_REPLY, _CLOSE = "titanic.reply", "titanic.close"
_SERVICES = frozenset({REQUEST, _REPLY, _CLOSE})
_ID_BYTES = 32
_HALF = _ID_BYTES // 2
_HEX = frozenset(b"0123456789abcdef")
_FAILED = frozenset({State.FAILED, State.DEAD})
_EMPTY: Frames = (b"",)

Found = tuple[str, DurableBack, Task]
"""A request that is kept: its service, the back that has it, and its task."""


@dataclass(slots=True)
class Kept:
    """A request that is to be kept."""

    id: str
    service: str
    body: Frames


class Titanic:
    """Answers what clients of RFCs ask of `titanic.*`."""

    def __init__(
        self,
        find: Callable[[str], Relay | None],
        relays: Mapping[str, Relay],
        follow: Callable[[str, list[Effect], float], list[Effect]],
        draw: Callable[[], int],
        *,
        is_durable: bool,
    ) -> None:
        """Begin for a broker. is_durable: whether it has journals; else nothing is kept.

        find: returns the relay of a service, a new one if need be. relays: those that there
        are. follow: tells clients and workers what follows from a change of a service's back.
        draw: returns a random number.
        """
        # Those of RFC 9 that are served.
        self.services = _SERVICES if is_durable else frozenset()
        self._find = find
        self._relays = relays
        self._follow = follow
        self._draw = draw
        # By the number of its journal, each service; services with journals stay.
        self._by_journal: dict[int, str] = {}

    def to_keep(self, service: str, body: Frames) -> Kept | None:
        """Return the request that is to be kept; None if it is none, or cannot be kept."""
        name = _name(body[0])
        if service != REQUEST or not self.services or not name:
            return None
        relay = self._find(name)
        if relay is None:
            return None
        id = f"{relay.back.incarnation:016x}{self._draw():016x}"
        return Kept(id, name, body[1:] or _EMPTY)

    def answer(self, service: str, body: Frames, now: float) -> tuple[Frames, list[Effect]]:
        """Return the answer to any other request, and what follows from that."""
        if service in _SERVICES and not self.services:
            return (_ERROR,), []
        if service == REQUEST:
            return (_ERROR if _name(body[0]) else _UNKNOWN,), []
        if service == _REPLY:
            found = self._found(body[0])
            return (_UNKNOWN,) if found is None else _reply(*found[1:]), []
        if service == _CLOSE:
            return (OK,), self._close(body[0], now)
        return (_UNKNOWN,), []

    def _close(self, id: Buffer, now: float) -> list[Effect]:
        found = self._found(id)
        if found is None:
            return []
        service, back, task = found
        return self._follow(service, back.forget(task, now), now)

    def _found(self, id: Buffer) -> Found | None:
        """Return what is kept under an id."""
        if len(id) != _ID_BYTES or not _HEX.issuperset(id):
            return None
        text = str(id, "ascii")
        service = self._service(int(text[:_HALF], 16))
        relay = self._relays.get(service)
        if relay is None or not isinstance(relay.back, DurableBack):
            return None
        task = relay.back.kept(text)
        return None if task is None else (service, relay.back, task)

    def _service(self, journal: int) -> str:
        """Return the service that has the journal of this number; nothing if none has."""
        if len(self._by_journal) != len(self._relays):
            self._by_journal = {r.back.incarnation: n for n, r in self._relays.items()}
        return self._by_journal.get(journal, "")


def not_kept(peer: PeerId, version: Version, id: str) -> list[Deed]:
    """Tell a client that its request is not kept, if it was to be. id: empty if it was not."""
    return [Send(peer, mdp.final(version, REQUEST, (_ERROR,)))] if id else []


def _reply(back: DurableBack, task: Task) -> Frames:
    if not task.is_over or back.core.change_of(task):
        return (_PENDING,)
    if task.state is not State.DONE:
        return (_ERROR if task.state in _FAILED else _UNKNOWN,)
    if task.value is None:
        return (OK, *answer_body(None, b"\xc0"))
    told = reply_of(task.value.data if isinstance(task.value, Encoded) else task.value)
    value = decode(told.row) if told.raw is None else told.raw
    return (OK, *answer_body(value, told.row))


def _name(frame: Buffer) -> str:
    """Return the name of a service that may have workers; nothing if it is none."""
    if len(frame) > NAME_BYTES_MAX:
        return ""
    try:
        name = check_name(str(frame, "utf-8"))
    except (UnicodeDecodeError, UsageError):
        return ""
    return "" if name.startswith((mdp.MMI, mdp.TITANIC)) else name
