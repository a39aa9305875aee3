"""What a process tells of its roles' statistics, and whom."""

from __future__ import annotations

import pytest

from zmqkit.core.effects import Send
from zmqkit.core.membership.inquiry import Inquiry
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.core.membership.observed import Observed
from zmqkit.core.membership.statistics import Statistics
from zmqkit.model import Reach
from zmqkit.statistics_limits import STATISTICS_BYTES_MAX
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode
from zmqkit.wire.histogram import Histogram
from zmqkit.wire.packet import FIGURES, STATISTICS
from zmqkit.wire.statistics import BEHIND_ALL, Figures, Told, question, read_answer

ASKER, PROCESS = 0x1, 0x9
PEER = b"\0asker"


def observed(name: str, *rows: Figures, reach: Reach = Reach.LOCAL) -> Observed:
    """A role that tells these rows."""
    return Observed("service", name, 0xA, reach, lambda now: [Figures(), *rows])


@pytest.fixture
def process() -> MembershipCore:
    core = MembershipCore(PROCESS)
    core.statistics.about.pid, core.statistics.about.host = 4711, "kitchen"
    return core


def ask(process: MembershipCore, reach: Reach = Reach.LOCAL) -> Told:
    """What the process tells, page by page, over a connection of that reach."""
    inquiry = Inquiry(ASKER, 7)
    sends = [inquiry.begin(PEER)]
    while sends:
        [effect] = process.receive(PEER, sends[0].frames, 5.0, reach)
        assert isinstance(effect, Send) and len(effect.frames[0]) <= STATISTICS_BYTES_MAX + 34
        sends = inquiry.receive(PEER, effect.frames)
    process.check()
    return inquiry.told[PEER]


def test_each_role_has_a_row_and_one_of_each_part(process: MembershipCore) -> None:
    process.statistics.add(observed("orders", Figures(part="method", of="price", delivered=3)))
    process.statistics.add(observed("stock"))
    told = ask(process)
    assert (told.process, told.pid, told.host) == (PROCESS, 4711, "kitchen")
    assert told.at_ms == 5000
    assert [(row.name, row.of, row.delivered) for row in told.rows] == [
        ("orders", "", 0), ("orders", "price", 3), ("stock", "", 0),
    ]  # fmt: skip
    assert {row.incarnation for row in told.rows} == {0xA}


def test_a_role_is_told_of_until_it_is_closed(process: MembershipCore) -> None:
    role = observed("orders")
    process.statistics.add(role)
    process.statistics.add(observed("stock"))
    process.statistics.remove(role)
    process.statistics.remove(role)
    assert [row.name for row in ask(process).rows] == ["stock"]


def test_a_role_learns_of_each_look_before_it_tells(process: MembershipCore) -> None:
    looks: list[float] = []
    role = observed("weather")
    role.look = lambda now: [Figures(delivered=len(looks))]
    role.looked = looks.append
    process.statistics.add(role)
    assert [row.delivered for row in process.statistics.figures(4.0)] == [0]  # for ourselves
    assert [row.delivered for row in ask(process).rows] == [1]
    assert ask(process, Reach.PLAIN).rows == [] and looks == [5.0]


def test_other_machines_learn_of_roles_alone_that_are_to_be_told(
    process: MembershipCore,
) -> None:
    process.statistics.add(observed("mine"))
    nothing = ask(process, Reach.PLAIN)
    assert (nothing.rows, nothing.pid, nothing.host) == ([], 0, "")
    process.statistics.add(observed("ours", reach=Reach.PLAIN))
    told = ask(process, Reach.PLAIN)
    assert ([row.name for row in told.rows], told.pid) == (["ours"], 4711)
    assert [row.name for row in ask(process).rows] == ["mine", "ours"]


def test_a_ping_learns_of_the_process_where_its_statistics_are_told(
    process: MembershipCore,
) -> None:
    def pinged(reach: Reach) -> tuple[int, str]:
        [effect] = process.receive(PEER, question(ASKER, 7, BEHIND_ALL), 5.0, reach)
        assert isinstance(effect, Send)
        told = read_answer(wire.unpack(effect.frames))
        assert told.rows == []
        return told.pid, told.host

    process.statistics.add(observed("mine"))
    assert (pinged(Reach.LOCAL), pinged(Reach.PLAIN)) == ((4711, "kitchen"), (0, ""))
    process.statistics.add(observed("ours", reach=Reach.PLAIN))
    assert pinged(Reach.PLAIN) == (4711, "kitchen")


def test_many_rows_come_in_pages_of_bounded_size(process: MembershipCore) -> None:
    full = Histogram([(1 << 40) + 1] * len(Histogram().counts))
    parts = [
        Figures(part="method", of=f"{number:0200}", delivered=number, took=full)
        for number in range(60)
    ]
    for name in ("a", "b", "c"):
        process.statistics.add(observed(name, *parts))
    told = ask(process)
    assert [(row.name, row.delivered) for row in told.rows if row.part] == [
        (name, number) for name in ("a", "b", "c") for number in range(60)
    ]


def test_a_page_goes_on_where_the_last_one_ended_though_roles_have_closed() -> None:
    statistics = Statistics(PROCESS)
    roles = [observed(name) for name in ("a", "b", "c")]
    for role in roles:
        statistics.add(role)
    statistics.remove(roles[1])
    sent = statistics.answer(PEER, wire.unpack(question(1, 7, (2, 5))), 5.0, Reach.LOCAL)
    assert [row.name for row in read_answer(wire.unpack(sent.frames)).rows] == ["c"]


def test_another_question_is_counted_and_not_answered(process: MembershipCore) -> None:
    packet = wire.pack(STATISTICS, ASKER, 0, 0, encode("all"))
    assert process.receive(PEER, packet, 0.0) == []
    assert process.malformed == {"statistics": 1}


def test_whoever_is_told_unasked_does_not_listen(process: MembershipCore) -> None:
    packet = wire.pack(FIGURES, ASKER, 0, 0, encode([]))
    assert process.receive(PEER, packet, 0.0) == []
    assert process.malformed == {"unexpected": 1}
