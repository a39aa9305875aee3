"""`zmqkit graph`: who talks to whom, out of rows."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.cli.conftest import Begin, Run
from tests.cli.test_stats import row
from zmqkit.cli import main
from zmqkit.cli.graph import Graph
from zmqkit.model import Record
from zmqkit.node.statistics import Row


def role(kind: str, number: str, *talks_to: str, rate: float | None = 1.0, **more: Any) -> Row:
    rates = {} if rate is None else {"delivered": rate}
    options = {"pid": int(number, 16), "process": f"p{number}", "part": ""} | more
    return row(
        role=kind, incarnation=number, talks_to=[*talks_to], rates=rates, known_as=[], **options
    )


def test_a_role_that_sends_stands_above_those_it_sends_to() -> None:
    rows = [
        role("service", "2", "1", rate=40.0), role("client", "1", "2", "3", rate=100.0),
        role("service", "3", "1", rate=60.0),
    ]  # fmt: skip
    assert Graph(rows).lines() == [
        "client orders, pid 1, 100.0/s",
        "    -> service orders, pid 2, 40.0/s",
        "    -> service orders, pid 3, 60.0/s",
    ]


def test_one_side_that_tells_will_do() -> None:
    lines = ["publisher orders, pid 1, 1.0/s", "    -> subscriber orders, pid 2, 1.0/s"]
    assert Graph([role("publisher", "1", "2"), role("subscriber", "2")]).lines() == lines
    assert Graph([role("publisher", "1"), role("subscriber", "2", "1")]).lines() == lines


def test_a_rate_is_that_of_the_end_that_has_no_other_peer() -> None:
    rows = [
        role("publisher", "1", "5", rate=10.0), role("publisher", "2", "5", rate=20.0),
        role("forwarder", "5", rate=30.0), role("subscriber", "8", "5", rate=7.0),
        role("subscriber", "9", "5", rate=30.0),
    ]  # fmt: skip
    edges = Graph(rows).edges
    assert {(s[1], t[1]): rate for (s, t), rate in edges.items()} == {
        ("1", "5"): 10.0, ("2", "5"): 20.0, ("5", "8"): 7.0, ("5", "9"): 30.0,
    }  # fmt: skip


def test_between_ends_with_several_peers_each_no_rate_is_known() -> None:
    rows = [role("client", "1", "8", "9"), role("client", "2", "8", "9")]
    graph = Graph([*rows, role("service", "8"), role("service", "9")])
    assert set(graph.edges.values()) == {None}
    assert graph.lines()[1] == "    -> service orders, pid 8"


def test_a_device_is_known_by_the_numbers_of_its_services() -> None:
    part = role("router", "5", part="service", of="orders")
    part.known_as = ["a", "b"]
    rows = [
        role("client", "1", "a"), role("router", "5", "1"), part, role("service", "9", "b"),
    ]  # fmt: skip
    assert [(s[2], t[2]) for s, t in Graph(rows).edges] == [
        ("client", "router"), ("router", "service"),
    ]  # fmt: skip


def test_a_peer_that_tells_nothing_has_the_name_that_discovery_knows() -> None:
    record = Record("stock", "service", 0xF, 0xB1, (), 1, 1)
    graph = Graph([role("client", "1", "f", "e", rate=None)], {"f": record})
    assert graph.lines() == [
        "client orders, pid 1", "    -> service stock", "    1 peer that did not tell",
    ]  # fmt: skip


def test_who_talks_to_nobody_is_there_too() -> None:
    assert Graph([role("service", "1")]).lines() == ["service orders, pid 1, 1.0/s"]


def test_hosts_are_told_where_there_are_several() -> None:
    rows = [role("client", "1", "2", host="attic"), role("service", "2", host="cellar")]
    assert "service orders, cellar, pid 2" in Graph(rows).lines()[1]


def test_a_name_has_its_roles_and_their_peers() -> None:
    rows = [
        role("client", "1", "2"), role("service", "2"), role("client", "3", "2", name="stock"),
        role("client", "4", "5", name="stock"), role("service", "5", name="stock"),
    ]  # fmt: skip
    graph = Graph(rows)
    graph.keep("orders")
    assert {place[1] for place in graph.roles} == {"1", "2", "3"}
    graph.keep("nobody")
    assert (graph.roles, graph.edges) == ({}, {})


def test_a_graph_for_graphviz_has_no_text_that_ends_a_label() -> None:
    name = 'a"]; x -> y; // \\n\n\\'
    lines = Graph([role("client", "1", "2", name=name), role("service", "2", name=name)]).dot()
    quoted = r'"(?:[^"\\]|\\["\\n])*"'
    patterns = [
        r"digraph zmqkit \{", "    rankdir=LR;", r"    node \[shape=box\];",
        rf"    n0 \[label={quoted}\];", rf"    n1 \[label={quoted}\];",
        rf"    n0 -> n1 \[label={quoted}\];", r"\}",
    ]  # fmt: skip
    assert len(lines) == len(patterns)
    assert all(re.fullmatch(p, line) for p, line in zip(patterns, lines, strict=True))


def test_a_graph_is_an_object_of_json() -> None:
    told = Graph([role("client", "1", "2"), role("service", "2", rate=None)]).as_object()
    assert json.loads(json.dumps(told)) == told
    assert told["edges"] == [{"from": 0, "to": 1, "rate": 1.0}]


@pytest.mark.slow
def test_who_listens_is_there_and_who_is_not_there_is_an_error(
    begin: Begin, run: Run, name: str
) -> None:
    begin("sub", name)
    for _ in range(20):  # until it has begun
        done = run("graph", name, "--wait", "0.2")
        if done.returncode == 0:
            break
    assert done.stdout.decode().startswith(f"subscriber {name}, pid ")
    done = run("graph", f"{name}x", "--wait", "0.2")
    assert (done.returncode, done.stdout) == (1, b"")


def test_it_is_printed_in_one_way(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["graph", "--dot", "--json"]) == main.USAGE
    assert "use one" in capsys.readouterr().err
