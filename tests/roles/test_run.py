"""`run` serves until a signal, or `stop`, and returns the exit code."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import zmqkit
import zmqkit.asyncio
from tests.roles.kit import BOUND_S, Kit, Started
from tests.spawning import send_twice
from zmqkit.roles.stopping import SIGNALS

PROGRAM = Path(__file__).with_name("running.py")
ROLES = ("service", "pool", "worker", "asyncio-service", "asyncio-worker")


class Program:
    """A running program, and the caller of what it serves."""

    def __init__(self, kind: str, *options: str) -> None:
        self.name = f"t{secrets.token_hex(6)}"
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-W",
                "always::ResourceWarning",
                PROGRAM,
                kind,
                self.name,
                *options,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.expect("ready")

    def expect(self, line: str) -> None:
        assert self.process.stdout is not None
        said = self.process.stdout.readline().rstrip("\n")
        assert said == line, self.process.communicate(timeout=BOUND_S)[1]

    def let_go(self) -> None:
        """Let the handler that holds go on."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def told(self, line: str) -> None:
        """Wait for a line of standard error."""
        assert self.process.stderr is not None
        assert self.process.stderr.readline() == f"{line}\n"

    def ended(self) -> tuple[int, str]:
        """Its exit code, and what it said at the end but for its last words."""
        assert self.process.stdout is not None and self.process.stderr is not None
        # Not by communicate, which knows nothing of what was read ahead of the last line.
        out, errors = self.process.stdout.read(), self.process.stderr.read()
        code = self.process.wait(BOUND_S)
        if code in (0, 1) and out:
            assert out.splitlines()[-1] == f"code {code} of {self.process.pid}"
        return code, errors


@pytest.fixture
def begin() -> Iterator[Callable[..., Program]]:
    programs: list[Program] = []

    def begin(kind: str, *options: str) -> Program:
        programs.append(Program(kind, *options))
        return programs[-1]

    yield begin
    for program in programs:
        program.process.kill()
        program.process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("kind", [*ROLES, "two"])
def test_a_signal_ends_it_with_0(
    kind: str, number: signal.Signals, begin: Callable[..., Program]
) -> None:
    while True:
        program = begin(kind)
        at_once = send_twice(program.process, number)  # as `timeout` does
        if at_once and kind == "asyncio-service":
            program.expect("finally")
        ended = program.ended()
        if at_once:
            assert ended == (0, "")
            return


def test_a_signal_that_does_not_wake_the_loop_is_seen_all_the_same(
    begin: Callable[..., Program],
) -> None:
    # One that comes in the moment before the loop rests does not wake it either.
    program = begin("elsewhere")
    watchdog = threading.Timer(BOUND_S, program.process.kill)
    watchdog.start()
    assert program.ended() == (0, "")
    watchdog.cancel()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*ROLES, "two"])
def test_what_was_taken_is_finished_first(kind: str, begin: Callable[..., Program]) -> None:
    program = begin(kind)
    noun = "request"
    if kind.endswith("worker"):
        noun = "task"
        with zmqkit.Pusher(program.name) as pusher:
            ticket = pusher.push("tea")
            asked = Started(ticket.result, BOUND_S)
            end_while_it_holds(program, noun)
            assert asked.result() == "tea"
    else:
        with zmqkit.Client(program.name, timeout_s=BOUND_S) as client:
            asked = Started(client.call, "hold", "tea")
            end_while_it_holds(program, noun)
            assert asked.result() == "tea"
    if kind == "asyncio-service":
        program.expect("finally")
    assert program.ended() == (0, "")


def end_while_it_holds(program: Program, noun: str) -> None:
    program.expect("holding")
    program.process.send_signal(signal.SIGTERM)
    program.told(f"finishing 1 {noun}; interrupt again to stop now")
    program.let_go()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -15)])
@pytest.mark.parametrize("kind", ["service", "asyncio-service"])
def test_a_second_signal_ends_it_at_once(
    kind: str, number: signal.Signals, code: int, begin: Callable[..., Program]
) -> None:
    program = begin(kind)
    with zmqkit.Client(program.name, timeout_s=BOUND_S) as client:
        asked = Started(client.call, "hold")
        program.expect("holding")
        while program.process.poll() is None:
            program.process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                program.process.wait(0.05)
        with pytest.raises(zmqkit.PeerLost):
            asked.result()
    assert program.process.returncode == code


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "method", "said"),
    [
        ("service", "hang", "closed with 1 unanswered"),
        ("pool", "hang", "closed with 1 unanswered"),
        ("asyncio-service", "hang", "closed with 1 unanswered"),
        ("asyncio-service", "wait_for_ever", "closed with 1 unanswered"),
    ],
)
def test_a_handler_that_hangs_is_not_waited_for(
    kind: str, method: str, said: str, begin: Callable[..., Program]
) -> None:
    program = begin(kind, "0.1")
    with zmqkit.Client(program.name, timeout_s=BOUND_S) as client:
        asked = Started(client.call, method)
        program.expect("holding")
        program.process.send_signal(signal.SIGTERM)
        with pytest.raises(zmqkit.PeerLost):
            asked.result()
    code, errors = program.ended() if method == "hang" else finished(program)
    assert code == 1
    assert said in errors


def finished(program: Program) -> tuple[int, str]:
    """What `ended` returns, of a program that could clear up first."""
    program.expect("finally")
    return program.ended()


@pytest.mark.slow
def test_a_handler_that_holds_the_loop_is_not_waited_for(
    begin: Callable[..., Program],
) -> None:
    program = begin("asyncio-service", "0")
    with zmqkit.Client(program.name) as client:
        client.notify("hang_on_loop")
        program.expect("holding")
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(BOUND_S) == 1


@pytest.mark.slow
def test_a_forked_child_ends_as_it_would_without(begin: Callable[..., Program]) -> None:
    program = begin("service")
    with zmqkit.Client(program.name, timeout_s=BOUND_S) as client:
        assert client.call("fork") == -signal.SIGTERM
    program.process.send_signal(signal.SIGTERM)
    assert program.ended() == (0, "")


def test_stop_ends_it_with_0_and_signals_do_what_they_did(blocking: Kit) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    service = blocking.service()
    gate = blocking.gate()
    service.handler(gate.hold)
    blocking.start(
        lambda: (
            blocking.client(service.name).notify("hold"),
            gate.came(),
            service.stop(),
            gate.open(),
        )
    )
    assert service.run() == 0
    assert [signal.getsignal(each) for each in SIGNALS] == before
    with pytest.raises(zmqkit.UsageError, match="is closed"):
        service.run()


def test_it_is_for_the_main_thread(blocking: Kit) -> None:
    service, worker = blocking.service(), zmqkit.Worker("tasks")
    with pytest.raises(zmqkit.UsageError, match=r"main thread.* use serve\(\), which stop\(\)"):
        blocking.start(service.run).result()
    with pytest.raises(zmqkit.UsageError, match=r"main thread.* use work\(\), which stop\(\)"):
        blocking.start(worker.run).result()


@pytest.mark.parametrize("drain_s", [-1, float("nan"), "1", 3601, True])
def test_a_wrong_time_to_drain_is_refused(drain_s: float) -> None:
    with pytest.raises(zmqkit.UsageError, match=r"drain_s is .*; use seconds from 0 to 3600"):
        zmqkit.Service("shop").run(drain_s=drain_s)
