"""What processes say of their roles."""

from __future__ import annotations

import pytest

from tests.packets import read
from zmqkit.core.membership.directory import Directory, hello, ping, read_directory, read_pong
from zmqkit.model import Record
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode
from zmqkit.wire.packet import HELLO, PING, WELCOME, Packet

ORDERS, STOCK = ("orders", "service", 0xA, 6000), ("stock", "service", 0xB, 6001)
RECORD = Record("orders", "service", 0xA, 9, ("10.0.0.1",), 5000, 6000)
FIELDS: dict[str, object] = {
    "process": 9, "control": 5000, "revision": 1, "roles": [list(ORDERS)],
}  # fmt: skip


def packet(meta: object) -> Packet:
    """A packet with this content."""
    return wire.unpack(wire.pack(WELCOME, 9, 0, 0, encode(meta)))


@pytest.fixture
def directory() -> Directory:
    return Directory(9, 5000, 1, [ORDERS, STOCK])


def test_a_directory_is_what_was_sent() -> None:
    assert read_directory(packet(FIELDS)) == Directory(9, 5000, 1, [ORDERS])


@pytest.mark.parametrize(
    "changes",
    [
        {"process": "x"}, {"process": 0}, {"process": -1}, {"process": True},
        {"control": None}, {"control": 0}, {"control": 65536}, {"revision": 0.5},
        {"roles": None}, {"roles": [ORDERS] * 1001}, {"roles": [None]},
        {"roles": [["orders", "service", 0xA]]}, {"roles": [["orders", "service", -1, 6000]]},
        {"roles": [["orders", "service", 0, 6000]]}, {"roles": [["orders", "service", 1, 0]]},
        {"roles": [["orders", "service", 1, 65536]]}, {"roles": [["or/ders", "service", 1, 1]]},
        {"roles": [["", "service", 1, 1]]}, {"roles": [["\x1b[2J", "service", 1, 1]]},
        {"roles": [["x" * 55, "service", 1, 1]]}, {"roles": [["orders", "", 1, 1]]},
        {"roles": [["orders", "ser vice", 1, 1]]}, {"roles": [["orders", "s" * 33, 1, 1]]},
    ],
)  # fmt: skip
def test_a_directory_that_could_harm_is_malformed(changes: dict[str, object]) -> None:
    with pytest.raises(Malformed, match="directory"):
        read_directory(packet(FIELDS | changes))


def test_what_is_not_a_map_is_no_directory() -> None:
    with pytest.raises(Malformed, match="fields"):
        read_directory(packet([1]))


def test_a_url_means_the_role_of_its_name(directory: Directory) -> None:
    assert directory.pick("service", "stock", 5000) == (0xB, "")


def test_a_url_without_a_name_means_the_only_role(directory: Directory) -> None:
    assert directory.pick("service", "", 5000)[1].endswith(
        "orders, stock; name one behind the port"
    )
    directory.roles = [ORDERS]
    assert directory.pick("service", "", 5000) == (0xA, "")


def test_a_url_means_the_role_that_listens_there(directory: Directory) -> None:
    directory.roles = [ORDERS, ("orders", "service", 0xB, 6001)]
    assert directory.pick("service", "orders", 5000)[0] == 0
    assert directory.pick("service", "orders", 6001) == (0xB, "")
    assert directory.pick("service", "", 6001, before=0xA) == (0xB, "")
    assert directory.pick("service", "", 5000, before=0xA) == (0xA, "")


def test_a_url_that_means_none_says_which_there_are(directory: Directory) -> None:
    assert directory.pick("service", "price", 5000) == (
        0, "the process there has no single service 'price'; it has: orders, stock",
    )  # fmt: skip
    assert directory.pick("worker", "", 5000)[1].startswith("the process there has these: none")


def test_roles_are_reached_where_the_process_was(directory: Directory) -> None:
    [record, _] = directory.records("10.0.0.1")
    assert record == RECORD


def test_processes_ask_each_other() -> None:
    assert read(hello(1, b"n")) == (HELLO, {})
    assert read(ping(1, b"n", 7)) == (PING, [7])


@pytest.mark.parametrize(
    "meta", [None, [1], [1, 2, 3], ["1", 2], [1, "2"], [1, None], [1, True]]
)
def test_a_pong_is_two_numbers(meta: object) -> None:
    assert read_pong(packet([1, 2])) == (1, 2)
    with pytest.raises(Malformed, match="pong"):
        read_pong(packet(meta))
