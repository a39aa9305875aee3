"""A shell completes names of services, and of their methods, by what is there now."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from tests.cli.conftest import HERE, LIMIT_S, environment
from zmqkit.cli import completing
from zmqkit.cli.main import cli

pytestmark = pytest.mark.slow

PATIENT = """#!{python}
from zmqkit.cli import completing, main
completing.LOOK_S = completing.ASK_S = {limit_s}
main.main()
"""
"""A zmqkit that a busy machine may keep waiting."""


def offered(*words: str) -> list[str]:
    """What is offered for the last of these words."""
    *given, incomplete = words
    shell = ShellComplete(cli, {}, "zmqkit", "_ZMQKIT_COMPLETE")
    return [item.value for item in shell.get_completions(list(given), incomplete)]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for as long as a busy machine takes."""
    monkeypatch.setattr(completing, "LOOK_S", LIMIT_S)
    monkeypatch.setattr(completing, "ASK_S", LIMIT_S)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("command", ["call", "submit", "ping", "doctor"])
def test_names_of_services_are_completed(shop: str, command: str) -> None:
    assert offered(command, shop[:8]) == [shop]


@pytest.mark.usefixtures("patient")
def test_methods_of_the_service_are_completed(shop: str) -> None:
    assert offered("call", shop, "h") == ["headers", "hold"]


def test_nothing_is_offered_of_other_roles_or_where_nobody_is(
    shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert offered("sub", shop) == []
    assert offered("call", f"{shop}-nobody", "") == []
    monkeypatch.setenv("ZMQKIT_PORTS", "none")
    assert offered("call", "") == []
    assert offered("call", shop, "") == []


def bash(folder: Path, *words: str) -> list[str]:
    """What bash offers for the last word, once it was told as the documents say."""
    command = folder / "zmqkit"
    command.write_text(PATIENT.format(python=sys.executable, limit_s=LIMIT_S))
    command.chmod(0o755)
    line = " ".join(f"'{word}'" for word in words)
    script = (
        'eval "$(_ZMQKIT_COMPLETE=bash_source zmqkit)"\n'
        f"COMP_WORDS=({line}) COMP_CWORD={len(words) - 1}\n"
        '_zmqkit_completion zmqkit\necho "${COMPREPLY[@]}"\n'
    )
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=2 * LIMIT_S, cwd=HERE,
        env={**environment(), "PATH": path}, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_what_the_documents_say(shop: str, tmp_path: Path) -> None:
    assert bash(tmp_path, "zmqkit", "ca") == ["call"]
    assert bash(tmp_path, "zmqkit", "call", shop[:10]) == [shop]
    assert bash(tmp_path, "zmqkit", "call", shop, "pri") == ["priority"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script_as_well(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "zmqkit"], capture_output=True, text=True, timeout=LIMIT_S,
        env={**environment(), "_ZMQKIT_COMPLETE": f"{shell}_source"}, check=False,
    )  # fmt: skip
    assert f"_ZMQKIT_COMPLETE={shell}_complete" in done.stdout
