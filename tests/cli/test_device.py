"""`zmqkit device`: which device files there are, what one may say, and what is wrong in it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from zmqkit.cli.main import run as run_line
from zmqkit.device.files import Shipped, shipped
from zmqkit.device.kinds import KINDS
from zmqkit.device.spec import read_spec
from zmqkit.disk.journal import Journal

Ran = tuple[int, str, str]
Device = Callable[..., Ran]


@pytest.fixture
def device(capsys: pytest.CaptureFixture[str]) -> Device:
    """Runs `zmqkit device`; the exit code, and what it writes."""

    def device(*arguments: str) -> Ran:
        code = run_line(["device", *arguments])
        return code, *capsys.readouterr()

    return device


def test_all_devices_are_listed_with_kind_and_sentence(device: Device) -> None:
    code, output, _ = device("ls")
    head, *lines = output.splitlines()
    assert code == 0 and head.split() == ["NAME", "KIND", "WHAT"]
    assert [line.split()[:1] for line in lines] == [[each.name] for each in shipped()]
    assert {line.split()[1] for line in lines} == set(KINDS), "each kind has a file"
    rows = [json.loads(line) for line in device("ls", "--json")[1].splitlines()]
    assert all(row["about"].endswith(".") and Path(row["path"]).is_file() for row in rows)


def test_a_file_is_shown_as_it_stands(device: Device) -> None:
    for each in shipped():
        assert device("show", each.name) == (0, each.path.read_text(), "")
    assert device("show", "zmqkit@.service")[1].startswith("# A device of zmqkit under systemd")
    assert "FROM " in device("show", "Containerfile")[1]
    code, _, errors = device("show", "brocker")
    assert code == 78 and "no device 'brocker'; there are bridge" in errors


@pytest.mark.parametrize("each", shipped(), ids=lambda each: each.name)
def test_each_option_has_a_sentence_a_unit_and_the_default_in_force(
    device: Device, each: Shipped
) -> None:
    name = each.name
    rows = [
        json.loads(line) for line in device("show", name, "--options", "--json")[1].splitlines()
    ]
    spec = read_spec(each.path, "x", ["journal.path=x"] if "durable" in name else [])
    assert len({row["says"] for row in rows}) == len(rows), "each has a sentence of its own"
    for row in rows:
        assert len(row["says"]) > 10 and ".py" not in row["says"], row
        table, _, key = row["key"].partition(".")
        assert (row["unit"] != "") is (row["type"] in ("int", "float")), row
        if table == "limits":
            assert row["default"] == getattr(type(spec.limits)(), key)
    assert {row["key"].partition(".")[0] for row in rows} == set(KINDS[spec.kind].tables)
    text = device("show", name, "--options")[1]
    assert re.search(r"^device.drain_s +10 +s$", text, re.MULTILINE)
    assert re.search(
        r"^limits.((dead|subscribers)_max +10_000|requests_max +100_000) +number$",
        text,
        re.MULTILINE,
    )


@pytest.mark.parametrize("each", [each.name for each in shipped()])
def test_a_file_to_start_from_is_in_order_and_a_program(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, each: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output, _ = device("init", "mine", "--from", each)
    assert code == 0 and output.startswith(
        "mine.toml is written; zmqkit device check mine.toml"
    )
    file = tmp_path / "mine.toml"
    assert os.access(file, os.X_OK) and "#     zmqkit run ./mine.toml\n" in file.read_text()
    kind = read_spec(file).kind
    assert device("check", "mine.toml") == (0, f"{kind} 'mine' is in order\n", "")
    assert list(tmp_path.iterdir()) == [file]
    code, _, errors = device("init", "mine", "--from", each)
    assert code == 73 and "mine.toml: file exists; name another one with --file" in errors
    assert device("init", "a/b", "--from", each, "--file", "other.toml")[0] == 2
    assert not Path("other.toml").exists()


def test_a_mistake_is_told_with_file_line_and_remedy(device: Device, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[device]\nkind = "streamer"\nname = "mine"\nnome = 1\n')
    said = f"{file}:4: device.nome is unknown; did you mean name?"
    assert device("check", str(file)) == (78, "", f"error: {said}\n")
    code, output, errors = device("check", str(file), "--json")
    assert (code, errors) == (78, "")
    assert json.loads(output) == {"device": str(file), "in_order": False, "wrong": said}
    file.write_text('[device]\nkind = "streamer"\nname = "mine"\n')
    code, _, errors = device("check", str(file), "--set", "journal.path=/nowhere/x.journal")
    assert code == 78 and "journal.path: /nowhere/x.journal: there is no folder" in errors
    assert json.loads(device("check", str(file), "--name", "x", "--json")[1]) == {
        "device": str(file), "in_order": True, "kind": "streamer", "name": "x",
    }  # fmt: skip


def test_a_journal_that_is_none_of_the_device_is_found_wrong(
    device: Device, tmp_path: Path
) -> None:
    def made(name: str, queue: str, *, has_requests: bool) -> str:
        Journal(tmp_path / name, queue, 1, has_requests=has_requests).close()
        return str(tmp_path / name)

    (tmp_path / "notes").write_text("no journal at all\n" * 100)
    (tmp_path / "folder").mkdir()
    made("folder/tea.journal", "tea", has_requests=False)
    own = made("own", "mine", has_requests=False)
    wrong = [
        ("streamer", str(tmp_path / "notes"), "notes is no journal; name another file"),
        ("streamer", made("other", "x", has_requests=False), "has the tasks of 'x', not of "),
        ("streamer", made("kept", "mine", has_requests=True), "has requests that a broker"),
        ("majordomo", str(tmp_path / "folder"), "tea.journal has tasks, and no requests"),
    ]
    before = {each: each.stat().st_mtime_ns for each in tmp_path.rglob("*")}
    for kind, path, text in wrong:
        code, _, errors = device(
            "check", kind, "--name", "mine", "--set", f"journal.path={path}"
        )
        assert code == 78 and "error: journal.path: " in errors and text in errors
    assert device("check", "streamer", "--name", "mine", "--set", f"journal.path={own}")[0] == 0
    assert {each: each.stat().st_mtime_ns for each in tmp_path.rglob("*")} == before
