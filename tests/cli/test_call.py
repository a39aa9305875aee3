"""`zmqkit call` against a service in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from math import inf, isnan
from typing import Any

import pytest

from tests.cli.conftest import Serving
from zmqkit.cli.call import parse
from zmqkit.device.router import Router

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
Begin = Callable[..., "subprocess.Popen[bytes]"]

MIXED = '{"at": "2026-01-02T03:04:05+00:00", "3": ["/w==", null], "aw==": "ä"}'


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("1e3", 1000.0),
        ("true", True),
        ("null", None),
        ('"5"', "5"),
        ('[1, {"a": 2}]', [1, {"a": 2}]),
        ("tea", "tea"),
        ("True", "True"),
        ("Infinity", inf),
        ("-Infinity", -inf),
        ('["Infinity", Infinity]', ["Infinity", inf]),
        ("nan", "nan"),
        ("", ""),
        ("05", "05"),
        ("[" * 10_000, "[" * 10_000),
    ],
)
def test_what_is_json_means_it_and_the_rest_is_text(text: str, value: object) -> None:
    assert parse(text) == value
    assert type(parse(text)) is type(value)


def test_not_a_number_is_one_to_call_with() -> None:
    value = parse("NaN")
    assert isinstance(value, float) and isnan(value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "stdin", "args", "kwargs"),
    [
        (["5", "tea", '"5"', '["a"]'], b"", [5, "tea", "5", ["a"]], {}),
        (["a=b", "n=1", '"a=b"', "1=2"], b"", ["a=b", "1=2"], {"a": "b", "n": 1}),
        (["x=y=z", "x2=-"], b"", [], {"x": "y=z", "x2": "-"}),
        (["-5", "-0.5", "--", "--json", "-x"], b"", [-5, -0.5, "--json", "-x"], {}),
        (["-Infinity", "x=NaN"], b"", ["-Infinity"], {"x": "NaN"}),
        (["-"], b"two\nlines\n", ["two\nlines"], {}),
        (["1", "-", "k=2"], b'{"a": 1}\r\n', [1, {"a": 1}], {"k": 2}),
        (["-"], b"", [""], {}),
    ],
    ids=[
        "values", "keywords", "signs", "dashes", "constants", "stdin-text", "stdin-json",
        "stdin-empty",
    ],
)  # fmt: skip
def test_arguments_arrive_as_they_are_meant(
    arguments: list[str],
    stdin: bytes,
    args: list[object],
    kwargs: dict[str, object],
    shop: str,
    run: Run,
) -> None:
    done = run("call", shop, "echo", *arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [args, kwargs]


@pytest.mark.slow
def test_each_line_of_stdin_makes_a_call(shop: str, run: Run) -> None:
    done = run("call", shop, "echo", "--lines", "x", "k=1", stdin=b"1\ntea\n\n-")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        [["x", 1], {"k": 1}],
        [["x", "tea"], {"k": 1}],
        [["x", ""], {"k": 1}],
        [["x", "-"], {"k": 1}],
    ]


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_the_first_line_that_fails_is_named_and_the_last(
    options: list[str], shop: str, run: Run
) -> None:
    done = run("call", shop, "sign", "--lines", *options, stdin=b"2\n-3\nNaN\n4\n")
    assert done.returncode == 1
    assert done.stdout == b"1\n-1\n"
    assert done.stderr.startswith(b"error: line 3: ValueError: NaN has no sign")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "options", "written"),
    [
        ("text", [], b"plain\ntext\n"),
        ("text", ["--json"], b'"plain\\ntext"\n'),
        ("raw", [], b"\x00\xff\n"),
        ("raw", ["--json"], b'"AP8K"\n'),
        ("mixed", [], f"{MIXED}\n".encode()),
        ("headers", ["--header", "user=ada", "--header", "n=1"], b'{"user": "ada", "n": 1}\n'),
        ("priority", ["--priority", "9"], b"9\n"),
        ("many", [], b'[0, "tea"]\n[1, "tea"]\n[2, "tea"]\nthe end\n'),
        ("many", ["1", "--json"], b'[0, "tea"]\n"the end"\n'),
    ],
)  # fmt: skip
def test_values_are_written_for_pipes(
    method: str, options: list[str], written: bytes, shop: str, run: Run
) -> None:
    done = run("call", shop, method, *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout == written
    assert done.stderr == b""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["fail", "too bad"], 1, b"ValueError: too bad"),
        (["bogus"], 1, b"no method 'bogus'"),
        (["getpid"], 1, b"no method 'getpid'"),
        (["fail"], 1, b"'fail' takes (message): missing a required argument: 'message'"),
        (["hold", "--timeout", "2"], 124, b"in time; give it longer with --timeout\n"),
        (["echo", "9" * 30], 2, b"cannot travel"),
    ],
    ids=["raised", "no-method", "an-import", "arguments", "timeout", "cannot-travel"],
)
def test_what_goes_wrong_is_one_line_and_a_code(
    arguments: list[str], code: int, said: bytes, run: Run, serve: Callable[..., Any]
) -> None:
    serving = serve("shop")
    done = run("call", serving.name, *arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert done.stderr.startswith(b"error: ") and done.stderr.count(b"\n") == 1
    assert done.stdout == b""


@pytest.mark.slow
def test_values_of_a_stream_are_printed_as_they_come(shop: str, begin: Begin) -> None:
    process = begin("call", shop, "forever")
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(3)] == [b"0\n", b"1\n", b"2\n"]
    process.send_signal(signal.SIGINT)
    process.stdout.read()
    assert process.wait(10) == 130


@pytest.mark.slow
def test_v_shows_the_remote_traceback(shop: str, run: Run) -> None:
    done = run("call", "-v", shop, "fail", "too bad")
    assert b"Traceback" in done.stderr and b"shop.py" in done.stderr


@pytest.mark.slow
def test_errors_from_there_do_not_steer_a_terminal(shop: str, run: Run) -> None:
    done = run("call", "-v", shop, "fail", "\x1b[2J\x9b\u202e")
    assert done.returncode == 1
    shown = "ValueError: \\x1b[2J\\x9b\\u202e"
    assert done.stderr.decode().count(shown) == 2  # the error, and the end of its traceback
    assert b"\x1b" not in done.stderr


@pytest.mark.slow
def test_nobody_there_is_1_after_the_wait(name: str, run: Run) -> None:
    done = run("call", f"{name}-nobody", "x", "--wait", "0.1")
    assert done.returncode == 1
    assert b"nobody serves" in done.stderr
    assert b"searched on this machine only, the network was not searched" in done.stderr
    assert b"--insecure or ZMQKIT_INSECURE=1 on both sides" in done.stderr


@pytest.mark.slow
def test_a_publisher_of_that_name_is_pointed_out(name: str, run: Run, begin: Begin) -> None:
    topic = f"{name}-news"
    begin("pub", topic, "t", "x", "--hz", "10", "--ready", "0")
    assert run("sub", topic, "--count", "1").returncode == 0
    done = run("call", topic, "x", "--wait", "5")
    assert done.returncode == 1
    said = f"a publisher is called {topic!r}: use zmqkit.Subscriber or `zmqkit sub`"
    assert said in done.stderr.decode()


@pytest.mark.slow
def test_a_notification_is_acknowledged_and_prints_nothing(shop: str, run: Run) -> None:
    done = run("call", shop, "echo", "1", "--notify")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.slow
def test_a_notification_that_fails_is_1(shop: str, run: Run) -> None:
    assert run("call", shop, "bogus", "--notify").returncode == 1
    assert b"too bad" in run("call", shop, "fail", "too bad", "--notify").stderr
    assert run("call", f"{shop}-nobody", "x", "--notify", "--wait", "0.1").returncode == 1


@pytest.mark.slow
def test_a_service_is_called_by_its_url(run: Run, serve: Callable[..., Any]) -> None:
    serving = serve("shop")
    url = serving.line.partition(" at ")[2].partition(",")[0]
    done = run("call", f"{url}/{serving.name}", "text")
    assert done.stdout == b"plain\ntext\n", done.stderr


@pytest.mark.slow
def test_without_a_method_the_methods_are_listed(shop: str, run: Run) -> None:
    done = run("call", shop)
    lines = done.stdout.decode().splitlines()
    assert (done.returncode, lines[0].split()) == (0, ["METHOD", "ABOUT"])
    held = next(line for line in lines if line.startswith("hold()"))
    assert held.split("  ")[0] == "hold() -> str"
    assert held.endswith("idempotent; Say so and go on when a line comes in.")
    many = next(line for line in lines if line.startswith("many("))
    assert many.endswith("streams, idempotent")


@pytest.mark.slow
def test_the_methods_are_listed_as_json(shop: str, run: Run) -> None:
    rows = json.loads(run("call", shop, "--json").stdout)
    assert [row["name"] for row in rows] == sorted(row["name"] for row in rows)
    [sign] = (row for row in rows if row["name"] == "sign")
    assert sign == {
        "name": "sign", "signature": "(number: float) -> int", "doc": "", "streams": False,
        "idempotent": True,
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--lines", "--notify", "--protocol=mdp1"])
def test_options_of_a_call_want_a_method(option: str, run: Run) -> None:
    done = run("call", "shop", option)
    assert (done.returncode, b"name a METHOD" in done.stderr) == (2, True)


@pytest.mark.slow
def test_a_router_that_has_lost_the_last_service_is_none_itself(run: Run, name: str) -> None:
    service = f"{name}-s"
    with Router(name, names=[service]) as router:
        router.start()
        url = f"{router.endpoint}/{service}"
        serving = Serving(service, "shop", "--via", name)
        try:
            done = run("call", url, "sign", "-2", "--wait", "30")
            assert (done.returncode, done.stdout) == (0, b"-1\n")
            serving.process.terminate()
            assert serving.wait()[0] == 0
        finally:
            serving.end()
        done = run("call", url, "sign", "-2", "--wait", "0.5", "--timeout", "999")
    assert done.returncode == 1
    assert done.stderr.decode().startswith(f"error: nobody serves {url!r}: ")
