"""Device files: what they say, and what each mistake in one is answered with."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from zmqkit.device.files import find
from zmqkit.device.kinds import KINDS, Spec
from zmqkit.device.place import HealthPlace
from zmqkit.device.spec import read_spec
from zmqkit.device_limits import RouterLimits
from zmqkit.errors import ConfigError
from zmqkit.limits import PusherLimits
from zmqkit.majordomo_limits import BrokerLimits

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


def limits_of(spec: Spec) -> PusherLimits:
    assert isinstance(spec.limits, PusherLimits)
    return spec.limits


def said(file: Path, *sets: str, name: str | None = None) -> str:
    """What the file, or a setting, is refused with; the file is called FILE."""
    with pytest.raises(ConfigError) as raised:
        read_spec(file, name, sets)
    return str(raised.value).replace(str(file), "FILE")


def test_a_file_says_everything_that_a_device_is_to_be(file: Path) -> None:
    file.write_text(WHOLE)
    spec = read_spec(file)
    limits = limits_of(spec)
    assert (limits.tasks_max, limits.lease_s) == (1000, 2)
    assert spec == Spec(
        "streamer", "thumbnails", limits, True, "tcp://10.0.0.5:5560", "10.0.0.5",
        "thumbnails.journal",
    )  # fmt: skip


def test_what_a_file_leaves_out_is_left_to_zmqkit(file: Path) -> None:
    file.write_text(HEAD)
    spec = read_spec(file)
    assert spec == Spec("streamer", "thumbnails", spec.limits)
    assert (spec.insecure, spec.bind, spec.journal) == (None, None, None)
    assert limits_of(spec).tasks_max == PusherLimits().tasks_max


def test_the_command_line_has_the_last_word(file: Path) -> None:
    file.write_text(WHOLE)
    sets = ["limits.tasks_max=7", "journal.path = 'a b'", "device.insecure=false",
            "frontend.bind=tcp://127.0.0.1:5561", "limits.lease_s=0.5"]  # fmt: skip
    spec = read_spec(file, "other", [*sets, "limits.tasks_max=8"])
    assert (spec.name, spec.journal, spec.insecure) == ("other", "a b", False)
    assert spec.bind == "tcp://127.0.0.1:5561"
    assert (limits_of(spec).tasks_max, limits_of(spec).lease_s) == (8, 0.5)


@pytest.mark.parametrize(
    ("value", "path"),
    [("007", "007"), ("true", "true"), ('"1=2"', "1=2"), ("C:\\tasks", "C:\\tasks")],
)
def test_text_needs_no_quotes_on_the_command_line(file: Path, value: str, path: str) -> None:
    file.write_text(HEAD)
    assert read_spec(file, None, [f"journal.path={value}"]).journal == path


def test_a_broker_has_limits_of_its_own_and_a_folder_of_journals(file: Path) -> None:
    file.write_text(HEAD.replace("streamer", "majordomo") + "[limits]\nworkers_max = 7\n")
    spec = read_spec(file)
    assert isinstance(spec.limits, BrokerLimits)
    assert spec.limits.workers_max == 7
    assert said(file, "limits.tasks_max=1").endswith(
        "limits.tasks_max is unknown; did you mean requests_max?"
    )
    assert read_spec(file, None, [f"journal.path={file.parent}"]).journal == str(file.parent)
    assert said(file, f"journal.path={file}").endswith(
        "journal.path: FILE is a file; name a folder, which has a file for each service"
    )


def test_a_broker_has_leases_of_services(file: Path) -> None:
    head = HEAD.replace("streamer", "majordomo")
    file.write_text(f'{head}[leases]\nthumbnails = 120\n"a name" = 0.5\n')
    assert read_spec(file, None, ["leases.thumbnails=60", "leases.other=7"]).leases == {
        "thumbnails": 60, "a name": 0.5, "other": 7,
    }  # fmt: skip
    file.write_text(f"{head}[leases]\nthumbnails = 0\n")
    assert said(file) == "FILE:5: leases.thumbnails is 0; use a number from 0.1 on"
    file.write_text(f"{head}[leases]\nthumbnails = 'x'\n")
    assert said(file) == "FILE:5: leases.thumbnails is 'x'; use a number"
    file.write_text(f'{head}[leases]\n"a/b" = 1\n')
    assert said(file).startswith("FILE:4: name 'a/b' must not contain '/'")
    file.write_text(f"{HEAD}[leases]\nthumbnails = 1\n")
    assert said(file).startswith("FILE:5: [leases] is unknown")


def test_the_broker_that_comes_with_zmqkit_is_in_order() -> None:
    spec = read_spec(find("majordomo"), "majordomo")
    limits, defaults = spec.limits, BrokerLimits()
    assert (spec.kind, spec.insecure, spec.bind) == ("majordomo", None, None)
    for limit in ("requests_max", "requests_bytes_max", "worker_credit_max"):
        assert getattr(limits, limit) == getattr(defaults, limit)


def test_a_router_says_which_names_it_passes_on(file: Path) -> None:
    head = HEAD.replace("streamer", "router")
    spec = read_spec(find("router"), "orders")
    assert (spec.kind, spec.name, spec.names, spec.connect) == ("router", "orders", (), ())
    limits, defaults = spec.limits, RouterLimits()
    for limit in ("requests_max", "requests_bytes_max", "service_credit_max"):
        assert getattr(limits, limit) == getattr(defaults, limit)
    file.write_text(f'{head}[backend]\nnames = ["orders", "stock"]\n')
    spec = read_spec(file, sets=['backend.connect=["tcp://10.0.0.7:5555/stock"]'])
    assert spec.names == ("orders", "stock")
    assert spec.connect == ("tcp://10.0.0.7:5555/stock",)


def test_what_is_wrong_with_a_router_s_backend_is_told(file: Path) -> None:
    head = HEAD.replace("streamer", "router")
    file.write_text(f"{head}[backend]\nnames = 'orders'\n")
    assert said(file).endswith('use a list of texts in quotes, such as ["orders"]')
    file.write_text(f"{head}[backend]\nnames = ['a/b']\n")
    assert said(file).startswith("FILE:5: name 'a/b' must not contain '/'")
    file.write_text(f"{head}[backend]\nnames = [1]\n")
    assert said(file) == "FILE:5: backend.names is [1]; use a list of texts in quotes"
    file.write_text(f"{head}[backend]\nnames = ['a', 'b']\nconnect = ['tcp://h:5']\n")
    fault = "FILE:6: 'tcp://h:5' has to end with a name that is passed on: a, b"
    assert said(file) == fault
    file.write_text(f"{head}[backend]\nconnect = ['memory://a']\n")
    assert said(file).startswith("FILE:5: 'memory://a': services are elsewhere; use tcp://")
    file.write_text(f"{HEAD}[backend]\nnames = ['a']\n")
    assert said(file).startswith("FILE:5: backend.names is unknown; there is only connect")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_device_is_made_of_its_file(kind: str, file: Path) -> None:
    file.write_text(HEAD.replace("streamer", kind))
    device = KINDS[kind].make(read_spec(file))
    device.start()
    assert device.endpoint.startswith("tcp://127.0.0.1:")
    assert device.close(1.0) == 0


@pytest.mark.parametrize("device", ["streamer", "streamer-durable"])
def test_the_files_that_come_with_zmqkit_are_in_order(device: str) -> None:
    spec = read_spec(find(device), "thumbnails")
    assert (spec.kind, spec.name, spec.insecure) == ("streamer", "thumbnails", None)
    assert spec.journal == ("tasks.journal" if device == "streamer-durable" else None)
    defaults = PusherLimits()
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
        ("[limits]\nlease_s = nan", "FILE:5: limits.lease_s is nan; use a number from 0 on"),
        ("[limits]\n\ntasks_max = 0", "FILE:6: limits.tasks_max is 0; use a number from 1 on"),
        ("[[limits]]\ntasks_max = 1", "FILE:4: limits is [{'tasks_max': 1}]; use a table"),
        ("[frontend]\nbind = 5560", "FILE:5: frontend.bind is 5560; use text in quotes"),
        ('[frontend]\nbind = "5560"', "FILE:5: '5560' "),
        ('[frontend]\nbind = "memory://x"', "FILE:5: bind='memory://x': a device has a"),
        ('[frontend]\nbind = "tcp://a:1/x"', "FILE:5: bind='tcp://a:1/x' has a name"),
        ('[frontend]\nadvertise = "me"', "FILE:5: advertise='me' is not an IP address; use"),
        ("[journal]\npath = false", "FILE:5: journal.path is False; use text in quotes"),
        ("[journal]\nfile = 'x'", "FILE:5: journal.file is unknown; there is only path"),
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
        ('[device]\nkind = "streamer"', "FILE: it has no device.name; say under which name"),
        ('[device]\nkind = "streamer"\nname = "a/b"', "FILE:3: name 'a/b' must not"),
        ('[device]\nkind = "streamer"\nname = ""', "FILE:3: device.name is ''; use text in"),
        ('kind = "streamer"', "FILE:1: kind outside of a table is unknown; there are [device]"),
        ('device = "streamer"', "FILE:1: device is 'streamer'; use a table, [device]"),
        ('device.kind = "broker"', "FILE:1: device.kind is 'broker'; use 'streamer'"),
        ("\n[device\n", "FILE: no TOML: "),
        ("[device]\nkind = 1\nkind = 2", "FILE: no TOML: "),
        ('[device]\nkind = "streamer"\nname = "x"\nspace = "A"',
         "FILE:4: device.space is 'A'; use 1 to 32 of"),
        ('[device]\nkind = "streamer"\nname = "x"\ninsecure = "yes"',
         "FILE:4: device.insecure is 'yes'; use true or false"),
        ('[device]\nkind = "streamer"\nname = "x"\n[frontend]\nbind = "tcp://0.0.0.0:1"',
         "FILE:5: bind='tcp://0.0.0.0:1' reaches beyond this machine"),
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
        ("limits.tasks_max=0", "--set limits.tasks_max=0: limits.tasks_max is 0; use a number"),
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


def test_values_may_come_from_the_environment(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE", "/var/tmp")
    monkeypatch.setenv("TASKS", "1_000")
    monkeypatch.delenv("UNSET", raising=False)
    file.write_text(
        f'{HEAD}insecure = "${{OPEN:-false}}"\n[journal]\npath = "${{STATE}}/$${{x}}.journal"\n'
        '[limits]\ntasks_max = "${TASKS}"\nlease_s = "${UNSET:-2.5}"\n'
    )
    spec = read_spec(file)
    assert (spec.insecure, spec.journal) == (False, "/var/tmp/${x}.journal")
    assert (limits_of(spec).tasks_max, limits_of(spec).lease_s) == (1000, 2.5)
    monkeypatch.setenv("TASKS", "many")
    assert said(file) == "FILE:8: limits.tasks_max is 'many'; use a whole number"
    monkeypatch.delenv("TASKS")
    assert said(file) == (
        "FILE:8: ${TASKS} is not set; set the variable, or write ${TASKS:-DEFAULT}"
    )
    assert limits_of(read_spec(file, None, ["limits.tasks_max=7"])).tasks_max == 7


def test_each_text_of_a_list_may_name_variables(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAME", "tea")
    file.write_text(
        '[device]\nkind = "router"\nname = "edge"\n[backend]\nnames = ["${NAME}", "bread"]\n'
    )
    assert read_spec(file).names == ("tea", "bread")
    monkeypatch.delenv("NAME")
    assert said(file).startswith("FILE:5: ${NAME} is not set; ")


@pytest.mark.parametrize("text", ["${STATE", "${STATE-/tmp}", "${}", "${STATE:/tmp}", "${A B}"])
def test_a_variable_that_is_mistyped_is_no_text(file: Path, text: str) -> None:
    file.write_text(f'{HEAD}[journal]\npath = "x/{text}"\n')
    assert said(file) == (
        f"FILE:5: {text!r} names no variable; write ${{NAME}} or ${{NAME:-DEFAULT}}, or $${{ "
        "for the characters themselves"
    )


def test_an_option_of_the_command_line_is_named_as_such(file: Path) -> None:
    file.write_text(HEAD)
    with pytest.raises(ConfigError, match=r"^--health nowhere: "):
        read_spec(file, None, (), {"--health nowhere": "health.bind=nowhere"})


def test_a_text_in_place_of_a_list_is_shown_as_one(file: Path) -> None:
    file.write_text('[device]\nkind = "router"\nname = "edge"\n')
    assert said(file, "backend.names=orders") == (
        "--set backend.names=orders: backend.names is 'orders'; use a list of texts in quotes, "
        'such as ["orders"]'
    )


def test_a_file_says_how_long_to_drain_and_where_health_is_told(file: Path) -> None:
    file.write_text(f'{HEAD}drain_s = 2\n[health]\nbind = "tcp://127.0.0.1:9100"\n')
    spec = read_spec(file)
    assert (spec.drain_s, spec.health) == (2, HealthPlace("127.0.0.1", 9100))
    assert read_spec(file, None, ["device.drain_s=0.5"]).drain_s == 0.5
    assert said(file, "device.drain_s=-1") == (
        "--set device.drain_s=-1: device.drain_s is -1; use a number from 0 to 3600"
    )
    assert said(file, "health.bind=tcp://*:9100").startswith(
        "--set health.bind=tcp://*:9100: health at 'tcp://*:9100' reaches beyond this machine"
    )
    open_to_all = read_spec(file, None, ["health.bind=tcp://*:9100", "device.insecure=true"])
    assert open_to_all.health == HealthPlace("", 9100)


FORWARDER = '[device]\nkind = "forwarder"\nname = "weather"\n'


def test_a_forwarder_connects_where_its_file_says(file: Path) -> None:
    file.write_text(
        FORWARDER + '[backend]\nconnect = ["tcp://127.0.0.1:1/w", "tcp://[::1]:2"]\n'
    )
    assert read_spec(file).connect == ("tcp://127.0.0.1:1/w", "tcp://[::1]:2")
    sets = ['backend.connect=["tcp://127.0.0.1:3"]', "limits.stall_s=0.5"]
    spec = read_spec(file, None, sets)
    assert spec.connect == ("tcp://127.0.0.1:3",)
    assert spec.limits == spec.limits and KINDS["forwarder"].more


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('connect = "tcp://127.0.0.1:1"', "use a list of texts in quotes"),
        ("connect = [1]", "use a list of texts in quotes"),
        ('connect = [""]', "use a list of texts in quotes"),
        ('connect = ["weather"]', "'weather' is no address; use tcp://HOST:PORT"),
        ('connect = ["memory://weather"]', "is no address; use tcp://HOST:PORT"),
        ('connect = ["tcp://127.0.0.1"]', "tcp://127.0.0.1"),
        ('connect = ["tcp://127.0.0.1:0"]', "it needs a host and a port"),
        ('conect = ["tcp://127.0.0.1:1"]', "backend.conect is unknown; did you mean connect?"),
    ],
)
def test_what_a_forwarder_cannot_connect_to_is_named(
    file: Path, line: str, reason: str
) -> None:
    file.write_text(f"{FORWARDER}[backend]\n{line}\n")
    assert said(file).startswith("FILE:5: ") and reason in said(file)


def test_a_forwarder_keeps_what_its_file_says(file: Path) -> None:
    file.write_text(FORWARDER)
    assert read_spec(file).history is None
    file.write_text(FORWARDER + "[history]\n")
    kept = read_spec(file).history
    assert kept is not None and (kept.messages, kept.publishers_max) == (1000, 10_000)
    file.write_text(FORWARDER + "[history]\nmessages = 5\nage_s = 60\n")
    kept = read_spec(file, None, ["history.bytes=1000"]).history
    assert kept is not None and (kept.messages, kept.bytes, kept.age_s) == (5, 1000, 60)
    file.write_text(FORWARDER)
    assert read_spec(file, None, ["history.messages=7"]).history is not None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("messages = 0", "history.messages is 0; use a number from 1 on"),
        ("bytes = 1.5", "history.bytes is 1.5; use a whole number"),
        ("topics = 5", "history.topics is unknown; there are messages, bytes"),
    ],
)
def test_what_a_forwarder_cannot_keep_is_named(file: Path, line: str, reason: str) -> None:
    file.write_text(f"{FORWARDER}[history]\n{line}\n")
    assert said(file).startswith("FILE:5: ") and reason in said(file)


def test_other_devices_keep_no_history(file: Path) -> None:
    file.write_text(HEAD + "[history]\n")
    assert "[history] is unknown" in said(file)


def test_a_streamer_connects_to_one_other_streamer(file: Path) -> None:
    file.write_text(HEAD + '[backend]\nconnect = ["tcp://127.0.0.1:1/w"]\n')
    assert read_spec(file).connect == ("tcp://127.0.0.1:1/w",)
    file.write_text(HEAD + '[backend]\nconnect = ["tcp://127.0.0.1:1", "tcp://127.0.0.1:2"]\n')
    assert said(file) == "FILE:5: backend.connect has 2 URLs; a streamer has one"


def test_other_devices_connect_nowhere(file: Path) -> None:
    file.write_text(
        HEAD.replace("streamer", "majordomo") + '[backend]\nconnect = ["tcp://127.0.0.1:1"]\n'
    )
    assert "[backend] is unknown" in said(file)
