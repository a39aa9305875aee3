"""Reading the statistics of processes: nodes in one process, which find each other by hand."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.node.offering import Start, offer
from tests.roles.kit import until
from zmqkit.core.effects import Tell
from zmqkit.core.membership.interests import EVERYBODY
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.core.membership.neighbour import Life
from zmqkit.core.membership.observed import Observed
from zmqkit.model import Reach, Record
from zmqkit.node.node import Node
from zmqkit.node.statistics import Reader, Row, places, rows_of, targets
from zmqkit.wire.histogram import Histogram
from zmqkit.wire.statistics import Figures, Told

BOUND_S = 20.0


def read(node: Node, count: int, name: str | None = None) -> list[Row]:
    """Look for everybody, and read until there are so many rows."""

    def hear(tell: Tell) -> None:
        pass

    node.want(EVERYBODY, hear, role="", reach=Reach.LOCAL)
    with Reader(node) as reader:
        for _ in range(10_000):
            rows = reader.read(name, timeout_s=BOUND_S)
            assert not reader.silent
            if len(rows) == count:
                return rows
    raise AssertionError(rows)


def hear_of(node: Node, *names: str) -> None:
    """Wait until discovery knows these names here."""
    until(
        lambda: node.ask(
            lambda: {*names} <= {each.record.name for each in node.core.roles.values()}
        )
    )


@contextmanager
def held(*nodes: Node) -> Iterator[None]:
    """While entered, these nodes do nothing, and so answer nobody."""
    over = threading.Event()
    with ThreadPoolExecutor() as pool:
        for node in nodes:
            begun = threading.Event()
            pool.submit(node.ask, lambda begun=begun: begun.set() or over.wait())  # type: ignore[misc]  # a lambda with a default
            begun.wait()
        try:
            yield
        finally:
            over.set()


def test_each_process_that_is_found_is_asked(start: Start) -> None:
    first = start()
    second = start(first)
    offer(first, "orders")
    offer(second, "stock", 0xB)
    rows = read(start(first, second), 4)
    assert {(row.name, row.of, row.process) for row in rows} == {
        ("orders", "", f"{first.process:016x}"), ("orders", "price", f"{first.process:016x}"),
        ("stock", "", f"{second.process:016x}"), ("stock", "price", f"{second.process:016x}"),
    }  # fmt: skip
    assert {row.incarnation for row in rows if row.name == "stock"} == {f"{0xB:016x}"}


def test_a_process_that_only_looks_for_others_is_asked_too(start: Start) -> None:
    node = start()
    node.observe(Observed("client", "orders", 0xC, Reach.LOCAL, lambda now: [Figures()]))
    [row] = read(start(), 1)
    assert (row.role, row.process) == ("client", f"{node.process:016x}")


def test_where_there_is_no_folder_those_that_are_announced_are_asked(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "nowhere"))
    first, silent = start(), start()
    offer(first, "orders")
    silent.observe(Observed("client", "orders", 0xC, Reach.LOCAL, lambda now: [Figures()]))
    assert {row.role for row in read(start(first), 2)} == {"service"}


def test_the_rows_of_a_name_are_returned_alone(start: Start) -> None:
    first = start()
    offer(first, "orders")
    offer(first, "stock", 0xB)
    assert {row.name for row in read(start(first), 2, "stock")} == {"stock"}


def test_only_those_that_have_the_name_are_said_not_to_answer(start: Start) -> None:
    first, second = start(), start()
    offer(first, "orders")
    offer(second, "stock", 0xB)
    node = start(first, second)
    read(node, 4)
    hear_of(node, "orders", "stock")
    at = f"tcp://127.0.0.1:{first.open_control(Reach.LOCAL)}"
    with Reader(node) as reader:
        with held(first, second):
            assert reader.read("orders", timeout_s=0.0) == [] and reader.silent == [at]
            reader.read("stocks", timeout_s=0.0)
            assert reader.silent == []
            reader.read(timeout_s=0.0)
            assert len(reader.silent) == 2
        assert reader.read("orders", timeout_s=BOUND_S) and reader.silent == []
        with held(first, second):
            reader.read("orders", timeout_s=0.0)
            assert reader.silent == [f"pid {os.getpid()}"]


def test_who_matters_to_a_name_has_it_or_is_its_peer_or_may_be_one(start: Start) -> None:
    first, second, client = start(), start(), start()
    offer(first, "orders")
    offer(second, "stock", 0xB)
    client.observe(Observed("client", "x", 0xC, Reach.LOCAL, lambda now: [Figures()]))
    node = start(first, second)
    read(node, 5)
    hear_of(node, "orders", "stock")
    at = [each.open_control(Reach.LOCAL) for each in (first, second, client)]
    with held(first, second, client), Reader(node) as reader:
        reader.read(timeout_s=0.0)
        orders, stock, unknown = (f"tcp://127.0.0.1:{port}" for port in at)
        talks_to = {f"{second.process:016x}"}

        def silent(processes: set[str], *, has_strangers: bool) -> set[str]:
            return set(reader.silent_about("orders", processes, has_strangers=has_strangers))

        assert silent(set(), has_strangers=False) == {orders}
        assert silent(talks_to, has_strangers=False) == {orders, stock}
        assert silent(set(), has_strangers=True) == {orders, unknown}


def test_one_that_ended_while_it_was_asked_is_not_said_to_be_silent(start: Start) -> None:
    first = start()
    offer(first, "orders")
    node = start(first)
    read(node, 2)
    living = targets(node, Reach.LOCAL)
    ended = {b"00000000000000ff": "tcp://127.0.0.1:1"}
    with Reader(node) as reader:
        assert reader.unheard(ended | living, None) == [*living.values()]


def test_a_process_with_roles_reads_itself(start: Start) -> None:
    node = start()
    offer(node, "orders")
    assert {row.process for row in read(node, 2)} == {f"{node.process:016x}"}


def test_processes_beyond_the_connections_have_their_turn(start: Start) -> None:
    peers = [start() for _ in range(3)]
    for number, peer in enumerate(peers, 1):
        offer(peer, f"name-{number}", number)
    rows = read(start(*peers, connections_max=1), 6)
    assert len({row.process for row in rows}) == 3


def test_a_process_that_is_gone_is_not_asked() -> None:
    core = MembershipCore(1)
    core.heard(
        Record("a", "service", 0xA, 7, ("127.0.0.1",), 5001, 5002), "mdns:loopback", 10.0
    )
    core.want(EVERYBODY, 11.0, Reach.LOCAL)
    assert dict(places(core, Reach.LOCAL)) == {7: "tcp://127.0.0.1:5001"}
    while core.neighbours[7].life is not Life.GONE:
        core.tick(core.deadline())
    assert dict(places(core, Reach.LOCAL)) == {}


def told(at_ms: int, process: int = 9, **rows: Figures) -> Told:
    return Told(7, process, 4711, "kitchen", at_ms, 0, [*rows.values()])


def took(*durations_s: float) -> Histogram:
    histogram = Histogram()
    for each in durations_s:
        histogram.record(each)
    return histogram


def test_rates_are_those_since_the_reading_before() -> None:
    before = told(1000, a=Figures(of="a", part="method", delivered=10, dropped={"full": 1}))
    now = told(1500, a=Figures(of="a", part="method", delivered=20, dropped={"full": 3}))
    [row] = rows_of(now, before)
    assert (row.rates["delivered"], row.rates["dropped"], row.rates["failed"]) == (20, 4, 0)
    [first] = rows_of(before)
    assert first.rates == {}


def test_another_process_or_a_new_row_has_no_rates() -> None:
    before = told(1000, a=Figures(of="a", part="method", delivered=10))
    another = told(1500, 10, a=Figures(of="a", part="method", delivered=20))
    assert [row.rates for row in rows_of(another, before)] == [{}]
    newer = told(1500, b=Figures(of="b", part="method", delivered=20))
    assert [row.rates for row in rows_of(newer, before)] == [{}]


def test_a_counter_that_began_anew_has_no_negative_rate() -> None:
    before = told(1000, a=Figures(delivered=10))
    [row] = rows_of(told(2000, a=Figures(delivered=1)), before)
    assert row.rates["delivered"] == 0


def test_percentiles_are_recent_unless_nothing_happened() -> None:
    slow = took(1.0, 1.0, 1.0)
    later = slow.copy()
    later.record(0.001)
    before = told(1000, a=Figures(took=slow))
    [row] = rows_of(told(2000, a=Figures(took=later)), before)
    assert row.p50_s == pytest.approx(0.001, rel=0.06)
    assert row.took is not None and row.took.count == 4
    [quiet] = rows_of(told(2000, a=Figures(took=slow)), before)
    assert quiet.p99_s == pytest.approx(1.0, rel=0.06)
    [empty] = rows_of(told(2000, a=Figures()))
    assert empty.p50_s is None
