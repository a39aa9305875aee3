"""Device files: what they say, and what each mistake in one is answered with."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from zmqkit.device.files import find
from zmqkit.device.spec import Spec, read_spec
from zmqkit.errors import ConfigError

WHOLE = """\
#!/usr/bin/env -S zmqkit run
# A device with every kind of setting.

[device]
kind = "streamer"
name = "thumbnails"
insecure = true

[frontend]
bind = "tcp://10.0.0.5:5560"
advertise = "10.0.0.5"

[journal]
path = "thumbnails.journal"

[limits]
tasks_max = 1_000
lease_s = 2
"""
HEAD = '[device]\nkind = "streamer"\nname = "thumbnails"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.toml"


def said(file: Path, *sets: str, name: str | None = None) -> str:
    """What the file, or a setting, is refused with; the file is called FILE."""
    with pytest.raises(ConfigError) as raised:
        read_spec(file, name, sets)
    return str(raised.value).replace(str(file), "FILE")


def test_a_file_says_everything_that_a_device_is_to_be(file: Path) -> None:
    file.write_text(WHOLE)
    spec = read_spec(file)
    limits = spec.limits
    assert (limits.tasks_max, limits.lease_s) == (1000, 2)
    assert spec == Spec(
        "streamer", "thumbnails", True, "tcp://10.0.0.5:5560", "10.0.0.5",
        "thumbnails.journal", limits,
    )  # fmt: skip


def test_what_a_file_leaves_out_is_left_to_zmqkit(file: Path) -> None:
    file.write_text(HEAD)
    spec = read_spec(file)
    assert spec == Spec("streamer", "thumbnails", limits=spec.limits)
    assert (spec.insecure, spec.bind, spec.journal) == (None, None, None)
    assert spec.limits.tasks_max == Spec("streamer", "x").limits.tasks_max


def test_the_command_line_has_the_last_word(file: Path) -> None:
    file.write_text(WHOLE)
    sets = ["limits.tasks_max=7", "journal.path = 'a b'", "device.insecure=false",
            "frontend.bind=tcp://127.0.0.1:5561", "limits.lease_s=0.5"]  # fmt: skip
    spec = read_spec(file, "other", [*sets, "limits.tasks_max=8"])
    assert (spec.name, spec.journal, spec.insecure) == ("other", "a b", False)
    assert spec.bind == "tcp://127.0.0.1:5561"
    assert (spec.limits.tasks_max, spec.limits.lease_s) == (8, 0.5)


@pytest.mark.parametrize(
    ("value", "path"),
    [("007", "007"), ("true", "true"), ('"1=2"', "1=2"), ("C:\\tasks", "C:\\tasks")],
)
def test_text_needs_no_quotes_on_the_command_line(file: Path, value: str, path: str) -> None:
    file.write_text(HEAD)
    assert read_spec(file, None, [f"journal.path={value}"]).journal == path


@pytest.mark.parametrize("device", ["streamer", "streamer-durable"])
def test_the_files_that_come_with_zmqkit_are_in_order(device: str) -> None:
    spec = read_spec(find(device), "thumbnails")
    assert (spec.kind, spec.name, spec.insecure) == ("streamer", "thumbnails", None)
    assert spec.journal == ("tasks.journal" if device == "streamer-durable" else None)
    defaults = Spec("streamer", "x").limits
    for limit in ("tasks_max", "tasks_bytes_max", "dead_max"):
        assert getattr(spec.limits, limit) == getattr(defaults, limit)


@pytest.mark.parametrize("device", ["streamer", "streamer-durable"])
def test_what_a_shipped_file_has_as_a_comment_may_be_said(device: str, file: Path) -> None:
    text = find(device).read_text()
    lines = re.sub(r"^# (\w+ = .*)$", r"\1", text, flags=re.MULTILINE)
    assert lines != text
    file.write_text(lines)
    spec = read_spec(file)
    assert (spec.insecure, spec.bind, spec.advertise) == (
        True, "tcp://127.0.0.1:5560", "10.0.0.5",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        ('[devise]\nkind = "x"', "FILE:4: [devise] is unknown; did you mean [device]?"),
        ("[xyz]", "FILE:4: [xyz] is unknown; there are [device], [frontend], [journal]"),
        ("[device.more]", "FILE:1: device.more is unknown; there are kind, name, insecure"),
        ('[limits]\ntask_max = 1', "FILE:5: limits.task_max is unknown; did you mean tasks_"),
        ('[limits]\ntasks-max = 1', "FILE:5: limits.tasks-max is unknown; did you mean task"),
        ('[limits]\n"task" = 1', "FILE:5: limits.task is unknown; did you mean tasks_max?"),
        ("[limits]\ntasks_max = 'x'", "FILE:5: limits.tasks_max is 'x'; use a whole number"),
        ("[limits]\ntasks_max = 1.5", "FILE:5: limits.tasks_max is 1.5; use a whole number"),
        ("[limits]\ntasks_max = true", "FILE:5: limits.tasks_max is True; use a whole number"),
        ("[limits]\nlease_s = 'x'", "FILE:5: limits.lease_s is 'x'; use a number"),
        ("[limits]\nlease_s = nan", "FILE:5: limit lease_s is nan; use a number from 0 on"),
        ("[limits]\n\ntasks_max = 0", "FILE:6: limit tasks_max is 0; use a number from 1 on"),
        ("[[limits]]\ntasks_max = 1", "FILE:4: limits is [{'tasks_max': 1}]; use a table"),
        ("[frontend]\nbind = 5560", "FILE:5: frontend.bind is 5560; use text in quotes"),
        ('[frontend]\nbind = "5560"', "FILE:5: '5560' "),
        ('[frontend]\nbind = "memory://x"', "FILE:5: bind='memory://x': a device has a"),
        ('[frontend]\nbind = "tcp://a:1/x"', "FILE:5: bind='tcp://a:1/x' has a name"),
        ('[frontend]\nadvertise = "me"', "FILE:5: advertise='me' is not an IP address; use"),
        ("[journal]\npath = false", "FILE:5: journal.path is False; use text in quotes"),
        ("[journal]\nfile = 'x'", "FILE:5: journal.file is unknown; there are path"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_with_its_line_and_the_remedy(
    file: Path, lines: str, answer: str
) -> None:
    file.write_text(HEAD + lines)
    assert said(file).startswith(answer)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("", "FILE: has no device.kind; use 'streamer'"),
        ('[device]\nname = "x"', "FILE: has no device.kind; use 'streamer'"),
        ('[device]\nkind = "broker"', "FILE:2: device.kind is 'broker'; use 'streamer'"),
        ('[device]\nkind = "streamer"', "FILE: it has no device.name; give it one there, or"),
        ('[device]\nkind = "streamer"\nname = "a/b"', "FILE:3: name 'a/b' must not"),
        ('[device]\nkind = "streamer"\nname = ""', "FILE:3: device.name is ''; use text in"),
        ('kind = "streamer"', "FILE:1: kind outside of a table is unknown; there are [device]"),
        ('device = "streamer"', "FILE:1: device is 'streamer'; use a table, [device]"),
        ('device.kind = "broker"', "FILE:1: device.kind is 'broker'; use 'streamer'"),
        ("\n[device\n", "FILE: no TOML: "),
        ("[device]\nkind = 1\nkind = 2", "FILE: no TOML: "),
        ('[device]\nkind = "streamer"\nname = "x"\ninsecure = "yes"',
         "FILE:4: device.insecure is 'yes'; use true or false"),
        ('[device]\nkind = "streamer"\nname = "x"\ninsecure = false\n'
         '[frontend]\nbind = "tcp://0.0.0.0:1"', "FILE:6: bind='tcp://0.0.0.0:1'"),
    ],
)  # fmt: skip
def test_what_every_device_needs_is_asked_for(file: Path, text: str, answer: str) -> None:
    file.write_text(text)
    assert said(file).startswith(answer)


@pytest.mark.parametrize(
    ("setting", "answer"),
    [
        ("limits", "--set 'limits': use TABLE.KEY=VALUE, such as journal.path=tasks.journal"),
        ("limits=1", "--set 'limits=1': use TABLE.KEY=VALUE"),
        (".x=1", "--set '.x=1': use TABLE.KEY=VALUE"),
        ("limits.=1", "--set 'limits.=1': use TABLE.KEY=VALUE"),
        ("limit.tasks_max=1", "--set limit.tasks_max=1: [limit] is unknown; did you mean ["),
        ("limits.tasks=1", "--set limits.tasks=1: limits.tasks is unknown; did you mean tasks"),
        ("limits.tasks_max=x", "--set limits.tasks_max=x: limits.tasks_max is 'x'; use a"),
        ("limits.tasks_max=0", "--set limits.tasks_max=0: limit tasks_max is 0; use a number"),
        ("limits.tasks_max=", "--set limits.tasks_max=: limits.tasks_max is ''; use a whole"),
        ("device.insecure=yes", "--set device.insecure=yes: device.insecure is 'yes'; use"),
        ("device.kind=broker", "--set device.kind=broker: device.kind is 'broker'; use"),
        ("journal.path=", "--set journal.path=: journal.path is ''; use text in quotes"),
        ("frontend.bind=x", "--set frontend.bind=x: 'x' "),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_quoted(file: Path, setting: str, answer: str) -> None:
    file.write_text(HEAD)
    assert said(file, setting).startswith(answer)


def test_a_wrong_name_is_that_of_the_command_line(file: Path) -> None:
    file.write_text(HEAD)
    assert said(file, name="a/b").startswith("--name: name 'a/b' must not contain '/'")


@pytest.mark.parametrize(
    ("make", "answer"),
    [
        (lambda file: None, "FILE: no such file or directory"),
        (lambda file: file.mkdir(), "FILE: is a directory"),
        (lambda file: file.write_bytes(b"\xff\xfe"), "FILE: it is no text; a device file is"),
    ],
)
def test_what_is_no_text_is_named(
    file: Path, make: Callable[[Path], None], answer: str
) -> None:
    make(file)
    assert said(file).startswith(answer)
