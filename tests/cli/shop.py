"""What the tests of the command line serve: every kind of function and of value."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from os import getpid  # an import is not served
from typing import Any

import zmqkit


class Catalogue:
    """An object that is served by its methods."""

    def __init__(self) -> None:
        self.sold = 0

    def sell(self, number: int = 1) -> int:
        self.sold += number
        return self.sold

    @property
    def untouched(self) -> int:
        raise RuntimeError("a property was looked at")


catalogue = Catalogue()


def echo(*args: object, **kwargs: object) -> list[object]:
    return [list(args), kwargs]


def text() -> str:
    return "plain\ntext"


def raw() -> bytes:
    return b"\x00\xff\n"


def mixed() -> dict[object, object]:
    return {"at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), 3: [b"\xff", None], b"k": "ä"}


def headers() -> dict[str, object]:
    return zmqkit.current_request().headers


def priority() -> int:
    return zmqkit.current_request().priority


def fail(message: str) -> None:
    raise ValueError(f"{message}, said process {getpid()}")


def sign(number: float) -> int:
    if math.isnan(number):
        raise ValueError("NaN has no sign")
    return 1 if number > 0 else -1


def hold() -> str:
    """Say so and go on when a line comes in."""
    print("holding", flush=True)
    return sys.stdin.readline().strip()


def many(number: int = 3) -> Iterator[object]:
    for each in range(number):
        yield [each, "tea"]
    yield "the end"


def forever() -> Iterator[int]:
    yield from range(10**9)


def _private() -> Any:
    return None
