"""Rules about the name that the user looks for, and about whoever discovery told of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches

from zmqkit.core.membership.elsewhere import how_to_enter, refusal
from zmqkit.doctor.answers import unanswered
from zmqkit.doctor.facts import Asked, Facts, Instance, Outcome, Program
from zmqkit.doctor.findings import Finding, error
from zmqkit.model import Address, Reach, kind_of, kinds_of, space_shown

USE = {
    "service": "zmqkit.Client or `zmqkit call`",
    "publisher": "zmqkit.Subscriber or `zmqkit sub`",
    "worker": "zmqkit.Pusher or `zmqkit push`",
    "sink": 'zmqkit.Pusher with results="sink"',
    "majordomo": "zmqkit.Service with via=",
}
_START = {
    "service": "zmqkit serve MODULE --name {name}",
    "publisher": "zmqkit pub {name} TOPIC VALUE",
    "worker": "zmqkit work {name} -- COMMAND",
    "sink": "zmqkit sink {name}",
}
_ANY_ROLE = 'a program with zmqkit.Service("{name}"), or another role of that name'
_SHOWN_MAX = 5
"""So many roles, names or processes are told of as evidence."""
_OPEN = "ZMQKIT_INSECURE=1, insecure=True or --insecure"


def of_role(facts: Facts) -> list[Instance]:
    """Return the instances of the wanted name that are of use as the wanted role."""
    found = facts.instances
    return [
        each for each in found if not facts.role or facts.role in kinds_of(each.record.role)
    ]


def other_role(facts: Facts) -> Iterator[Finding]:
    """The name is there, with another role behind it."""
    if not (facts.name and facts.role) or of_role(facts) or not facts.instances:
        return
    theirs = sorted({kind_of(each.record.role) for each in facts.instances})
    kinds = " and a ".join(theirs)
    yield error(
        "name-of-another-role",
        f"a {kinds} is called {facts.name!r}, and no {facts.role}",
        tuple(_told(each) for each in facts.instances[:_SHOWN_MAX]),
        f"use {USE.get(theirs[0], 'another name')}; or start a {facts.role}: "
        f"{_START.get(facts.role, _ANY_ROLE).format(name=facts.name)}",
    )


def other_space(facts: Facts) -> Iterator[Finding]:
    """The name is there, in another space, or who answers at an address is in another one."""
    ours = facts.side.space
    asked = [*facts.side.asked, *([facts.at_url] if facts.at_url is not None else [])]
    for each in asked:
        if each.outcome is Outcome.ANSWERED and each.space != ours:
            yield error(
                "process-in-another-space",
                refusal(str(each.address), each.space, ours),
                (),
                how_to_enter(each.space),
            )
    if facts.instances or not facts.apart:
        return
    there = facts.apart[0].space
    yield error(
        "name-in-another-space",
        f"{facts.name!r} is in {space_shown(there)}, and this side is in "
        f"{space_shown(facts.side.space)}: roles of different spaces do not see each other",
        [
            f"{each.role} {each.label} in {space_shown(each.space)}, port {each.port}"
            for each in facts.apart[:_SHOWN_MAX]
        ],
        how_to_enter(there),
    )


def versions(facts: Facts) -> Iterator[Finding]:
    """An announcement that cannot be read is of another version, or nobody's."""
    for each in facts.unreadable:
        name, _, _ = each.label.rpartition("-")
        if each.reason.startswith("txtvers") and facts.name in ("", name):
            yield error(
                "versions-apart",
                f"{each.label} announces itself in a version that this zmqkit does not know",
                (
                    each.reason,
                    *(f"here: {name} {number}" for name, number in facts.side.packages),
                ),
                "install the same version of zmqkit on both machines: pip install -U zmqkit",
            )


def this_side(facts: Facts) -> Iterator[Finding]:
    """The other side is on the network, and this side may not leave this machine."""
    found = of_role(facts)
    if not facts.name or facts.side.insecure or not found:
        return
    if all(not each.is_here for each in found):
        yield error(
            "this-side-local-only",
            f"{facts.name!r} is on another machine, and this side may not leave this one",
            (
                *map(_told, found[:_SHOWN_MAX]),
                "ZMQKIT_INSECURE is not set here, and --insecure not given",
            ),
            f"{_OPEN} for the program here too; what it says is plain text then",
        )


