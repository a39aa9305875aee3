"""One core on the bench: what to do to a client, and what effects mean, in few words."""

from __future__ import annotations

from collections.abc import Iterable

from tests.packets import read, welcome
from zmqkit.core.calls.call import CallOptions
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.outcome import Outcome
from zmqkit.core.effects import Effect, News, Note, Send, Settle, Tell
from zmqkit.errors import PeerError
from zmqkit.model import PeerId
from zmqkit.wire.rows import request_row

CLIENT = 1
"""The incarnation of the client on the bench."""

KEY = "service/orders"
HERE = "tcp://127.0.0.1:5000"


def peer(incarnation: int) -> PeerId:
    """What a client calls its connection to an instance."""
    return incarnation.to_bytes(8, "big")


def tell(
    news: News,
    incarnation: int,
    endpoint: str = "",
    text: str = "",
    *,
    is_device: bool = False,
) -> Tell:
    """Membership's news."""
    return Tell(news, KEY, incarnation, endpoint, text, is_device=is_device)


def up(
    client: ClientCore,
    incarnation: int,
    *idempotent: str,
    credit: int = 1000,
    is_device: bool = False,
    now: float = 0.0,
) -> list[Effect]:
    """Have an instance that answers; give what the client does then."""
    endpoint = f"{HERE}{incarnation}"
    client.hear(tell(News.FOUND, incarnation, endpoint, is_device=is_device), now)
    packet = welcome(incarnation, CLIENT, credit=credit, idempotent=idempotent)
    return client.receive(peer(incarnation), packet, now)


def call(
    client: ClientCore,
    method: str = "add",
    *,
    timeout_s: float = 5.0,
    wait_s: float = 5.0,
    attempts: int = 3,
    oneway: bool = False,
    now: float = 0.0,
) -> list[Effect]:
    """Make a call, end the turn, and give what the client does; its waiter is `method`."""
    client.submit(
        method, request_row(method, None, (), {}), None,
        CallOptions(timeout_s, wait_s, attempts=attempts), method, now, oneway=oneway,
    )  # fmt: skip
    client.check()
    return client.flush(now)


def note(what: str, incarnation: int, endpoint: str = "") -> Note:
    """What the log is told of an instance that `up` made, or of one elsewhere."""
    place = endpoint or f"{HERE}{incarnation}"
    fields = {"name": "orders", "instance": f"{incarnation >> 32:08x}", "endpoint": place}
    return Note(f"instance-{what}", fields)


def ends(effects: Iterable[Effect]) -> list[Outcome]:
    """The outcomes among the effects."""
    return [outcome for e in effects if isinstance(e, Settle) for outcome in e.outcomes]


def error(effects: Iterable[Effect]) -> PeerError:
    """The one error among the effects."""
    [(_, value, found)] = ends(effects)
    assert value is None and isinstance(found, PeerError)
    return found


def tells(effects: Iterable[Effect]) -> list[tuple[News, int]]:
    """The news among the effects, and of whom."""
    return [(e.news, e.incarnation) for e in effects if isinstance(e, Tell)]


def kinds(effects: Iterable[Effect]) -> list[object]:
    """The effects by their type, packets by their kind."""
    return [read(e)[0] if isinstance(e, Send) else type(e) for e in effects]
