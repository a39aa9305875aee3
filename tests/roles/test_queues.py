"""Where queues are found on this machine, and what becomes of what others left there."""

from __future__ import annotations

import os
import re
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zmqkit
from tests.roles.kit import BOUND_S, Kit
from zmqkit.drivers.questions import Listener
from zmqkit.drivers.runtime import runtime_folder
from zmqkit.roles import asking
from zmqkit.roles.asking import RunningQueue, opened, running
from zmqkit.roles.queues import socket_beside
from zmqkit.wire.encoding import encode


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for the entries of this test's queues, whose path is short."""
    with tempfile.TemporaryDirectory(prefix="z", dir="/tmp") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder, "zmqkit")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "thumbnails.journal"


def ask(target: object, do: str) -> Any:
    with opened(str(target)) as queue:
        return queue.ask({"do": do})


def test_a_long_path_has_its_socket_elsewhere(blocking: Kit, tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 90)
    folder.mkdir()
    journal = folder / "thumbnails.journal"
    pusher = blocking.pusher(count=0, journal=journal)
    pusher.push(1)
    assert socket_beside(journal).is_symlink()
    assert [ask(each, "ls")["waiting"] for each in (journal, blocking.name)] == [1, 1]
    pusher.close(0)
    assert not socket_beside(journal).is_symlink()


def test_without_a_runtime_folder_the_file_will_do(
    blocking: Kit, journal: Path, monkeypatch: pytest.MonkeyPatch, runtime: Path
) -> None:
    runtime.mkdir(mode=0o755)
    blocking.pusher(count=0, journal=journal).push(1)
    assert ask(journal, "ls")["waiting"] == 1
    with pytest.raises(zmqkit.ConfigError, match="not a folder of yours alone"):
        ask(blocking.name, "ls")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime / "nowhere"))
    with pytest.raises(zmqkit.ConfigError, match="set XDG_RUNTIME_DIR"):
        ask(blocking.name, "ls")


def test_a_queue_without_any_socket_goes_on_and_says_so(
    blocking: Kit, tmp_path: Path, caplog: pytest.LogCaptureFixture, runtime: Path
) -> None:
    runtime.mkdir(mode=0o755)
    folder = tmp_path / ("x" * 90)
    folder.mkdir()
    pusher = blocking.pusher(count=0, journal=folder / "thumbnails.journal")
    assert pusher.push(1).state == "waiting"
    assert "cannot ask this process" in caplog.text and "too long" in caplog.text


def test_the_folder_is_this_users_own(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runtime_folder() == runtime and runtime.stat().st_mode & 0o777 == 0o700
    runtime.rmdir()
    runtime.symlink_to("/tmp")
    with pytest.raises(zmqkit.ConfigError, match="remove it"):
        runtime_folder()
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(os, "getuid", lambda: 424242)
    monkeypatch.setattr(Path, "mkdir", lambda self, mode: None)
    monkeypatch.setattr(Path, "lstat", lambda self: os.stat("/"))
    with pytest.raises(zmqkit.ConfigError, match="/tmp/zmqkit-424242 is not"):
        runtime_folder()


def test_what_a_killed_process_left_in_the_folder_is_removed(runtime: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(runtime_folder() / "4711-1.socket"))
    (runtime / "0a.socket").symlink_to(runtime / "nowhere.socket")
    assert running() == [] and not [*runtime.iterdir()]


def test_a_process_that_does_not_answer_is_told_of(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "LOOK_S", 0.05)
    monkeypatch.setattr(asking, "ANSWER_S", 0.05)
    go_on = threading.Event()

    def hang(question: bytes) -> bytes:
        go_on.wait(BOUND_S)
        return question

    listener = Listener(str(runtime_folder() / "1-1.socket"), hang)
    [(entry, told)] = running()
    silent = rf"process {os.getpid()} does not answer: it is stopped, or hangs; `kill -CONT"
    assert re.match(silent, str(told["error"]))
    with pytest.raises(zmqkit.CallTimeout, match=silent):
        ask("thumbnails", "ls")
    with pytest.raises(zmqkit.CallTimeout, match=silent):
        RunningQueue(entry).ask({"do": "ls"})
    go_on.set()
    listener.close()
    with pytest.raises(zmqkit.PeerLost, match="does not answer"):
        RunningQueue(entry).ask({"do": "ls"})


@pytest.mark.parametrize("answer", [b"\xc1", encode([1])])
def test_an_answer_that_is_none_is_told_of(runtime: Path, answer: bytes) -> None:
    listener = Listener(str(runtime_folder() / "1-1.socket"), lambda question: answer)
    [(_, told)] = running()
    assert "answer" in str(told["error"])
    listener.close()


def test_what_a_killed_owner_left_beside_the_file_is_removed(
    blocking: Kit, journal: Path
) -> None:
    blocking.pusher(count=0, journal=journal).push(1)
    blocking.roles[-1].close(0)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(socket_beside(journal)))
    assert ask(journal, "ls")["waiting"] == 1
    assert not socket_beside(journal).exists()


def test_two_queues_of_a_name_are_told_apart_by_their_files(
    blocking: Kit, tmp_path: Path
) -> None:
    for number in range(2):
        journal = tmp_path / f"{number}.journal"
        blocking.pusher(count=0, journal=journal).push(number)
    with pytest.raises(zmqkit.UsageError, match=r"2 queues .*[01]\.journal, .*[01]\.journal"):
        ask(blocking.name, "ls")
    assert ask(tmp_path / "1.journal", "ls")["waiting"] == 1


def test_a_file_that_is_held_without_an_answer_has_a_remedy(
    blocking: Kit, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    pusher = zmqkit.Pusher(blocking.name, journal=journal)  # made, and not open yet
    with pytest.raises(zmqkit.JournalError, match="does not answer here: its pusher is not"):
        ask(journal, "ls")
    assert 0.5 < sum(pauses) < 2
    pusher.close()
    assert ask(journal, "ls")["waiting"] == 0


def test_a_file_whose_process_is_stopped_names_that_process(
    blocking: Kit, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "LOOK_S", 0.05)
    pusher = zmqkit.Pusher(blocking.name, journal=journal)
    go_on = threading.Event()

    def hang(question: bytes) -> bytes:
        go_on.wait(BOUND_S)
        return question

    listener = Listener(str(socket_beside(journal)), hang)
    with pytest.raises(zmqkit.CallTimeout, match=rf"process {os.getpid()} does not answer"):
        ask(journal, "ls")
    go_on.set()
    listener.close()
    pusher.close()
