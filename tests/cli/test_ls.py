"""`zmqkit ls`: who is there."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import HERE, LIMIT_S, environment, zmqkit
from tests.roles.kit import Kit, until
from tests.spawning import Popen
from zmqkit.cli.ls import LATE_S, is_cut_short, lines
from zmqkit.device.majordomo import Majordomo
from zmqkit.node.listings import Listing

pytestmark = pytest.mark.slow

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
Serve = Callable[..., Any]
Begin = Callable[..., "subprocess.Popen[bytes]"]

KEYS = {
    "name", "role", "label", "address", "age_s", "state", "why", "process", "sources",
    "asked_at", "in_use", "via", "behind_device", "space",
}  # fmt: skip


def listed(run: Run, *arguments: str, names: Sequence[str]) -> str:
    """What `ls` prints once these names are up; a busy machine needs a longer wait."""
    for wait_s in ("0.5", "2", "5"):
        text = run("ls", "--wait", wait_s, *arguments).stdout.decode()
        if all(re.search(rf"{name}\b.*\bup\b", text) for name in names):
            return text
    raise AssertionError(f"not all of {names} are up:\n{text}")


def test_it_lists_each_instance(serve: Serve, run: Run) -> None:
    first, second = serve("math"), serve("shop")
    lines = listed(run, names=[first.name, second.name]).splitlines()
    assert lines[0].split() == ["NAME", "ROLE", "ADDRESS", "STATE"]
    for serving in (first, second):
        [row] = [line.split() for line in lines if line.startswith(serving.name)]
        address = serving.line.partition(" at ")[2].partition(",")[0]
        assert row[1:3] == ["service", address]
        assert row[-1] == "up"


def test_json_is_one_array_of_objects(serve: Serve, run: Run) -> None:
    serving = serve("math")
    text = listed(run, "--json", names=[serving.name])
    assert text.count("\n") == 1
    [row] = [row for row in json.loads(text) if row["name"] == serving.name]
    assert row.keys() == KEYS
    assert row["label"].startswith(f"{serving.name}-")
    assert row["age_s"] >= 0


def test_a_streamer_on_this_machine_has_its_tasks_below_it(run: Run, tmp_path: Path) -> None:
    kit = Kit()
    try:
        kit.streamer()
        kit.streamer(journal=str(tmp_path / "x.journal"))
        pusher = kit.pusher(count=2)
        pusher.push_many([1, 2, 3])
        text = listed(run, names=[kit.name])
        tasks = re.findall(r"\n    tasks: (\d) waiting.*, 0 leased, 0 failed, 0 dead\n", text)
        assert len(tasks) == 2 and sum(map(int, tasks)) == 3, text
        rows = json.loads(run("ls", "--json").stdout)
        told = [row["tasks"] for row in rows if row["name"] == kit.name]
        assert sum(each["waiting"] for each in told) == 3
        assert told[0].keys() == {
            "waiting", "oldest_s", "leased", "failed", "dead", "workers",
        }  # fmt: skip
        assert len(re.findall(rf"^{kit.name} .* up, no worker$", text, re.MULTILINE)) == 2
        kit.working(str)
        until(lambda: "no worker" not in shown(run, kit.name))
    finally:
        kit.close()


def are_served(run: Run, name: str) -> list[object]:
    """What programs are told of each broker's service of a name: whether anybody serves it."""
    rows = json.loads(run("ls", "--json").stdout)
    return [row["served"] for row in rows if (row["name"], row["role"]) == (name, "broker")]


def shown(run: Run, name: str) -> str:
    """The rows of a name."""
    rows = run("ls", "--wait", "0.5").stdout.decode().splitlines()
    return "\n".join(row for row in rows if row.split()[0] == name)


def test_a_service_of_a_device_that_nobody_serves_is_shown_so(run: Run, tmp_path: Path) -> None:
    kit = Kit()
    try:
        device = f"{kit.name}-m"
        with Majordomo(device, journal=tmp_path / "requests"):
            service = kit.serving(str, via=device)
            until(lambda: re.search(rf"via {device} .* up$", shown(run, kit.name)))
            service.close()
            until(lambda: shown(run, kit.name).endswith(" up, no instance"))
            until(lambda: are_served(run, kit.name) == [False])
    finally:
        kit.close()


def test_who_left_is_not_listed(serve: Serve, run: Run) -> None:
    serving = serve("math", "--until-eof")
    assert serving.wait() == (0, "")
    assert serving.name not in run("ls").stdout.decode()


