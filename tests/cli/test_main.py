"""What all commands share: help, version, exit codes, one line for what went wrong."""

from __future__ import annotations

import io
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

import zmqkit
from tests.cli.conftest import environment
from zmqkit.cli import main
from zmqkit.cli.main import cli
from zmqkit.errors import (
    AddressTaken,
    CallTimeout,
    ConfigError,
    NoService,
    PeerLost,
    RemoteError,
    UsageError,
    ZmqkitError,
)

COMMANDS = ["call", "demo", "ls", "serve"]


def test_help_lists_every_command() -> None:
    shown = CliRunner().invoke(cli, ["--help"])
    assert shown.exit_code == 0
    assert [word for word in shown.output.split() if word in COMMANDS] == COMMANDS
    for code in (main.FAILED, main.USAGE, main.IOERR, main.TIMEOUT, main.INTERRUPTED):
        assert f" {code} " in " ".join(shown.output.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_takes_v(command: str) -> None:
    shown = CliRunner().invoke(cli, [command, "--help"])
    assert shown.exit_code == 0
    assert "--verbose" in shown.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serv"], "no such command 'serv'; did you mean serve?; see zmqkit --help"),
        (["queue", "requeu"], "no such command 'requeu'; did you mean requeue?; see zmqkit qu"),
        (["queue", "x"], "no such command 'x'; see zmqkit queue --help"),
    ],
)
def test_a_mistyped_command_is_answered_with_those_like_it(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(arguments) == 2
    assert said in capsys.readouterr().err


def test_nothing_to_do_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([]) == 2
    captured = capsys.readouterr()
    assert "Commands:" in captured.err and captured.out == ""


@pytest.mark.parametrize("group", ["queue", "device"])
def test_commands_without_a_command_show_their_help(
    group: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run([group]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith(f"Usage: zmqkit {group} [OPTIONS] COMMAND")
    assert "\nCommands:\n" in shown.err


def test_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out == f"zmqkit {zmqkit.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["bogus"],
        ["--bogus"],
        ["call"],
        ["call", "a", "--lines"],
        ["call", "a", "b", "--bogus"],
        ["call", "a", "b", "--priority", "10"],
        ["call", "a", "b", "--timeout", "soon"],
        ["call", "a", "b", "--timeout", "-1"],
        ["call", "a", "b", "--header", "k"],
        ["call", "a", "b", "-", "-"],
        ["call", "a", "b", "-", "--lines"],
        ["call", "a", "b", "k=1", "k=2"],
        ["call", "a/b", "c"],
        ["call", "http://a:1", "c"],
        ["ls", "--wait", "-1"],
        ["ls", "--wait", "nan"],
        ["pub", "weather", "a", "1", "--hz", "nan"],
        ["pub", "weather", "", "1"],
        ["pub", "weather", "a\0b", "1"],
        ["pub", "weather", "ä" * 129, "1"],
        ["serve"],
        ["serve", "math", "--concurrency", "0"],
        ["serve", "math", "--name", "a/b"],
        ["serve", "math", "--idempotent", "bogus"],
        ["serve", "zmqkit.no_such_module"],
        ["serve", "./shop.py"],
        ["serve", "math:"],
        ["serve", "math:bogus"],
        ["demo", "no-such-file"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line_and_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize("bind", ["nowhere", "tcp://192.0.2.1:5555"])
def test_a_place_that_cannot_be_served_is_a_wrong_configuration(
    bind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["serve", "math", "--bind", bind]) == main.CONFIG
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("command", ["--version", "ls"])
def test_a_closed_standard_output_is_said(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", None)
    assert main.run([command]) == 1
    assert capsys.readouterr().err.startswith("error: standard output is closed; ")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(28, "No space left on device"), "no space left on device; -v shows where"),
        (OSError(13, "Permission denied", "log"), "log: permission denied; -v shows where"),
        (OSError("x"), "x; -v shows where"),
        (TimeoutError(), "TimeoutError; -v shows where"),
    ],
    ids=repr,
)
def test_what_the_system_refuses_is_one_line(
    error: OSError,
    text: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(main.cli, "main", fail)
    assert main.run([]) == 1
    assert capsys.readouterr().err == f"error: {text}\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (ConfigError("x"), 2),
        (AddressTaken("x"), 1),
        (NoService("x"), 1),
        (PeerLost("x"), 1),
        (RemoteError("ValueError", "x"), 1),
        (CallTimeout("x"), 124),
        (ZmqkitError("x\ny"), 1),
        (KeyError("x"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_become_exit_codes_and_one_line(
    error: Exception,
    code: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(main.cli, "main", fail)
    assert main.run([]) == code
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("options", [[], ["-v"]], ids=["warning", "verbose"])
def test_what_is_logged_does_not_steer_a_terminal(options: list[str]) -> None:
    code = (
        "import logging, sys; from zmqkit.cli import main\n"
        "@main.cli.command('log')\n"
        "def command(): logging.getLogger('zmqkit').warning('a%s', chr(27))\n"
        "main.Commands.get_command = lambda self, ctx, name: command\n"
        "sys.exit(main.run([*sys.argv[1:], 'log']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *options], capture_output=True, check=False
    )
    assert done.returncode == 0 and done.stderr.endswith(b"a\\x1b\n")


@pytest.mark.slow
@pytest.mark.parametrize("command", main._COMMANDS)
def test_each_command_imports_what_it_needs_itself(command: str) -> None:
    """Other tests have their processes forked from one that has imported everything."""
    words = [sys.executable, "-P", "-m", "zmqkit", command, "--help"]
    done = subprocess.run(words, capture_output=True, env=environment(), check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"Usage: ")


@pytest.mark.slow
def test_zeroconf_is_not_imported_for_help() -> None:
    code = "import sys; from zmqkit.cli.main import run; run(['--help'])"
    code += "; sys.exit('zeroconf' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "before"), [(io.StringIO(), ""), (Terminal(), "\n")], ids=["file", "terminal"]
)
def test_an_interrupt_ends_the_line_of_a_terminal_alone(
    stream: io.StringIO, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    command = click.Command("ls", callback=interrupt)
    monkeypatch.setattr(main.Commands, "get_command", lambda *_: command)
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("NO_COLOR", "1")
    assert main.run(["ls"]) == 130
    assert stream.getvalue() == f"{before}error: interrupted\n"