def other_side(facts: Facts) -> Iterator[Finding]:
    """This side is open to the network, and whoever has the name serves its machine alone."""
    found = of_role(facts)
    if not facts.name or not facts.side.insecure or not found:
        return
    if not any(each.is_open for each in found):
        yield error(
            "other-side-local-only",
            f"{facts.name!r} on this machine is open to this machine only, so no other one "
            "sees it",
            tuple(map(_told, found[:_SHOWN_MAX])),
            f"{_OPEN} for the program that has {facts.name!r}; it then listens on the network, "
            "in plain text",
        )


def unanswering(facts: Facts) -> Iterator[Finding]:
    """Whoever is announced has to answer, at an address and at its role's own port.

    The roles of one process fail together, so they are one finding.
    """
    places: dict[tuple[Address, Outcome], tuple[Asked, list[Instance]]] = {}
    for each in of_role(facts):
        asked = _worst(each)
        if asked is not None:
            _, theirs = places.setdefault((asked.address, asked.outcome), (asked, []))
            theirs.append(each)
    for asked, theirs in places.values():
        pid = next((each.pid for each in theirs if each.pid), 0)
        here = [f"process {pid} on this machine"] if pid else []
        finding = unanswered(asked, _whom(asked, theirs), *here, *_counted(theirs))
        if finding is not None:
            remedy = finding.remedy.replace("PID", str(pid)) if pid else finding.remedy
            yield replace(finding, remedy=remedy)


def stuck(facts: Facts) -> Iterator[Finding]:
    """A process that is stuck answers discovery no more than anything else: nobody hears of it.

    On its own machine it is seen all the same: it has ports, and none of them answers. Which
    names it has is not seen. So if a name is looked for, those are told of whose command has
    that name; if there are none, and nobody else has the name, each of them may be the one.
    """
    seen = [
        (each, asked) for each in facts.machine.programs if (asked := _stuck_at(each, facts))
    ]
    named = [each for each in seen if _has_word(each[0].command, facts.name)]
    if facts.name and not named:
        if seen and _is_missing(facts):
            yield _one_of(seen, facts)
        return
    for program, asked in named:
        whom = f"process {program.pid} on this machine, `{program.command}`,"
        finding = unanswered(asked, whom, f"the system says that it is {program.state}")
        if finding is not None:
            yield replace(finding, remedy=finding.remedy.replace("PID", str(program.pid)))


def _stuck_at(program: Program, facts: Facts) -> Asked | None:
    """Return what shows that a process is stuck that nobody told of; None if it is not."""
    if any(each.control and each.pid == program.pid for each in facts.instances):
        return None
    # A port may be bound at another address than the one at which it was asked.
    taken = [asked for asked in program.asked if asked.outcome is not Outcome.REFUSED]
    return taken[0] if taken and not {each.outcome for each in taken} - _STUCK else None


