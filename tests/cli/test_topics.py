"""`zmqkit pub` and `zmqkit sub`, each in a process of its own."""

from __future__ import annotations

import json
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import zmqkit
from tests.cli.conftest import LIMIT_S
from zmqkit.cli.pub import paced

pytestmark = pytest.mark.slow

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
Begin = Callable[..., "subprocess.Popen[bytes]"]
Serve = Callable[..., Any]


@pytest.fixture
def topic_name() -> str:
    return f"t{secrets.token_hex(6)}"


def end_of(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    """Exit code, output and errors of a process that ends by itself."""
    output, errors = process.communicate(timeout=LIMIT_S)
    return process.returncode, output.decode(), errors.decode()


def test_a_body_that_is_json_means_it_and_the_rest_is_text(
    run: Run, begin: Begin, topic_name: str
) -> None:
    begun = time.time()
    subscriber = begin("sub", topic_name, "--json", "--count", "1")
    assert run("pub", topic_name, "t", '{"a": [1, null]}').returncode == 0
    code, output, _ = end_of(subscriber)
    shown = json.loads(output)
    assert (code, shown["topic"], shown["body"]) == (0, "t", {"a": [1, None]})
    assert shown["sequence"] == 1 and shown["publisher"].startswith(f"{topic_name}-")
    assert begun - 1e-6 <= shown["published_at"] <= time.time()


def test_a_body_that_is_not_unicode_is_bytes(run: Run, begin: Begin, topic_name: str) -> None:
    subscriber = begin("sub", topic_name, "--raw", "--count", "1")
    assert run("pub", topic_name, "t", "\udcff").returncode == 0
    output, _ = subscriber.communicate(timeout=LIMIT_S)
    assert output == b"\xff\n"


def test_each_line_of_standard_input_is_a_body(run: Run, begin: Begin, topic_name: str) -> None:
    subscriber = begin("sub", topic_name, "kit", "--count", "3")
    done = run("pub", topic_name, "kitchen", "--json", stdin=b"1\ntea\n\n")
    shown = json.loads(done.stdout)
    assert (shown["published"], shown["topic"]) == (3, "kitchen")
    assert end_of(subscriber)[:2] == (0, "kitchen 1\nkitchen tea\nkitchen \n")


def test_a_late_sub_prints_what_was_kept(begin: Begin, topic_name: str) -> None:
    with zmqkit.Publisher(topic_name, history=2) as publisher:
        for number in range(3):
            publisher.publish("t", number)
        options = ("--history", "2", "--recover", "--json", "--count", "2")
        code, output, errors = end_of(begin("sub", topic_name, *options))
    shown = [json.loads(line) for line in output.splitlines()]
    assert (code, [each["body"] for each in shown]) == (0, [1, 2]), errors
    assert all(each["recovered"] and not each["cleared"] for each in shown)


def test_pub_keeps_what_it_published(begin: Begin, topic_name: str) -> None:
    begin("pub", topic_name, "t", "1", "--hz", "50", "--ready", "0", "--history", "999")
    with zmqkit.Subscriber(topic_name) as first:
        before = first.receive(LIMIT_S)
        with zmqkit.Subscriber(topic_name, history=3) as late:
            message = late.receive(LIMIT_S)
    assert before is not None and message is not None
    assert message.recovered and message.sequence > before.sequence - 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_pub_stays_for_those_who_come_later(
    begin: Begin, topic_name: str, number: signal.Signals
) -> None:
    staying = begin("pub", topic_name, "t", "1", "--history", "1", "--stay", "--json")
    assert staying.stderr is not None
    said = staying.stderr.readline().decode()
    assert said == "1 message published; staying for those who come later\n"
    with zmqkit.Subscriber(topic_name, history=1) as late:
        message = late.receive(LIMIT_S)
    assert message is not None and message.recovered
    staying.send_signal(number)
    code, output, errors = end_of(staying)
    assert (code, json.loads(output)["published"], errors) == (0, 1, "")


def test_pub_with_a_history_that_nobody_hears_may_stay(run: Run, topic_name: str) -> None:
    done = run("pub", topic_name, "t", "1", "--history", "1", "--wait", "0.1")
    assert done.returncode == 1
    assert b"with --ready 0, or stay for those who come later with --stay" in done.stderr


def test_pub_stays_only_with_a_history(run: Run, topic_name: str) -> None:
    done = run("pub", topic_name, "t", "1", "--stay")
    assert done.returncode == 2 and b"--history N" in done.stderr


@pytest.mark.parametrize("more", [[], ["--hz"]])
def test_sub_ends_with_its_standard_input(run: Run, topic_name: str, more: list[str]) -> None:
    done = run("sub", topic_name, "--until-eof", *more, stdin=b"")
    assert (done.returncode, done.stdout) == (0, b"")


def test_raw_bodies_are_bytes_unchanged(run: Run, begin: Begin, topic_name: str) -> None:
    subscriber = begin("sub", topic_name, "--raw", "--count", "1")
    assert run("pub", topic_name, "t", "-", "--raw", stdin=b"\xff\x00\n1").returncode == 0
    output, _ = subscriber.communicate(timeout=LIMIT_S)
    assert output == b"\xff\x00\n1\n"


def test_a_publisher_cannot_forge_lines_or_colours(begin: Begin, topic_name: str) -> None:
    readers = [begin("sub", topic_name, "--count", "2", *more) for more in ([], ["--raw"])]
    with zmqkit.Publisher(topic_name) as publisher:
        assert publisher.ready(2, LIMIT_S) == 2
        publisher.publish("a\nb", "\x1b[31m\nroom 5")
        publisher.publish("t", ["\x9b"])
        assert end_of(readers[0])[1] == 'a\\nb \\x1b[31m\\nroom 5\nt ["\\x9b"]\n'
        assert end_of(readers[1])[1] == '\x1b[31m\nroom 5\n["\x9b"]\n'


def test_a_body_is_published_as_often_as_asked(run: Run, begin: Begin, topic_name: str) -> None:
    subscriber = begin("sub", topic_name, "--hz", "--json", "--count", "30")
    assert run("pub", topic_name, "t", "x", "--count", "30", "--hz", "100").returncode == 0
    code, output, _ = end_of(subscriber)
    rows = [json.loads(line) for line in output.splitlines()]
    assert code == 0 and sum(row["messages"] for row in rows) == 30
    assert {row["topic"] for row in rows} == {"t"}


def test_rates_go_on_when_nothing_comes(begin: Begin, topic_name: str) -> None:
    subscriber = begin("sub", topic_name, "--hz", "--json", "--count", "3")
    assert subscriber.stdout is not None
    with zmqkit.Publisher(topic_name) as publisher:
        assert publisher.ready(1, LIMIT_S) == 1
        publisher.publish("t", 1)
        first, second = (json.loads(subscriber.stdout.readline()) for _ in range(2))
        publisher.publish("t", 2)
        publisher.publish("t", 3)
        code, output, _ = end_of(subscriber)
    rows = [first, second, *map(json.loads, output.splitlines())]
    assert [row["messages"] for row in rows[:2]] == [1, 0] and first["hz"] > 0 == second["hz"]
    assert code == 0 and sum(row["messages"] for row in rows) == 3
    assert rows[-1]["hz"] is None


def test_silence_ends_rates_when_asked(begin: Begin, topic_name: str) -> None:
    with zmqkit.Publisher(topic_name) as publisher:
        subscriber = begin("sub", topic_name, "--hz", "--timeout", "3")
        assert publisher.ready(1, LIMIT_S) == 1
        publisher.publish("t", 1)
        code, output, errors = end_of(subscriber)
    assert code == 124 and output.startswith("t ")
    assert "nothing from" in errors


def test_nobody_who_subscribes_is_an_error_that_says_what_to_do(
    run: Run, topic_name: str
) -> None:
    done = run("pub", topic_name, "t", "x", "--wait", "0.1")
    assert done.returncode == 1
    assert f"start `zmqkit sub {topic_name}`" in done.stderr.decode()
    assert "other machines need --insecure on both sides" in done.stderr.decode()
    assert run("pub", topic_name, "t", "x", "--ready", "0").returncode == 0


def test_nothing_that_comes_is_a_timeout(run: Run, topic_name: str) -> None:
    done = run("sub", topic_name, "--timeout", "0.1")
    assert (done.returncode, done.stdout) == (124, b"")
    assert "nothing from" in done.stderr.decode()
    assert "no publisher is there: none is running: " in done.stderr.decode()


@pytest.mark.parametrize("place", ["", "tcp://127.0.0.1:1/"])
def test_that_nobody_publishes_is_said_after_a_moment(
    begin: Begin, topic_name: str, place: str
) -> None:
    subscriber = begin("sub", f"{place}{topic_name}")
    assert subscriber.stderr is not None
    said = subscriber.stderr.readline().decode()
    assert said.startswith(f"waiting for '{place}{topic_name}': no publisher is there: ")
    subscriber.send_signal(signal.SIGINT)
    assert end_of(subscriber) == (130, "", "error: interrupted\n")


def test_a_publisher_of_another_name_at_the_address_is_named(run: Run, topic_name: str) -> None:
    with zmqkit.Publisher(topic_name) as publisher:
        done = run("sub", f"{publisher.endpoint}/other", "--timeout", "10")
        assert done.returncode == 124
        said = f"the publisher there is {topic_name!r}; put that behind the port, or nothing"
        assert said in done.stderr.decode()


def test_a_service_of_that_name_is_pointed_out(serve: Serve, run: Run) -> None:
    serving = serve("math")
    # A busy machine may hear of it only after that second.
    tries = (run("sub", serving.name, "--timeout", "1") for _ in range(5))
    assert any(b"use zmqkit.Client or `zmqkit call`" in done.stderr for done in tries)


def test_raw_rates_make_no_sense(run: Run) -> None:
    assert run("sub", "x", "--raw", "--hz").returncode == 2


def test_an_interrupt_ends_either(begin: Begin, topic_name: str) -> None:
    with zmqkit.Publisher(topic_name) as publisher:
        subscriber = begin("sub", topic_name)
        assert publisher.ready(1, LIMIT_S) == 1
        subscriber.send_signal(signal.SIGINT)
        code, output, errors = end_of(subscriber)
        assert (code, output) == (130, "")
        said = re.sub("^waiting for .*\n", "", errors)  # as it may if it is late
        assert said == "error: interrupted\n"
    endless = begin("pub", topic_name, "t", "x", "--hz", "1000", "--ready", "0")
    with zmqkit.Subscriber(topic_name) as reader:
        assert reader.receive(LIMIT_S) is not None
        endless.send_signal(signal.SIGINT)
        assert end_of(endless)[0] == 130


def test_a_reader_that_leaves_the_pipe_ends_the_subscriber(
    begin: Begin, topic_name: str
) -> None:
    subscriber = begin("sub", topic_name)
    assert subscriber.stdout is not None
    with zmqkit.Publisher(topic_name) as publisher, suppress(subprocess.TimeoutExpired):
        assert publisher.ready(1, LIMIT_S) == 1
        publisher.publish("t", 1)
        assert subscriber.stdout.readline() == b"t 1\n"
        subscriber.stdout.close()
        for _ in range(100):
            publisher.publish("t", 2)
            with suppress(subprocess.TimeoutExpired):
                subscriber.wait(0.1)
                break
    assert subscriber.poll() is not None
    assert subscriber.stderr is not None and b"Traceback" not in subscriber.stderr.read()


def test_the_first_is_not_waited_for() -> None:
    assert list(paced(iter([1]), 0.001)) == [1]


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_an_interrupted_recovery_says_what_it_lacks(
    begin: Begin, topic_name: str, more: list[str]
) -> None:
    count = 60_000  # more than the pipe and the subscriber's queue take while nobody reads them
    with zmqkit.Publisher(topic_name, history=count) as publisher:
        with publisher.batch() as batch:
            for number in range(count):
                batch.publish("t", number)
        subscriber = begin("sub", topic_name, "--recover", "--history", str(count), *more)
        assert subscriber.stdout is not None
        first = subscriber.stdout.readline()
        subscriber.send_signal(signal.SIGINT)
        code, output, errors = end_of(subscriber)
    said = re.search(r"^lacking: ([\d,]+) messages of t from (.+)$", errors, re.MULTILINE)
    assert code == 130 and first and said is not None
    if more:
        shown = json.loads(output.splitlines()[-1])
        lacking = int(said[1].replace(",", ""))
        at = count - lacking + 1
        assert shown == {"lacking": lacking, "publisher": said[2], "topic": "t", "sequence": at}
