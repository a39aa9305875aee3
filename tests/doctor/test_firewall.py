"""The rule that drops a packet is named, with the command that lets the packet pass."""

from __future__ import annotations

from typing import Any

import pytest

from zmqkit.doctor.firewall import Packet, Rules, culprit, how_to_let_pass

MDNS = Packet(protocol="udp", port=5353, interface="eth0")
DROP, REJECT, ACCEPT, RETURN = ({each: None} for each in ("drop", "reject", "accept", "return"))
CHAIN = {"family": "inet", "table": "fw"}


def chain(name: str, *rules: list[Any], policy: str = "accept", **other: Any) -> Rules:
    """A chain of the hook `input`, whose rules have the handles 1, 2, and so on."""
    hook = {"type": "filter", "hook": "input", "prio": 0, "policy": policy}
    made = [{"chain": {**CHAIN, "name": name, **hook, **other}}]
    for handle, expr in enumerate(rules, 1):
        made.append({"rule": {**CHAIN, "chain": name, "handle": handle, "expr": expr}})
    return made


def match(left: dict[str, Any], right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


def dport(right: Any, protocol: str = "udp", op: str = "==") -> dict[str, Any]:
    return match({"payload": {"protocol": protocol, "field": "dport"}}, right, op)


def meta(key: str, right: Any) -> dict[str, Any]:
    return match({"meta": {"key": key}}, right)


FROM_SOME = match({"payload": {"protocol": "ip", "field": "saddr"}}, "10.0.0.7")
NEW = match({"ct": {"key": "state"}}, ["established", "related"], "in")
INVALID = match({"ct": {"key": "state"}}, "invalid", "in")


@pytest.mark.parametrize(
    "dropping",
    [
        [dport(5353), DROP],
        [dport({"set": [53, {"range": [5300, 5400]}]}), {"counter": {}}, DROP],
        [dport(22, op="!="), DROP],
        [meta("l4proto", {"set": ["tcp", "udp"]}), dport(5353, "th"), REJECT],
        [meta("iifname", "eth*"), {"log": {}}, REJECT],
        [FROM_SOME, DROP],
        [dport("@ports"), DROP],
        [REJECT],
    ],
)
def test_the_rule_that_drops_it_is_found(dropping: list[Any]) -> None:
    rules = chain(
        "in", [meta("iif", "lo"), ACCEPT], [NEW, ACCEPT], [INVALID, DROP],
        [dport(5353, "tcp"), DROP], [dport(5354), DROP], [{"limit": {}}, ACCEPT], dropping,
    )  # fmt: skip
    found = culprit(rules, MDNS)
    assert found is not None and (found.chain, found.handle) == ("inet fw in", 7)


@pytest.mark.parametrize(
    "rules",
    [
        [],
        chain("in"),
        chain("in", [dport(5353), ACCEPT], [DROP]),
        chain("out", [dport(5353), DROP], hook="output"),
        chain("in", [dport(5353), DROP], family="bridge"),
        [{"chain": {"family": "inet"}}],
        [*chain("in", [{"jump": {"target": "in"}}])],
    ],
)
def test_where_nothing_drops_it_nothing_is_named(rules: Rules) -> None:
    assert culprit(rules, MDNS) is None


def test_a_rule_for_that_port_alone_is_deleted_and_another_one_is_preceded() -> None:
    alone = culprit(chain("in", [dport(5353), DROP]), MDNS)
    assert alone is not None
    assert alone.remedy() == "nft delete rule inet fw in handle 1"
    assert alone.shown() == (
        "nft -a list chain inet fw in: its rule with handle 1 drops what comes in at UDP port "
        "5353"
    )
    last = culprit(chain("in", [dport(22, "tcp"), ACCEPT], [REJECT]), MDNS)
    assert last is not None
    assert last.remedy() == "nft insert rule inet fw in position 2 udp dport 5353 accept"
    policy = culprit(chain("in", [dport(22, "tcp"), ACCEPT], policy="drop"), MDNS)
    assert policy is not None and " its policy drops " in policy.shown()
    assert policy.remedy() == "nft insert rule inet fw in udp dport 5353 accept"


def test_chains_are_followed_to_where_they_jump() -> None:
    sub = chain("sub", [dport(5353), RETURN], [DROP], hook="")
    assert culprit(sub + chain("in", [{"jump": {"target": "sub"}}]), MDNS) is None
    found = culprit(sub + chain("in", [{"jump": {"target": "sub"}}]), Packet(
        protocol="tcp", port=5600
    ))  # fmt: skip
    assert found is not None and found.chain == "inet fw sub"
    assert found.remedy() == "nft insert rule inet fw sub position 2 tcp dport 5600 accept"


def test_what_may_not_leave_meets_other_chains() -> None:
    sent = Packet(protocol="udp", port=5353, interface="eth0", hook="output")
    rules = chain("in", [DROP]) + chain("out", [meta("oifname", "eth0"), DROP], hook="output")
    found = culprit(rules, sent)
    assert found is not None and found.chain == "inet fw out"
    assert found.shown().endswith("drops what leaves for UDP port 5353")


def test_where_the_rules_are_unknown_an_example_says_what_it_assumes() -> None:
    said = how_to_let_pass("udp", "5353")
    assert said == (
        "let UDP port 5353 in, before the rule that drops it: where the table is `inet filter` "
        "and its chain `input` (`nft list ruleset` shows them), nft insert rule inet filter "
        "input udp dport 5353 accept"
    )
