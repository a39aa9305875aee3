"""What is said of a name: who has it, for whom, and whether they answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.doctor.healthy import GOOD, HEALTHY, MACHINE, OPEN, RECORD, SHY, SIDE, findings, only
from zmqkit.doctor.facts import Asked, Facts, Instance, Outcome, Program, Unusable
from zmqkit.doctor.look import names_as
from zmqkit.model import Address

HERE = replace(HEALTHY, probed=None)
CLOSED = replace(HERE, side=replace(SIDE, insecure=False, peers=()))
NEWS = replace(OPEN, record=replace(RECORD, role="publisher"), data=None)


def with_(*instances: Instance, of: Facts = HERE) -> Facts:
    """The healthy facts with these instances."""
    return replace(of, instances=instances)


def test_a_name_of_another_role_is_named_with_its_use() -> None:
    found = only(with_(NEWS))
    assert found.id == "name-of-another-role"
    assert found.cause == "a publisher is called 'orders', and no service"
    assert "zmqkit.Subscriber" in found.remedy


def test_a_name_in_another_space_is_told_with_how_to_get_there() -> None:
    there = replace(RECORD, space="live")
    found = only(replace(with_(), apart=(there,)))
    assert found.id == "name-in-another-space"
    assert found.cause.startswith(
        "'orders' is in the space 'live', and this side is in the def"
    )
    assert found.remedy == "set ZMQKIT_SPACE=live, or use space='live'"
    assert findings(replace(with_(OPEN), apart=(there,))) == []


def test_who_answers_in_another_space_is_of_no_use() -> None:
    there = Asked(Address("10.0.0.9", 5555), Outcome.ANSWERED, space="live")
    for facts in (
        replace(with_(OPEN), at_url=there),
        replace(with_(OPEN), side=replace(SIDE, asked=(there,))),
    ):
        found = only(facts)
        assert found.id == "process-in-another-space"
        assert found.cause.startswith("the process at 10.0.0.9:5555 is in the space 'live'")
    same = replace(SIDE, asked=(there,), space="live")
    assert findings(replace(with_(OPEN), side=same)) == []


def test_roles_of_several_kinds_may_share_a_name() -> None:
    assert findings(with_(NEWS, OPEN)) == []
    assert findings(replace(with_(NEWS), role="")) == []


def test_a_device_is_what_it_is_used_as() -> None:
    streamer = replace(NEWS, record=replace(RECORD, role="streamer"))
    assert findings(replace(with_(streamer), role="worker")) == []


def test_one_elsewhere_is_out_of_reach_for_a_side_that_stays_here() -> None:
    found = only(with_(replace(OPEN, control=(), data=None), of=CLOSED))
    assert found.id == "this-side-local-only"
    assert "ZMQKIT_INSECURE=1" in found.remedy


def test_one_here_is_enough_for_a_side_that_stays_here() -> None:
    assert findings(with_(SHY, of=CLOSED)) == []
    assert findings(with_(SHY, replace(OPEN, control=(), data=None), of=CLOSED)) == []


def test_one_that_stays_here_is_no_use_to_an_open_side() -> None:
    assert findings(with_(SHY)) == ["other-side-local-only"]
    assert findings(with_(SHY, OPEN)) == []


def bad(outcome: Outcome, host: str = "10.0.0.6") -> Asked:
    """An answer of the control connection."""
    return Asked(Address(host, 5601), outcome)


@pytest.mark.parametrize(
    ("control", "ids"),
    [
        ((bad(Outcome.TIMED_OUT),), ["port-blocked"]),
        ((bad(Outcome.TIMED_OUT), bad(Outcome.ANSWERED, "10.1.0.6")), []),
        ((bad(Outcome.UNREACHABLE, "10.1.0.6"), bad(Outcome.SILENT)), ["stuck-instance"]),
        ((bad(Outcome.TIMED_OUT), bad(Outcome.VERSION)), ["versions-apart"]),
        ((), []),
    ],
)
def test_one_address_that_answers_is_enough_and_the_most_telling_one_is_named(
    control: tuple[Asked, ...], ids: list[str]
) -> None:
    assert findings(with_(replace(OPEN, control=control, data=None))) == ids


def test_a_process_that_has_ended_is_one_cause_however_many_roles_it_had() -> None:
    gone = replace(OPEN, control=(bad(Outcome.REFUSED),), data=None)
    many = [
        replace(
            gone, record=replace(RECORD, name=f"tea-{number % 7}", incarnation=number << 32)
        )
        for number in range(100)
    ]
    found = only(replace(with_(*many), name="", role=""))
    assert found.id == "nothing-listens"
    assert found.cause.startswith(
        "the process of service tea-0-00000000 and 99 other roles at 10.0.0.6:5601 is an "
    )
    assert found.evidence[-1] == (
        "100 roles there, of 7 names: 'tea-0', 'tea-1', 'tea-2', 'tea-3', 'tea-4', …"
    )
    elsewhere = replace(gone, control=(bad(Outcome.REFUSED, "10.0.0.7"),))
    assert findings(with_(gone, elsewhere)) == ["nothing-listens"] * 2


def test_a_role_that_does_not_answer_is_stuck_though_its_process_answers() -> None:
    held = Asked(Address("10.0.0.6", 5555), Outcome.SILENT)
    found = only(with_(replace(OPEN, data=held, pid=4711)))
    assert found.id == "stuck-instance"
    assert "orders-0000000a" in found.cause and "--pid 4711" in found.remedy


def test_a_process_here_that_answers_nowhere_is_stuck_though_nobody_heard_of_it() -> None:
    stopped = Asked(Address("127.0.0.1", 5601), Outcome.STOPPED)
    bound_elsewhere = Asked(Address("127.0.0.1", 5602), Outcome.REFUSED)
    asked = (bound_elsewhere, stopped)
    program = Program(pid=4711, command="python shop.py", state="stopped", asked=asked)
    facts = replace(with_(), machine=replace(MACHINE, programs=(program,)))
    found = only(facts)
    assert found.id == "stuck-instance"
    assert "'orders'" in found.cause and "may have that name" in found.cause
    assert "kill -CONT 4711" in found.remedy and "stopped" in found.evidence[0]
    publishes_too = replace(program, asked=(*asked, GOOD))
    facts = replace(facts, name="", machine=replace(MACHINE, programs=(publishes_too,)))
    assert findings(facts) == []


STOPPED = Program(pid=1, command="zmqkit serve a.py --name orders", state="stopped",
                  asked=(bad(Outcome.STOPPED, "127.0.0.1"),))  # fmt: skip
BUSY = Program(pid=2, command="python reorders.py", state="running",
               asked=(bad(Outcome.SILENT, "127.0.0.1"),))  # fmt: skip


def test_of_processes_that_are_stuck_the_one_with_the_name_is_told_of() -> None:
    facts = replace(with_(), machine=replace(MACHINE, programs=(BUSY, STOPPED)))
    assert only(facts).cause.startswith("process 1 on this machine, `zmqkit serve a.py ")
    assert findings(replace(facts, name="", role="")) == ["stuck-instance"] * 2


def test_where_no_command_has_the_name_all_that_are_stuck_are_one_guess() -> None:
    unnamed = replace(STOPPED, command="python shop.py")
    facts = replace(with_(), machine=replace(MACHINE, programs=(BUSY, unnamed)))
    found = only(facts)
    assert found.id == "stuck-instance"
    assert found.cause.endswith(
        "2 processes are stuck on this machine, one of which may have that name"
    )
    assert [each.split(",")[0] for each in found.evidence] == ["process 1", "process 2"]
    assert "zmqkit serve MODULE --name orders" in found.remedy


def test_a_process_that_is_stuck_is_no_matter_for_a_name_that_answers() -> None:
    strangers = replace(MACHINE, programs=(BUSY, replace(STOPPED, command="python shop.py")))
    assert findings(replace(with_(OPEN), machine=strangers)) == []
    assert findings(replace(with_(NEWS), machine=strangers)) == ["name-of-another-role"]


def test_an_announcement_of_another_version_is_named() -> None:
    unreadable = (Unusable("orders-0000000a", "txtvers is b'2', not b'1'"),)
    assert findings(replace(with_(), unreadable=unreadable)) == ["versions-apart"]
    tea = replace(with_(), name="tea", unreadable=unreadable)
    assert findings(tea) == ["nobody-has-the-name"]


def test_a_name_that_nobody_has_is_the_cause_only_where_nothing_else_is() -> None:
    assert findings(with_()) == ["nobody-has-the-name"]
    taken = replace(MACHINE, port_error="address already in use")
    assert findings(replace(with_(), machine=taken)) == ["mdns-port-taken"]


def test_a_name_that_is_mistyped_is_answered_with_those_like_it() -> None:
    found = only(replace(HERE, name="order", instances=(), names=("orders", "tea")))
    assert "perhaps mistyped: there is 'orders'" in found.evidence
    records = [RECORD, replace(RECORD, role="publisher", name="order")]
    assert names_as("service", records) == ("orders",)
    assert names_as("", records) == ("order", "orders")


def test_a_url_is_asked_as_it_is() -> None:
    facts = replace(HERE, name="", at_url=bad(Outcome.REFUSED))
    assert findings(facts) == ["nothing-listens"]
    assert findings(replace(facts, at_url=GOOD)) == []
