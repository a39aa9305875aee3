"""Entries of processes in the runtime folder: who finds them, and when they are gone."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.forking import forked
from zmqkit.node import presence
from zmqkit.node.presence import Entry, present

PROCESS, PORT = 0xB1, 5601


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for the entries of this test."""
    with tempfile.TemporaryDirectory(prefix="z", dir="/tmp") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder, "zmqkit")


@contextmanager
def appeared(process: int, port: int) -> Iterator[Entry]:
    """An entry that is there meanwhile."""
    with closing(Entry(process, port)) as entry:
        assert process not in present()
        entry.appear()
        entry.appear()
        yield entry


def test_an_entry_is_there_until_it_is_closed(runtime: Path) -> None:
    with appeared(PROCESS, PORT), appeared(PROCESS + 1, PORT + 1):
        assert present() == {PROCESS: PORT, PROCESS + 1: PORT + 1}
        assert {path.stat().st_mode & 0o777 for path in runtime.iterdir()} == {0o600}
    assert present() == {} and not [*runtime.iterdir()]


def test_what_a_killed_process_left_is_removed_by_whoever_looks(runtime: Path) -> None:
    with forked(Entry(PROCESS, PORT).appear):
        assert present() == {PROCESS: PORT}
    assert len([*runtime.iterdir()]) == 1
    assert present() == {} and not [*runtime.iterdir()]


def test_the_end_of_a_program_removes_what_it_did_not_close(runtime: Path) -> None:
    with appeared(PROCESS, PORT):
        presence._at_exit()
        assert not [*runtime.iterdir()]


def test_the_next_process_removes_what_was_left(runtime: Path) -> None:
    runtime.mkdir(mode=0o700)
    (runtime / f"{PROCESS:016x}-1-1.process").touch()
    with closing(Entry(PROCESS + 1, PORT)) as entry:
        entry.appear()
        [left] = runtime.iterdir()
        assert left.name.startswith(f"{PROCESS + 1:016x}")


def test_a_forked_child_holds_no_lock() -> None:
    entry = Entry(PROCESS, PORT)
    entry.appear()
    with forked(lambda: None):
        assert present() == {PROCESS: PORT}
        del presence._held[entry._lock]
        os.close(entry._lock)  # as the end of this process would
        assert present() == {}


def test_those_of_another_network_namespace_are_not_reached(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with appeared(PROCESS, PORT):
        monkeypatch.setattr(presence, "_network", lambda: 7)
        assert present() == {}
        assert len([*runtime.iterdir()]) == 1


def test_a_folder_that_cannot_be_used_is_no_trouble(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "zmqkit")
    runtime.mkdir(mode=0o755)
    with appeared(PROCESS, PORT):
        pass
    assert present() == {} and "is not a folder of yours alone" in caplog.text
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime / "nowhere"))
    with appeared(PROCESS, PORT):
        pass
    assert present() == {} and "nowhere" in caplog.text


def test_other_files_are_left_alone(runtime: Path) -> None:
    runtime.mkdir(mode=0o700)
    (runtime / "4711-1.socket").touch()
    (runtime / "x.process").touch()
    with appeared(PROCESS, PORT):
        assert present() == {PROCESS: PORT}
    assert sorted(path.name for path in runtime.iterdir()) == ["4711-1.socket", "x.process"]
