"""`zmqkit bench`: which options go together, and what it says; a short run of each kind."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from zmqkit.bench.measured import Load, Measured
from zmqkit.cli.bench import Asked, as_object, command, lines, ratios

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
Serve = Callable[..., Any]


def measured(rate: int, duration_s: float = 0.001, **changes: Any) -> Measured:
    """A run of a second at this rate."""
    made = Measured(took_s=1.0, **changes)
    for _ in range(rate):
        made.record(duration_s)
    return made


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "give a NAME, or --pair"),
        (["orders", "--pair", "call"], "give a NAME, or --pair"),
        (["orders", "--raw"], "beside a --pair"),
        (["tcp://127.0.0.1:5555"], "--as says"),
        (["orders", "--as", "service"], "--method says which"),
        (["orders", "--as", "queue"], "add --yes if they may"),
        (["orders", "--as", "publisher", "--rate", "5"], "chooses its rate"),
        (["orders", "--as", "service", "tea"], "--method says which"),
        (
            ["orders", "--as", "service", "--method", "m", "tea", "--bytes", "9"],
            "leave one out",
        ),
        (["orders", "--as", "service", "--method", "m", "--bogus"], "No such option"),
        (["orders", "--as", "queue", "--yes", "tea"], "a service's --method"),
        (["--pair", "call", "--alone", "--in-flight", "5"], "closed loop"),
        (["--pair", "publish", "--alone"], "nobody answers"),
        (["--pair", "publish", "--rate", "5", "--bytes", "3"], "8 bytes"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: list[str], why: str) -> None:
    refused = CliRunner().invoke(command, arguments)
    assert refused.exit_code == 2 and why in refused.output


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    results = {
        "zmqkit": [measured(10), measured(30), measured(40)],
        "raw pyzmq": [measured(10), measured(10), measured(20)],
    }
    assert ratios(results) == {"rate": 2.0, "p50": 1.0}
    assert ratios({"zmqkit": [measured(1)]}) == {}


def test_the_text_says_rates_percentiles_and_what_failed() -> None:
    asked = Asked("call orders", Load("call", bytes(100), 1.0, in_flight=5), {}, 2)
    failing = measured(20)
    failing.failed["Busy"] = 3
    head, row, note = lines(asked, {"zmqkit": [measured(10), failing]})
    assert head == "call orders, 5 in flight, 100 bytes, 2 x 1 s"
    assert row.split()[:4] == ["zmqkit", "15", "calls/s", "p50"] and row.endswith("max 1 ms")
    assert note == "  zmqkit: beside these 30 calls: 3 Busy"


def test_an_object_says_all_of_each_round() -> None:
    asked = Asked("publish x", Load("publish", b"", 1.0), {}, 1)
    told = as_object(asked, {"zmqkit": [Measured(count=4, took_s=2.0, missing=1)]})
    assert told["in_flight"] is None and told["ratio"] == {}
    assert told["zmqkit"] == {
        "count": 4, "took_s": 2.0, "rate": 2.0, "failed": {}, "missing": 1,
        "rounds": [{"count": 4, "took_s": 2.0, "rate": 2.0, "failed": {}, "missing": 1}],
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ["call", "--raw"], ["call", "--alone", "--raw"], ["call", "--rate", "100", "--raw"],
        ["publish", "--raw"], ["publish", "--rate", "100", "--raw"], ["push"],
        ["push", "--alone", "--rate", "50"],
    ],
)  # fmt: skip
def test_a_pair_is_measured(options: list[str], run: Run) -> None:
    done = run("bench", "--pair", *options, "--seconds", "0.1", "--rounds", "1", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    for side in ["zmqkit", *(["raw pyzmq"] if "--raw" in options else [])]:
        assert told[side]["count"] > 0 and told[side]["failed"] == {}


@pytest.mark.slow
def test_a_method_that_does_not_take_the_bytes_is_called_otherwise(
    serve: Serve, run: Run
) -> None:
    shop = serve("shop").name
    done = run("bench", shop, "--method", "sign", "--seconds", "0.1")
    assert done.returncode == 1
    assert b"; it was called with 100 bytes; its own arguments go last" in done.stderr
    done = run("bench", shop, "--method", "sign", "tea", "--seconds", "0.1")
    assert done.returncode == 1
    assert b"; it was called with tea;" in done.stderr and b"go last" not in done.stderr


@pytest.mark.slow
def test_a_service_is_measured_by_its_name(serve: Serve, run: Run) -> None:
    name = serve("shop").name
    done = run("bench", name, "--method", "nobody", "--seconds", "0.1")
    assert done.returncode == 1 and b"no method" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("argument", ["-2", "number=-2"])
def test_a_method_is_called_with_arguments(argument: str, serve: Serve, run: Run) -> None:
    name = serve("shop").name
    done = run("bench", name, "--method", "sign", argument, "--seconds", "0.1", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["zmqkit"]["count"] > 0 and told["zmqkit"]["failed"] == {}
    assert (told["arguments"], told["bytes"]) == ([argument], None)


def test_the_text_says_with_what_a_method_is_called() -> None:
    load = Load("call", b"", 1.0, alone=True)
    asked = Asked("call orders", load, {}, 1, ("green tea", "quantity=2"))
    assert lines(asked, {"zmqkit": [measured(1)]})[0] == (
        "call orders, one at a time, 'green tea' quantity=2, 1 x 1 s"
    )
