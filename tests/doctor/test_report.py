"""What is shown: a few lines where all is well, and evidence and a remedy where it is not."""

from __future__ import annotations

import json
from dataclasses import replace

from tests.doctor.healthy import HEALTHY, MACHINE, OPEN, SIDE
from zmqkit.doctor.facts import Unusable
from zmqkit.doctor.report import as_object, lines
from zmqkit.doctor.rules import diagnose


def test_where_nothing_is_wrong_it_says_what_it_looked_at() -> None:
    assert lines(HEALTHY, []) == [
        "looked at: interfaces lo, eth0, docker0, tun0; the way out by eth0; room for 1,024 "
        "descriptors; the disk under 1 journal; 1 static peer",
        "heard in 1 s by multicast, here and on the network: 1 role called 'orders'; the "
        "doctor connects to roles on this machine and on others",
        "service orders-0000000a: answers, open to the network, told by mdns:lan; use "
        "zmqkit.Client or `zmqkit call`",
        "10.0.0.6 answers in 0 ms; from here to there multicast passes and 1 of 1 ports let "
        "in; from there to here multicast passes and 1 of 1 ports let in",
        "nothing is wrong",
    ]


def test_whom_it_heard_and_whom_it_asked_is_one_sentence() -> None:
    facts = replace(HEALTHY, instances=(), probed=None, side=replace(SIDE, insecure=False))
    shown = lines(facts, diagnose(facts))
    assert shown[1] == (
        "heard in 1 s by multicast, here and on the network: 0 roles called 'orders'; the "
        "doctor connects to roles on this machine only; with --insecure also to others"
    )
    assert not any("on the network" in each for each in shown[2:] if "seen: " in each)


def test_it_does_not_say_what_it_heard_where_it_did_not_listen() -> None:
    shown = lines(replace(HEALTHY, listened_s=0.0, name="", probed=None), [])
    assert len(shown) == 2 and shown[1] == "nothing is wrong"


def test_a_finding_is_shown_with_its_evidence_and_remedy() -> None:
    facts = replace(HEALTHY, machine=replace(MACHINE, port_error="in use (EADDRINUSE)"))
    shown = lines(facts, diagnose(facts))[-3:]
    assert shown[0].startswith("error: mdns-port-taken: a program of another user has UDP port")
    assert shown[1] == "    seen: binding UDP port 5353: in use (EADDRINUSE)"
    assert shown[2].startswith("    remedy: end that program")


def test_announcements_that_cannot_be_read_are_told() -> None:
    garbled = Unusable("tea-0000000a", "key 'inc' is missing")
    shown = lines(replace(HEALTHY, unreadable=(garbled,)), [])
    told = "passed over: tea-0000000a is announced and cannot be read: key 'inc' is missing"
    assert told in shown


def test_one_object_has_all_of_it() -> None:
    facts = replace(HEALTHY, instances=(OPEN, replace(OPEN, control=())))
    told = json.loads(json.dumps(as_object(facts, diagnose(facts)), allow_nan=False))
    assert told["findings"] == []
    assert told["facts"]["machine"]["interfaces"][1]["addresses"][0] == "10.0.0.5/24"
    assert told["facts"]["instances"][0]["control"][0]["address"] == "10.0.0.6:5601"
    assert told["facts"]["instances"][0]["control"][0]["outcome"] == "answered"