def test_nobody_is_said_to_people_and_is_an_empty_array_to_programs(
    run: Run, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZMQKIT_SPACE", name)  # where nobody else is
    done = run("ls", "--wait", "0", "--json")
    assert (done.returncode, done.stdout) == (0, b"[]\n")
    done = run("ls", "--wait", "0")
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"nobody" in done.stderr
    assert b"searched on this machine only, the network was not searched" in done.stderr
    assert done.stderr.endswith(b"; `zmqkit doctor` looks closer\n")
    assert run("ls", "--wait", "0", "--json").stderr == b""


def test_details_say_who_told_of_it_and_where_it_answers(serve: Serve, run: Run) -> None:
    serving = serve("math")
    lines = listed(run, "-v", names=[serving.name]).splitlines()
    [at] = [n for n, line in enumerate(lines) if line.startswith(serving.name)]
    instance, told_by, asked_at = (line.strip() for line in lines[at + 1 : at + 4])
    assert instance.startswith(f"instance: {serving.name}-")
    assert told_by == "told by: hello, mdns:loopback"
    assert asked_at.startswith("asked at: 127.0.0.1:") and asked_at.endswith(" (in use)")


def test_a_static_peer_that_does_not_answer_is_shown(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZMQKIT_PEERS", "127.0.0.1:1")
    done = run("ls", "-v", "--wait", "0.2")
    assert b"static peer 127.0.0.1:1: nobody answers\n" in done.stdout
    rows = json.loads(run("ls", "-v", "--json", "--wait", "0.2").stdout)
    assert {"address": "127.0.0.1:1", "process": "", "state": "nobody answers"} in rows


def test_a_watch_tells_who_comes_and_who_goes(serve: Serve, begin: Begin) -> None:
    watching = begin("ls", "--watch")
    # A goodbye is three datagrams, which a busy machine may lose; not one time after the other.
    assert "-" in [sign_at_the_end(serve, watching) for _ in range(3)]
    watching.send_signal(signal.SIGINT)
    _, errors = watching.communicate(timeout=LIMIT_S)
    assert (watching.returncode, errors.strip()) == (130, b"")


def sign_at_the_end(serve: Serve, watching: subprocess.Popen[bytes]) -> str:
    """What the watch says last of one who comes and goes: that it is gone, or off the list."""
    serving = serve("math", "--until-eof")
    assert line_of(watching, serving.name)[0] == "+"
    serving.wait()
    while (words := line_of(watching, serving.name))[0] == "~":
        assert words[4] in ("up", "evasive", "lost", "gone")  # until its goodbye is heard
        if words[4] == "gone":
            break
    return words[0]


def line_of(watching: subprocess.Popen[bytes], name: str) -> list[str]:
    """The words of the next line about this name: others may come and go meanwhile."""
    assert watching.stdout is not None
    while True:
        words = watching.stdout.readline().decode().split()
        assert words
        if words[1] == name:
            return words


def test_a_watch_in_json_has_an_object_a_line_and_an_end(serve: Serve, run: Run) -> None:
    serving = serve("math")
    ours: list[dict[str, object]] = []
    for for_s in ("0.5", "2", "5"):
        done = run("ls", "--watch", "--json", "--for", for_s)
        assert done.returncode == 0
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        if ours := [row for row in rows if row["name"] == serving.name]:
            break
    assert ours[0]["change"] == "added"
    assert ours[0].keys() == KEYS | {"change"}


def test_a_watch_redraws_a_terminal(serve: Serve) -> None:
    serving = serve("math")
    screen, terminal = pty.openpty()
    process = Popen(
        zmqkit("ls", "--watch", "--for", "60"), stdout=terminal, env=environment(), cwd=HERE
    )
    os.close(terminal)
    drawn = b""
    try:
        while serving.name.encode() not in drawn:
            drawn += os.read(screen, 1 << 16)  # OSError once the watch has ended
    finally:
        process.kill()
        process.wait(LIMIT_S)
        os.close(screen)
    assert drawn.startswith(b"\x1b[H\x1b[J")


@pytest.mark.parametrize(("ages_s", "short"), [((9.0, 1.0), False), ((9.0, 0.0), True)])
def test_it_is_said_when_roles_were_still_being_found(
    ages_s: Sequence[float], short: bool
) -> None:
    rows = [Listing("a", "service", "a-1", "", LATE_S * each, "up") for each in ages_s]
    assert is_cut_short(rows) is short


def test_who_is_behind_a_device_is_shown_so() -> None:
    row = Listing("a", "service", "a-1", "tcp://127.0.0.1:1", 1.0, "up", behind_device=True)
    assert lines([row], verbose=False)[1].endswith("  up, behind a device")


def test_only_a_watch_shows_for_how_long_roles_are_known() -> None:
    row = Listing("a", "service", "a-1", "tcp://127.0.0.1:1", 600.0, "up")
    assert lines([row], verbose=False)[1].split() == ["a", "service", row.address, "up"]
    head, body = lines([row], verbose=False, ages=True)
    assert head.endswith("STATE  KNOWN FOR") and body.endswith("  up     10 min")


def test_a_time_without_a_watch_is_refused(run: Run) -> None:
    done = run("ls", "--for", "1")
    assert done.returncode == 2 and b"--watch" in done.stderr


def test_it_lists_the_space_of_its_environment_and_others_when_told(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit = Kit()
    try:
        kit.service(space="").start()
        kit.service(space="dev").start()
        listed(run, names=[kit.name])
        assert f"{kit.name}@dev" not in run("ls", "--wait", "2").stdout.decode()
        until(lambda: b"@dev" in run("ls", "--all-spaces", "--wait", "2").stdout)
        monkeypatch.setenv("ZMQKIT_SPACE", "dev")
        listed(run, names=[kit.name])
        rows = json.loads(run("ls", "--json", "--wait", "2").stdout)
        assert [row["space"] for row in rows if row["name"] == kit.name] == ["dev"]
    finally:
        kit.close()
