"""Which rule of nftables drops a packet, as far as its rules tell, and how to let it pass.

The rules are read only as root, and only a bounded time and size of them. A packet meets the
chains of its hook, and the chains to which their rules jump. A rule whose conditions cannot be
judged here counts if it drops, and not if it accepts: the packet is known to be dropped.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

RULES_S = 2.0
RULES_BYTES_MAX = 4 << 20
_JUMPS_MAX = 16
_VERDICTS = ("accept", "drop", "reject", "jump", "goto", "return")

Rules = list[dict[str, Any]]
"""What `nft -j list ruleset` says: tables, chains and rules."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Packet:
    """A packet that came to nothing."""

    protocol: str  # `udp` or `tcp`
    port: int  # where it was to go
    interface: str = ""  # empty where that is not known
    hook: str = "input"  # or `output`, for one that was to leave


@dataclass(slots=True, frozen=True, kw_only=True)
class Culprit:
    """What drops a packet: a rule, or the policy of a chain."""

    packet: Packet
    chain: str  # its family, its table and its own name
    handle: int = 0  # of the rule; 0 for the policy
    # Whether the rule is for that port alone, and does nothing else than to drop it.
    is_for_it_alone: bool = False

    @property
    def place(self) -> tuple[str, int, int]:
        """What tells it from others: its chain, its handle, and the port that it drops."""
        return self.chain, self.handle, self.packet.port

    def shown(self) -> str:
        """Return where it is."""
        what = f"rule with handle {self.handle}" if self.handle else "policy"
        way = "comes in at" if self.packet.hook == "input" else "leaves for"
        port = f"{self.packet.protocol.upper()} port {self.packet.port}"
        return f"nft -a list chain {self.chain}: its {what} drops what {way} {port}"

    def remedy(self) -> str:
        """Return the command that lets the packet pass."""
        if self.is_for_it_alone:
            return f"nft delete rule {self.chain} handle {self.handle}"
        verdict = f"{self.packet.protocol} dport {self.packet.port} accept"
        place = f" position {self.handle}" if self.handle else ""
        return f"nft insert rule {self.chain}{place} {verdict}"


def how_to_let_pass(protocol: str, ports: str, found: Iterable[Culprit] = ()) -> str:
    """Return what to do about a firewall: about what was found, if anything was."""
    if commands := [each.remedy() for each in found]:
        return "; ".join(commands)
    places = f"{{ {ports} }}" if "," in ports else ports
    return (
        f"let {protocol.upper()} port {ports} in, before the rule that drops it: where the "
        "table is `inet filter` and its chain `input` (`nft list ruleset` shows them), nft "
        f"insert rule inet filter input {protocol} dport {places} accept"
    )


async def culprits(packets: Iterable[Packet]) -> tuple[Culprit, ...]:
    """Return what drops these packets, each rule once; nothing where that cannot be told."""
    packets = list(packets)
    rules = await ruleset() if packets else []
    found = {each.place: each for p in packets if (each := culprit(rules, p)) is not None}
    return tuple(found.values())


