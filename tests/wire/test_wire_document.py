"""The examples of docs/wire.md are what they say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from zmqkit.core.calls.outcome import (
    BAD_ARGUMENTS,
    BUSY,
    CANCELLED,
    DEAD,
    DISCARD,
    EXPIRED,
    FAILED,
    FORGOTTEN,
    LEAVING,
    NO_METHOD,
    RAISED,
    RECALLED,
    RETRY,
    UNKNOWN,
)
from zmqkit.core.membership.directory import read_directory, read_registration
from zmqkit.core.membership.exchange import rows_of
from zmqkit.core.tasks.lease import STREAMER, TASK, Policy, policy_of
from zmqkit.limits import (
    ATTEMPTS,
    ATTEMPTS_MAX,
    BACKOFF_S,
    BACKOFF_S_MAX,
    COMPRESS_BYTES_MIN,
    CREDIT,
    PLACES_MAX,
    PROCESSES_MAX,
    PROGRESS_BYTES_MAX,
    STREAM_BYTES,
    STREAM_ITEMS,
    TIMEOUT_S_MAX,
    WAITING_CALLS_MAX,
    ClientLimits,
    ServiceLimits,
)
from zmqkit.model import LOOPBACK
from zmqkit.wire import announcement, history, statistics, tapping
from zmqkit.wire import packet as wire
from zmqkit.wire.compression import decompress
from zmqkit.wire.encoding import encode
from zmqkit.wire.publication import TALK
from zmqkit.wire.rows import (
    arguments_of,
    read_ends,
    read_errors,
    read_grants,
    read_items,
    read_replies,
    read_requests,
    read_streams,
)

DOCUMENT = (Path(__file__).parents[2] / "docs" / "wire.md").read_text()
PAIRS = re.findall(r"```hex\n(.*?)```\n```json\n(.*?)```", DOCUMENT, re.DOTALL)
KINDS = {
    name: getattr(wire, name)
    for name in (
        "HELLO", "WELCOME", "PING", "PONG", "BYE", "STATISTICS", "FIGURES", "TAP", "TAPPED",
        "REQUEST", "REPLY", "ERROR", "NOTIFY", "CANCEL", "RECALL",
        "PUBLISH", "MARK", "CREDIT", "RECOVER", "HEADS", "HISTORY", "CLEAR",
        "ACCEPT", "PROGRESS", "READY",
        "STREAM", "ITEM", "END", "GRANT",
    )
}  # fmt: skip
ROWS = {
    wire.REQUEST: read_requests, wire.NOTIFY: read_requests, wire.REPLY: read_replies,
    wire.ERROR: read_errors, wire.STREAM: read_streams, wire.ITEM: read_items,
    wire.END: read_ends, wire.GRANT: read_grants, wire.RECOVER: history.read_ask,
    wire.HISTORY: history.read_page, wire.STATISTICS: statistics.read_question,
    wire.FIGURES: statistics.read_answer, wire.TAP: tapping.read_question,
    wire.TAPPED: tapping.read_answer,
}  # fmt: skip


@pytest.mark.parametrize(
    ("dump", "text"), PAIRS, ids=[json.loads(text)["kind"] for _, text in PAIRS]
)
def test_an_example_is_read_and_written_as_it_stands(dump: str, text: str) -> None:
    frames = tuple(bytes.fromhex(frame) for frame in dump.split("\n\n"))
    said = json.loads(text, object_hook=plain)
    raw = bytes.fromhex(said["raw"]) if "raw" in said else None
    source, target = int(said["source"], 16), int(said["target"], 16)
    kind, settled = KINDS[said["kind"]], said["settled"]
    before = bytes.fromhex(said.get("before", ""))
    assert frames[0].startswith(before)
    packet = wire.unpack(frames, len(before), may_mix=True)
    mixed = said.get("mixed", False)
    meta = b"" if kind in (wire.PUBLISH, wire.CLEAR) else encode(said["meta"])
    in_one = kind in (wire.PUBLISH, wire.HISTORY)
    rows = encode(said["rows"]) if in_one else b""
    if not in_one and "rows" in said:
        rows = b"".join(map(encode, said["rows"]))
    assert packet == wire.Packet(
        kind, source, target, settled, said["meta"], rows, packet.raw, is_mixed=mixed
    )
    assert packet.raw == raw
    assert bool(frames[0][len(before) + 5] & wire.LZ4) == said.get("lz4", False)
    if "lz4" not in said:
        [head, *rest] = wire.pack(
            kind, source, target, settled, meta, rows, raw, is_mixed=mixed
        )
        assert (before + head, *rest) == frames
    else:  # lz4 may find another block one day
        assert decompress(frames[0][wire.HEADER.size :]) == meta + rows
    if kind in ROWS:
        assert ROWS[kind](packet)
    if kind == wire.HEADS:
        assert (history.read_heads_ask if before == TALK else history.read_heads)(packet)
    if kind == wire.PROGRESS:
        assert wire.progress_of(packet) == tuple(said["meta"])
    if kind in (wire.REQUEST, wire.NOTIFY):
        assert None not in arguments_of(read_requests(packet)[1])
    if kind == wire.WELCOME and "process" in said["meta"]:
        assert read_directory(packet).process == source
    if kind == wire.WELCOME and TASK in said["meta"]:
        assert policy_of(said["meta"][TASK]) == declared(**said["meta"][TASK])
    if kind == wire.HELLO and "places" in said["meta"]:
        told = read_registration(packet)
        assert told is not None and rows_of(told.addresses) == said["meta"]["places"]


def plain(value: dict[str, Any]) -> Any:
    """The bytes that an object of JSON stands for, or the object."""
    return bytes.fromhex(value["bytes"]) if value.keys() == {"bytes"} else value


def declared(device: str = "", **said: Any) -> Policy:
    return Policy(**said, is_streamer=device == STREAMER)


def test_every_example_has_its_explanation() -> None:
    assert len(PAIRS) == DOCUMENT.count("```hex") == DOCUMENT.count("```json") == 64


def test_every_kind_has_an_example_and_a_row() -> None:
    assert {json.loads(text)["kind"] for _, text in PAIRS} == set(KINDS)
    assert set(KINDS.values()) == wire.KINDS
    rows = re.findall(r"^\| (\d+) \| ([A-Z]+) \|", DOCUMENT, re.MULTILINE)
    assert {name: int(number) for number, name in rows} == KINDS


def test_no_kind_of_ours_is_among_the_reserved() -> None:
    reserved = re.findall(r"^\| (\d+)–(\d+) \| reserved", DOCUMENT, re.MULTILINE)
    numbers = {n for low, high in reserved for n in range(int(low), int(high) + 1)}
    assert numbers == set(range(16, 64)) - wire.KINDS


def test_the_header_is_as_the_table_says() -> None:
    rows = re.findall(r"^\| (\d+) \| (\d+) \| ([a-z ]+) \|", DOCUMENT, re.MULTILINE)
    ends = [int(offset) + int(size) for offset, size, _ in rows]
    assert [int(offset) for offset, _, _ in rows] == [0, *ends[:-1]]
    assert ends[-1] == wire.HEADER.size


def test_every_code_of_an_error_is_in_the_table() -> None:
    codes = set(re.findall(r"^\| `([a-z-]+)` \| [^|]* \| [^|]* \|$", DOCUMENT, re.MULTILINE))
    assert codes == {
        RAISED, NO_METHOD, BAD_ARGUMENTS, BUSY, LEAVING, RECALLED, EXPIRED, FORGOTTEN,
        RETRY, DISCARD, DEAD, FAILED, CANCELLED, UNKNOWN,
    }  # fmt: skip


def test_limits_are_as_they_stand() -> None:
    service = ServiceLimits()
    calls = (ClientLimits().jobs_max, CREDIT + WAITING_CALLS_MAX, service.requests_max)
    for number in (*calls, service.streams_max, STREAM_ITEMS, STREAM_BYTES):
        assert f"{number:,}" in DOCUMENT
    assert f"at least {COMPRESS_BYTES_MIN} bytes" in DOCUMENT
    assert f"{TIMEOUT_S_MAX * 1000:,.0f} if it does not" in DOCUMENT
    assert f"at most {PROGRESS_BYTES_MAX} bytes as msgpack" in DOCUMENT
    assert f"1 to {ATTEMPTS_MAX}" in DOCUMENT and f"0 to {BACKOFF_S_MAX:.0f}" in DOCUMENT
    assert f"as {ATTEMPTS}, {BACKOFF_S:.0f} and {CREDIT:,}." in DOCUMENT
    assert f"at most {PROCESSES_MAX} rows" in DOCUMENT
    assert f"at most {PLACES_MAX} places" in DOCUMENT


def test_the_announcement_is_read_and_written_as_it_stands() -> None:
    [text] = re.findall(r"```txt\n(.*?)```", DOCUMENT, re.DOTALL)
    head, *lines = text.splitlines()
    label, port = head.split()
    items = dict(line.encode().split(b"=", 1) for line in lines)
    record = announcement.decode(label, items, (LOOPBACK,), int(port))
    assert announcement.instance(record) == label
    assert {k.encode(): v for k, v in announcement.encode(record).items()} == items
