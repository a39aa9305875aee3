"""What processes say of their roles."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.packets import read
from zmqkit.core.effects import Send
from zmqkit.core.membership import directory as directory_module
from zmqkit.core.membership.directory import Directory, Offers, hello, ping, read_directory
from zmqkit.model import Reach, Record
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode
from zmqkit.wire.packet import BYE, HELLO, PING, PONG, WELCOME, Packet

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


@pytest.fixture
def offers() -> Offers:
    offers = Offers(9)
    offers.control_ports |= {Reach.LOCAL: 5000, Reach.PLAIN: 5001}
    return offers


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
    assert directory.pick("service", "stock") == (0xB, "")


def test_a_url_without_a_name_means_the_only_role(directory: Directory) -> None:
    assert directory.pick("service", "")[1].endswith("orders, stock; name one behind the port")
    directory.roles = [ORDERS]
    assert directory.pick("service", "") == (0xA, "")


def test_a_url_that_means_none_says_which_there_are(directory: Directory) -> None:
    assert directory.pick("service", "price") == (
        0, "the process there has no single service 'price'; it has: orders, stock",
    )  # fmt: skip
    assert directory.pick("worker", "")[1].startswith("the process there has these: none")


def test_roles_are_reached_where_the_process_was(directory: Directory) -> None:
    [record, _] = directory.records("10.0.0.1")
    assert record == RECORD


def test_a_role_that_is_not_open_is_listed_at_home_only(offers: Offers) -> None:
    offers.add(RECORD, Reach.LOCAL)
    here, there = (
        read(offers.welcome(b"\0home", Reach.LOCAL)),
        read(offers.welcome(b"\1lan", Reach.PLAIN)),
    )
    assert here[1] == {"process": 9, "control": 5000, "revision": 1, "roles": [list(ORDERS)]}
    assert there[1] == {"process": 9, "control": 5001, "revision": 1, "roles": []}


def test_an_open_role_is_listed_everywhere(offers: Offers) -> None:
    offers.add(RECORD, Reach.PLAIN)
    fields = read(offers.welcome(b"\1lan", Reach.PLAIN))[1]
    assert isinstance(fields, dict) and fields["roles"] == [list(ORDERS)]


def test_whoever_we_asked_on_the_network_learns_no_more_than_others_there(
    offers: Offers,
) -> None:
    offers.add(RECORD, Reach.LOCAL)
    assert read(offers.welcome(b"nthem", Reach.PLAIN))[1] == {
        "process": 9, "control": 5001, "revision": 1, "roles": [],
    }  # fmt: skip


def test_each_change_has_a_revision_that_pongs_tell(offers: Offers) -> None:
    offers.add(RECORD, Reach.LOCAL)
    offers.remove(RECORD.incarnation)
    offers.remove(RECORD.incarnation)
    assert read(offers.pong(b"p", packet([7]), 0.0, Reach.LOCAL)) == (PONG, [7, 2])


def test_whoever_called_is_told_of_the_end_of_a_service(offers: Offers) -> None:
    offers.add(RECORD, Reach.PLAIN)
    offers.admit(b"\0home", packet({}), 0.0, Reach.LOCAL)
    offers.pong(b"\1lan", packet([7]), 0.0, Reach.PLAIN)
    told = offers.remove(RECORD.incarnation)
    assert [read(effect) for effect in told] == 2 * [(BYE, [RECORD.incarnation])]
    assert [effect.peer for effect in told if isinstance(effect, Send)] == [b"\0home", b"\1lan"]
    assert offers.remove(RECORD.incarnation) == []


def test_of_one_that_is_not_open_those_at_home_are_told(offers: Offers) -> None:
    offers.add(RECORD, Reach.LOCAL)
    offers.pong(b"\0home", packet([7]), 0.0, Reach.LOCAL)
    offers.pong(b"\1lan", packet([7]), 0.0, Reach.PLAIN)
    [told] = offers.remove(RECORD.incarnation)
    assert isinstance(told, Send) and told.peer == b"\0home"


def test_of_a_publisher_nobody_is_told_for_it_did_so_itself(offers: Offers) -> None:
    offers.add(replace(RECORD, role="publisher"), Reach.PLAIN)
    offers.pong(b"\0home", packet([7]), 0.0, Reach.LOCAL)
    assert offers.remove(RECORD.incarnation) == []


def test_those_who_called_last_are_told(
    offers: Offers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_module, "CALLERS_MAX", 2)
    for peer in (b"\0a", b"\0b", b"\0a", b"\0c"):
        offers.pong(peer, packet([7]), 0.0, Reach.LOCAL)
    assert list(offers.callers) == [b"\0a", b"\0c"]


@pytest.mark.parametrize("meta", [None, [], ["x"], [1, 2], {}])
def test_an_odd_ping_is_malformed(offers: Offers, meta: object) -> None:
    with pytest.raises(Malformed, match="ping"):
        offers.pong(b"p", packet(meta), 0.0, Reach.LOCAL)


def test_processes_ask_each_other() -> None:
    assert read(hello(1, b"n")) == (HELLO, {})
    assert read(ping(1, b"n", 7)) == (PING, [7])
