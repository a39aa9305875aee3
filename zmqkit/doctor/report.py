"""What the doctor says: lines for people, and one object for programs and for a file."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from enum import Enum

from zmqkit.doctor.facts import Facts, Instance, Outcome, Probed
from zmqkit.doctor.findings import Finding
from zmqkit.doctor.names import USE, of_role
from zmqkit.model import Address, kind_of, space_shown

_SHOWN_MAX = 10


def lines(facts: Facts, findings: Sequence[Finding]) -> list[str]:
    """Return what was looked at, what is wrong, and what to do about it."""
    shown = _looked_at(facts)
    if facts.probed is not None:
        shown += _between(facts.probed)
    for each in findings:
        on = f" on {each.where}" if each.where else ""
        shown.append(f"{each.severity.value}: {each.id}{on}: {each.cause}")
        shown += [f"    seen: {text}" for text in each.evidence]
        shown.append(f"    remedy: {each.remedy}")
    if not findings:
        shown.append("nothing is wrong")
    return shown


def _looked_at(facts: Facts) -> list[str]:
    machine = facts.machine
    names = ", ".join(each.name for each in machine.interfaces) or "none"
    about = [f"interfaces {names}"]
    if machine.outward:
        about.append(f"the way out by {machine.outward}")
    if machine.descriptors is not None:
        about.append(f"room for {machine.descriptors.limit:,} descriptors")
    if machine.disks:
        about.append(f"the disk under {_count(len(machine.disks), 'journal')}")
    if facts.side.space:
        about.append(space_shown(facts.side.space))
    if facts.side.peers:
        about.append(_count(len(facts.side.peers), "static peer"))
    reach = (
        "on this machine and on others"
        if facts.side.insecure
        else "on this machine only; with --insecure also to others"
    )
    heard = _count(len(facts.instances), "role") + (
        f" called {facts.name!r}" if facts.name else ""
    )
    shown = [f"looked at: {'; '.join(about)}"]
    if facts.listened_s:
        shown.append(
            f"heard in {facts.listened_s:g} s by multicast, here and on the network: {heard}; "
            f"the doctor connects to roles {reach}"
        )
    shown += [
        f"passed over: {each.label} is announced and cannot be read: {each.reason}"
        for each in facts.unreadable[:_SHOWN_MAX]
    ]
    if facts.name:
        shown += [_told(each) for each in of_role(facts)[:_SHOWN_MAX]]
    return shown


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _told(each: Instance) -> str:
    record = each.record
    answers = [asked for asked in each.control if asked.outcome is Outcome.ANSWERED]
    state = "does not answer" if each.control else "was not asked"
    if answers:
        state = f"answers in {answers[0].ms:g} ms" if answers[0].ms else "answers"
    reach = "open to the network" if each.is_open else "for its own machine only"
    told = f", told by {', '.join(each.sources)}" if each.sources else ""
    use = USE.get(kind_of(record.role), "")
    return f"{record.role} {record.label}: {state}, {reach}{told}" + (
        f"; use {use}" if use else ""
    )


def _between(probed: Probed) -> list[str]:
    words = {True: "passes", False: "does not pass", None: "was not tried"}
    if probed.talk.outcome is not Outcome.ANSWERED:
        return [f"{probed.host}: {probed.talk.detail or probed.talk.outcome.value}"]
    out = sum(each.outcome is Outcome.ANSWERED for each in probed.ports_out)
    into = sum(said == Outcome.ANSWERED.value for _, said in probed.ports_in)
    return [
        f"{probed.host} answers in {probed.talk.ms:g} ms; from here to there multicast "
        f"{words[probed.multicast_out]} and {out} of {len(probed.ports_out)} ports let in; "
        f"from there to here multicast {words[probed.multicast_in]} and {into} of "
        f"{len(probed.ports_in)} ports let in",
    ]


def as_object(facts: Facts, findings: Sequence[Finding]) -> dict[str, object]:
    """Return all of it as values that JSON has."""
    return {
        "findings": [_plain(asdict(each)) for each in findings],
        "system": f"{platform.platform()}, Python {sys.version.split()[0]}",
        "facts": _plain(asdict(facts)),
    }


def _plain(value: object) -> object:
    """Return a value with lists, texts and numbers in place of what JSON does not have."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Address):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, frozenset):
        return sorted(value)
    return value
