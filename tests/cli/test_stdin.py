"""Commands that are started with standard input closed."""

from __future__ import annotations

import pytest

from zmqkit.cli import main


@pytest.mark.parametrize(
    "arguments",
    [
        ["call", "nobody", "hello", "-"],
        ["call", "nobody", "hello", "--lines"],
        ["pub", "weather", "clock"],
        ["pub", "weather", "clock", "-"],
        ["serve", "math", "--until-eof"],
    ],
    ids=" ".join,
)
def test_closed_standard_input_is_said_at_once(
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert main.run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: standard input is closed; give a pipe or file")
    assert captured.err.count("\n") == 1 and captured.out == ""
