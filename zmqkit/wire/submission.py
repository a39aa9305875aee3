"""What clients ask of a broker with a journal: to keep a request, and to hand out a reply.

    SUBMIT     a request whose headers say in addition which method is meant, under which id it
               is kept, and how long it may wait; the reply is the id, once it is on disk
    COLLECT    a request with one argument, the id; the reply is that of the request kept
    STATE      the same, and the reply is the state of the request kept, as text

All are methods of the service whose requests these are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from zmqkit.wire.encoding import Malformed, decode

SUBMIT = "zmqkit.submit"
"""The method of a submission, and the header that tells of it."""

COLLECT = "zmqkit.collect"
"""The method of a collection."""

STATE = "zmqkit.state"
"""The method of a question for a state."""

ID_CHARS_MAX = 200
_METHOD_CHARS_MAX = 1000
_MS_MAX = 1 << 50
_BOTH = b"\x92"


def submission(method: str, id: str, left_s: float) -> list[object]:
    """Return the header of a submission. left_s: how long the request may wait to be begun."""
    return [method, id, max(1, min(int(left_s * 1000), _MS_MAX))]


def read_submission(headers: Mapping[str, object] | None) -> tuple[str, str, float]:
    """Return method, id and time left of a submission. Raise Malformed for anything else."""
    value = (headers or {}).get(SUBMIT)
    if type(value) is not list or [type(each) for each in value] != [str, str, int]:
        raise Malformed("submission")
    method, id, left_ms = value
    if not (0 < len(method) <= _METHOD_CHARS_MAX and 0 < len(id) <= ID_CHARS_MAX):
        raise Malformed("submission")
    if not 0 < left_ms <= _MS_MAX:
        raise Malformed("submission")
    return method, id, left_ms / 1000


def read_collection(arguments: Sequence[object]) -> str:
    """Return the id in the unread arguments of a collection. Raise Malformed otherwise."""
    row = arguments[0]
    if type(row) is not bytes or arguments[1] is not None:
        raise Malformed("collection")
    value = decode(_BOTH + row)
    args = cast("list[object]", value)[0]
    if type(args) is not list or len(args) != 1 or type(args[0]) is not str:
        raise Malformed("collection")
    return args[0]
