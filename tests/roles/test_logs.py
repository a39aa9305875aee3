"""ZMQKIT_LOG has a program that sets up no logging show what zmqkit logs."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

import zmqkit

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 20.0

NAME = f"t{secrets.token_hex(6)}"
SERVICE = f"service = zmqkit.Service({NAME!r})\nservice.start()\n"
CLIENT = """
with service, zmqkit.Client(service.endpoint) as client:
    client.ready()
"""

pytestmark = pytest.mark.slow


def errors_of(program: str, level: str) -> list[str]:
    """What a program writes to standard error, line by line."""
    done = subprocess.run(
        [sys.executable, "-c", f"import logging\nimport zmqkit\n{program}"],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env={**os.environ, "PYTHONPATH": str(ROOT), "ZMQKIT_LOG": level},
        check=True,
    )
    return done.stderr.splitlines()


@pytest.mark.parametrize("level", ["info", "debug"])
def test_a_program_without_logging_shows_what_zmqkit_logs(level: str) -> None:
    [line] = errors_of(SERVICE + CLIENT, level)
    assert " INFO zmqkit: instance-up " in line


def test_without_the_variable_it_shows_warnings_alone() -> None:
    assert errors_of(SERVICE + CLIENT, "") == []


@pytest.mark.parametrize("name", ["", "zmqkit"])
def test_a_program_with_logging_of_its_own_is_left_alone(name: str) -> None:
    own = f"logging.getLogger({name!r}).addHandler(logging.NullHandler())\n"
    level = "assert logging.getLogger('zmqkit').level == logging.NOTSET\n"
    assert errors_of(own + SERVICE + CLIENT + level, "info") == []


def test_a_program_that_sets_up_logging_later_has_each_line_once() -> None:
    later = "logging.basicConfig(format='mine: %(message)s')\n"
    [line] = errors_of(SERVICE + later + CLIENT, "info")
    assert line.startswith("mine: instance-up ")


def test_a_level_that_the_program_has_set_stays() -> None:
    level = "logging.getLogger('zmqkit').setLevel('ERROR')\n"
    assert errors_of(level + SERVICE + CLIENT, "info") == []


def test_a_wrong_value_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMQKIT_LOG", "verbose")
    with pytest.raises(zmqkit.ConfigError) as caught:
        zmqkit.Client("shop")
    said = "ZMQKIT_LOG is 'verbose'; use info or debug, or leave it unset"
    assert str(caught.value) == said


def test_lines_are_json_where_all_lines_of_a_command_are() -> None:
    as_json = "from zmqkit.cli.output import tell_as_json\ntell_as_json()\n"
    [line] = errors_of(as_json + SERVICE + CLIENT, "info")
    assert json.loads(line)["message"].startswith("instance-up ")