async def ruleset() -> Rules:
    """Return the rules of this machine; none where they cannot be read."""
    program = shutil.which("nft")
    if program is None or os.geteuid() != 0:
        return []
    with suppress(OSError):
        process = await asyncio.create_subprocess_exec(
            program, "-j", "list", "ruleset",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with asyncio.timeout(RULES_S):
                return _read(await _output(process))
        except TimeoutError:
            return []
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return []


async def _output(process: asyncio.subprocess.Process) -> bytes:
    """Return what a program writes, or nothing if that is too much."""
    assert process.stdout is not None
    text = b""
    while part := await process.stdout.read(1 << 16):
        text += part
        if len(text) > RULES_BYTES_MAX:
            return b""
    return text


def _read(text: bytes) -> Rules:
    with suppress(ValueError, RecursionError):
        found = json.loads(text)
        if isinstance(found, dict) and isinstance(items := found.get("nftables"), list):
            return [each for each in items if isinstance(each, dict)]
    return []


def culprit(rules: Rules, packet: Packet) -> Culprit | None:
    """Return what drops a packet, as far as that can be told."""
    with suppress(KeyError, TypeError, ValueError):
        chains = [each["chain"] for each in rules if "chain" in each]
        first = sorted(
            (each for each in chains if _is_met(each, packet)), key=lambda each: each["prio"]
        )
        for chain in first:
            verdict = _walk(rules, chain["family"], chain["table"], chain["name"], packet, 0)
            if isinstance(verdict, Culprit):
                return verdict
            if verdict != "accept" and chain.get("policy") == "drop":
                return Culprit(packet=packet, chain=_name(chain, chain["name"]))
    return None


def _is_met(chain: dict[str, Any], packet: Packet) -> bool:
    hooks = ("prerouting", "input") if packet.hook == "input" else (packet.hook,)
    families = ("inet", "ip", "ip6")
    return chain.get("hook") in hooks and chain["family"] in families


def _walk(
    rules: Rules, family: str, table: str, name: str, packet: Packet, jumps: int
) -> Culprit | str:
    """Return what drops the packet in a chain; else `accept`, or `return` at its end."""
    if jumps > _JUMPS_MAX:
        return "return"
    place = (family, table, name)
    for each in rules:
        rule = each.get("rule")
        if rule is None or (rule["family"], rule["table"], rule["chain"]) != place:
            continue
        judged = [_judge(part, packet) for part in rule["expr"]]
        verdict, target = _verdict(rule["expr"])
        if False in judged:
            continue
        if verdict in ("drop", "reject"):
            return Culprit(
                packet=packet,
                chain=_name(rule, name),
                handle=int(rule["handle"]),
                is_for_it_alone=_is_for_it_alone(rule["expr"], packet),
            )
        if target:
            further = _walk(rules, family, table, target, packet, jumps + 1)
            if isinstance(further, Culprit) or (further == "accept" and None not in judged):
                return further
        elif verdict and None not in judged:
            return verdict
    return "return"


def _verdict(parts: list[dict[str, Any]]) -> tuple[str, str]:
    """Return what a rule does, and to which chain it leads; empty for what it does not."""
    for part in parts:
        for verdict in _VERDICTS:
            if verdict in part:
                to = part[verdict]
                return verdict, str(to["target"]) if verdict in ("jump", "goto") else ""
    return "", ""


def _judge(part: dict[str, Any], packet: Packet) -> bool | None:
    """Return whether a packet meets a part of a rule; None if that cannot be told."""
    match = part.get("match")
    if match is None:
        knows = any(each in part for each in (*_VERDICTS, "counter", "log"))
        return True if knows else None
    value = _value(match["left"], packet)
    if value is None or match["op"] not in ("==", "!=", "in"):
        return None
    if value is False:
        return False
    values = [*_values(match["right"])]
    if any(isinstance(each, str) and each.startswith("@") for each in values):
        return None
    found = any(_has(each, value) for each in values)
    return not found if match["op"] == "!=" else found


def _value(left: dict[str, Any], packet: Packet) -> str | int | bool | None:
    """Return what a packet has where a rule looks.

    None stands for what cannot be told, False for a packet of another protocol.
    """
    if payload := left.get("payload"):
        protocol, field = payload.get("protocol"), payload.get("field")
        if protocol in ("udp", "tcp", "th"):
            if protocol not in ("th", packet.protocol):
                return False
            return packet.port if field == "dport" else None
        return packet.protocol if field in ("protocol", "nexthdr") else None
    if meta := left.get("meta"):
        inward = packet.hook == "input"
        ours = ("iif", "iifname") if inward else ("oif", "oifname")
        key = meta.get("key")
        if key == "l4proto":
            return packet.protocol
        return packet.interface or None if key in ours else None
    return "new" if left.get("ct", {}).get("key") == "state" else None


def _values(right: Any) -> Iterator[Any]:
    """Yield each value that a rule compares with."""
    if isinstance(right, dict) and isinstance(right.get("set"), list):
        right = right["set"]
    yield from right if isinstance(right, list) else [right]


def _has(found: Any, value: str | int) -> bool:
    if isinstance(found, dict) and "range" in found and isinstance(value, int):
        low, high = found["range"]
        return bool(low <= value <= high)
    if isinstance(found, str) and isinstance(value, str) and found.endswith("*"):
        return value.startswith(found[:-1])
    return bool(found == value)


def _is_for_it_alone(parts: list[dict[str, Any]], packet: Packet) -> bool:
    matches = [part["match"] for part in parts if "match" in part]
    return len(matches) == 1 and [*_values(matches[0]["right"])] == [packet.port]


def _name(place: dict[str, Any], chain: str) -> str:
    return f"{place['family']} {place['table']} {chain}"
