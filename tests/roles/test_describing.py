"""A service tells of its methods, whatever they are and whoever asks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest

import zmqkit
from tests.roles.kit import BOUND_S, Kit
from zmqkit.roles.describing import METHODS

pytestmark = pytest.mark.usefixtures("node")


def price(item: str, quantity: int = 1, *, currency: str = "EUR") -> float:
    """Return what so many of an item cost.

    Prices are net.
    """
    return 2.5 * quantity


def watch(*items: str) -> Iterator[float]:
    yield 2.5


class Odd:
    """A handler that is an object, has a default that cannot be shown, and no docstring."""

    def __repr__(self) -> str:
        raise RuntimeError("nobody may look")

    def __call__(self, item: object = None) -> None:
        return None


def looks(item: object = Odd()) -> None:
    """Have a default that nobody can look at."""


def rows_of(client: Any) -> dict[str, dict[str, object]]:
    return {row.pop("name"): row for row in client.call(METHODS)}


def test_each_method_is_told_of(kit: Kit) -> None:
    service = kit.service()
    service.handler(price, idempotent=True)
    service.handler(watch)
    client = kit.client(kit.serve(service).endpoint)
    assert rows_of(client) == {
        "price": {
            "signature": "(item: str, quantity: int = 1, *, currency: str = 'EUR') -> float",
            "doc": "Return what so many of an item cost.", "streams": False, "idempotent": True,
        },
        "watch": {
            "signature": "(*items: str) -> Iterator[float]",
            "doc": "", "streams": True, "idempotent": False,
        },
    }  # fmt: skip


def test_what_cannot_be_read_is_left_empty(blocking: Kit) -> None:
    service = blocking.service()
    service.handler(Odd(), name="odd")
    service.handler(looks)
    rows = rows_of(blocking.client(blocking.serve(service).endpoint))
    assert (rows["odd"]["signature"], rows["odd"]["doc"]) == (
        "(item: object = None) -> None",
        "",
    )
    assert rows["looks"]["signature"] == ""
    assert rows["looks"]["doc"] == "Have a default that nobody can look at."


def test_what_is_long_is_shortened(blocking: Kit) -> None:
    def long(value: str = "x" * 1000) -> None: ...

    row = rows_of(blocking.client(blocking.serving(long).endpoint))["long"]
    assert len(str(row["signature"])) == 201 and str(row["signature"]).endswith("…")


def test_an_error_names_the_methods_of_the_program_alone(blocking: Kit) -> None:
    client = blocking.client(blocking.serving(price).endpoint)
    with pytest.raises(zmqkit.NoMethod, match=r"there are price$"):
        client.call("cost")


@pytest.mark.slow
@pytest.mark.parametrize("device", ["router", "majordomo", "majordomo-durable"])
def test_devices_pass_the_question_on(device: str, blocking: Kit, tmp_path: Path) -> None:
    """In processes of their own, as people run them."""
    place = ["--set", f"journal.path={tmp_path / 'kept'}"] if device.endswith("durable") else []
    program = [
        sys.executable, "-m", "zmqkit", "run", device, "--until-eof", "--name",
        f"{blocking.name}-m", *place,
    ]  # fmt: skip
    if device == "router":
        program += ["--set", f'backend.names=["{blocking.name}"]']
    with Popen(program, stdin=PIPE, stdout=PIPE, text=True) as running:
        assert running.stdout is not None
        address = running.stdout.readline().split(" at ")[1].split(",")[0]
        blocking.serving(price, via=address)
        client = blocking.client(f"{address}/{blocking.name}", timeout_s=BOUND_S)
        assert list(rows_of(client)) == ["price"]
        blocking.close()
        blocking.roles.clear()
