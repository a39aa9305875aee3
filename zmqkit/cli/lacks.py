"""Tell at the end of a subscription what it still lacks of what publishers keep."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import zmqkit
from zmqkit.cli.output import say_json, several, tell

SHOWN_MAX = 5
"""How many topics are told on standard error."""


@contextmanager
def telling_lacks(
    subscriber: zmqkit.Subscriber, *, as_json: bool, count: int | None
) -> Iterator[None]:
    """Tell what is lacking if the context is left before its time.

    That is by an interrupt, by a timeout, or, where no `count` of messages was wanted, at all.
    as_json: whether to print it, too, an object for each topic.
    """
    try:
        yield
    except (KeyboardInterrupt, zmqkit.CallTimeout):
        _tell(subscriber, as_json=as_json)
        raise
    if count is None:
        _tell(subscriber, as_json=as_json)


def _tell(subscriber: zmqkit.Subscriber, *, as_json: bool) -> None:
    rows = subscriber.lacking()
    for row in rows[:SHOWN_MAX]:
        if row["topic"] is None:
            tell(f"lacking: {row['publisher']} has not said yet what it keeps")
        else:
            number = several(row["messages"], "message")
            tell(f"lacking: {number} of {row['topic']} from {row['publisher']}")
    if len(rows) > SHOWN_MAX:
        tell(f"lacking: messages of {several(len(rows) - SHOWN_MAX, 'more topic')}")
    if as_json:
        for row in rows:
            about = {key: value for key, value in row.items() if key != "messages"}
            say_json({"lacking": row["messages"], **about})
