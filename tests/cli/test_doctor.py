"""`zmqkit doctor` as a command; what it finds is tested on a simulated LAN."""

from __future__ import annotations

import pytest

from zmqkit.cli.main import CONFIG, USAGE, run


def test_the_commands_are_listed_beside_the_one_that_may_be_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["doctor", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {each} " in shown for each in ("listen", "look", "probe"))


@pytest.mark.parametrize(
    "words", [["orders", "--help"], ["look", "--help"], ["--json", "--help"]]
)
def test_what_names_no_command_is_for_look(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert run(["doctor", *words]) == 0
    assert "look [OPTIONS] [NAME]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["orders", "--role", "tea"], USAGE, "'tea' is not one of"),
        (["a/b"], USAGE, "must not contain '/'"),
        (["listen", "orders"], USAGE, "unexpected extra argument"),
        (["probe"], USAGE, "missing argument 'HOST'"),
        (["probe", "10.0.0.5", "--port", "0"], USAGE, "0 is not in the range"),
        (["tcp://10.0.0.5:5555"], CONFIG, "reaches beyond this machine"),
        (["tcp://10.0.0.5"], CONFIG, "is not a URL"),
        (["memory://orders"], USAGE, "'memory://orders' has no port to ask at"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_sent(
    capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert run(["doctor", *words]) == code
    assert said in capsys.readouterr().err