def _has_word(command: str, name: str) -> bool:
    """Whether a command line has a name as a word of its own; each has the empty name."""
    return not name or bool(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", command))


def _one_of(seen: list[tuple[Program, Asked]], facts: Facts) -> Finding:
    """Return that a name is missed, and that these processes are stuck, stopped ones first."""
    seen = sorted(seen, key=lambda each: each[1].outcome is not Outcome.STOPPED)
    found = [unanswered(asked, "it") for _, asked in seen]
    remedies = dict.fromkeys(each.remedy for each in found if each is not None)
    start = _START.get(facts.role, _ANY_ROLE).format(name=facts.name)
    is_one = len(seen) == 1
    who = "a process is" if is_one else f"{len(seen)} processes are"
    may = "which" if is_one else "one of which"
    mend = "; or: ".join(remedies)
    remedy = f"for the one that has the name: {mend}; if none has it, start it: {start}"
    return error(
        "stuck-instance",
        f"nobody who answers is called {facts.name!r}, and {who} stuck on this machine, {may} "
        "may have that name",
        [
            f"process {each.pid}, `{each.command}`, is {each.state}; at {asked.address}: "
            f"{asked.detail or asked.outcome.value}"
            for each, asked in seen[:_SHOWN_MAX]
        ],
        remedy.replace("PID", str(seen[0][0].pid)) if is_one else remedy,
    )


def at_url(facts: Facts) -> Iterator[Finding]:
    """Where the user's URL leads somebody has to answer."""
    if facts.at_url is not None:
        finding = unanswered(facts.at_url, f"tcp://{facts.at_url.address}")
        if finding is not None:
            yield finding


def nobody(facts: Facts) -> Iterator[Finding]:
    """Return that nobody has the name, when nothing else is wrong."""
    if not _is_missing(facts):
        return
    near = get_close_matches(facts.name, facts.names, 3)
    role = facts.role or "role"
    remedies = [f"start it: {_START.get(facts.role, _ANY_ROLE).format(name=facts.name)}"]
    if not facts.side.insecure:
        remedies.append(
            f"or ask brokers on the network, too: zmqkit doctor {facts.name} --insecure"
        )
    if facts.probed is None:
        remedies.append(
            "or, if it runs on another machine, there: zmqkit doctor listen, and here: zmqkit "
            f"doctor probe HOST {facts.name}"
        )
    yield error(
        "nobody-has-the-name",
        f"no {role} is called {facts.name!r}: it does not run, or it runs on another machine "
        "and is not open, or multicast does not pass from there",
        (
            f"nobody announced that name in {facts.listened_s:g} s",
            *([f"perhaps mistyped: there is {', '.join(map(repr, near))}"] if near else []),
        ),
        "; ".join(remedies),
    )


def _is_missing(facts: Facts) -> bool:
    """Whether a name was looked for, and nobody in any role was found to have it."""
    there = facts.probed is not None and (facts.probed.name_open or facts.probed.name_local)
    return bool(facts.name) and not (facts.instances or facts.at_url is not None or there)


RULES = (other_role, other_space, versions, this_side, other_side, unanswering, stuck, at_url)


def _worst(instance: Instance) -> Asked | None:
    """Return the answer that shows what is wrong with an instance, or None if nothing is."""
    if any(each.outcome is Outcome.ANSWERED for each in instance.control):
        return instance.data
    return max(instance.control, key=lambda each: _TELLING.index(each.outcome), default=None)


_STUCK = {Outcome.STOPPED, Outcome.SILENT}
_TELLING = (
    Outcome.ANSWERED, Outcome.UNREACHABLE, Outcome.TIMED_OUT, Outcome.REFUSED, Outcome.FOREIGN,
    Outcome.STOPPED, Outcome.SILENT, Outcome.VERSION,
)  # fmt: skip
"""Outcomes, the one last that says most about the process behind several addresses."""


def _whom(asked: Asked, theirs: list[Instance]) -> str:
    """Return which roles were asked there, for the beginning of a sentence."""
    record, others = theirs[0].record, len(theirs) - 1
    if not others:
        return f"{record.role} {record.label} at {asked.address}"
    more = f"{others:,} other {'role' if others == 1 else 'roles'}"
    return f"the process of {record.role} {record.label} and {more} at {asked.address}"


def _counted(theirs: list[Instance]) -> list[str]:
    """Return how many roles and names that concerns, if it is more than one role."""
    if len(theirs) == 1:
        return []
    names = sorted({each.record.name for each in theirs})
    shown = ", ".join(map(repr, names[:_SHOWN_MAX])) + (", …" if names[_SHOWN_MAX:] else "")
    count = "1 name" if len(names) == 1 else f"{len(names):,} names"
    return [f"{len(theirs):,} roles there, of {count}: {shown}"]


def _told(instance: Instance) -> str:
    record = instance.record
    where = "on this machine" if instance.is_here else f"at {', '.join(record.addresses)}"
    reach = Reach.PLAIN if instance.is_open else Reach.LOCAL
    words = "open to the network" if reach is Reach.PLAIN else "for its own machine only"
    return f"{record.role} {record.label} {where}, port {record.port}, {words}"
