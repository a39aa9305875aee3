"""Run every benchmark and print one table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import figures
import foreign
import paired
import zguide
from figures import Message

HERE = Path(__file__).resolve().parent
SCRIPT_S = 600.0
"""How long one script may take."""

RUNS: dict[str, list[str]] = {
    "call_blocking": ["call_blocking.py"],
    "call_blocking_one": ["call_blocking.py", "--pin", "one"],
    "call_asyncio": ["call_asyncio.py"],
    "call_asyncio_one": ["call_asyncio.py", "--pin", "one"],
    "calls_window": ["calls_window.py"],
    "calls_window_async": ["calls_window.py", "--handlers", "async"],
    "threads": ["threads.py"],
    "map": ["mapping.py"],
    "map_blocking": ["mapping.py", "--api", "blocking"],
    "tasks": ["tasks.py"],
    "push": ["tasks.py", "--push"],
    "streamer": ["streamer.py"],
    "majordomo": ["majordomo.py"],
    "majordomo_alone": ["majordomo.py", "--alone"],
    "majordomo_rfc": ["majordomo.py", "--peers", "rfc"],
    "majordomo_rfc_alone": ["majordomo.py", "--peers", "rfc", "--alone"],
    "majordomo_durable": ["majordomo_durable.py"],
    "router": ["router.py"],
    "router_alone": ["router.py", "--alone"],
    "waiting": ["waiting.py"],
    "streamer_durable": ["streamer.py", "--durable"],
    "durable": ["durable.py"],
    "durable_workers": ["durable.py", "--workers", "1"],
    "durable_alone": ["durable.py", "--alone", "journal"],
    "durable_alone_streamer": ["durable.py", "--alone", "streamer"],
    "durable_alone_done": ["durable.py", "--alone", "done"],
    "unequal": ["unequal.py"],
    "spread": ["spread.py"],
    "spread_asyncio": ["spread.py", "--api", "asyncio"],
    "large": ["large.py"],
    "large_copy": ["large.py", "--copy"],
    "publish": ["publish.py"],
    "publish_asyncio": ["publish.py", "--api", "asyncio"],
    "publish_topics": ["publish.py", "--topics", "100"],
    "publish_topics_asyncio": ["publish.py", "--topics", "100", "--api", "asyncio"],
    "publish_1k": ["publish.py", "--size", "1024"],
    "publish_1m": ["publish.py", "--size", "1048576"],
    "publish_each": ["publish.py", "--each"],
    "publish_each_asyncio": ["publish.py", "--each", "--api", "asyncio"],
    "publish_each_uvloop": ["publish.py", "--each", "--api", "asyncio", "--loop", "uvloop"],
    "history": ["history.py"],
    "history_each": ["history.py", "--each"],
    "history_late": ["history.py", "--late"],
    "forwarder": ["forwarder.py"],
    "forwarder_single": ["forwarder.py", "--packet", "1"],
    "forwarder_loop": ["forwarder.py", "--loop"],
    "forwarder_history": ["forwarder.py", "--history"],
    "fan_out": ["fan.py"],
    "fan_in": ["fan.py", "--way", "in"],
    "paused": ["paused.py"],
    "paused_block": ["paused.py", "--policy", "block"],
    "paused_full": ["paused.py", "--full"],
    "contact": ["contact.py"],
    "failover": ["failover.py"],
    "device": ["device.py"],
    "many_peers": ["many_peers.py"],
    "statistics": ["statistics_kept.py"],
    "statistics_alone": ["statistics_kept.py", "--alone"],
    "statistics_read": ["statistics_kept.py", "--read"],
    "import_time": ["import_time.py"],
}
OWN_ROUNDS = {
    "contact",
    "many_peers",
    "import_time",
    "waiting",
    "paused",
    "paused_block",
    "paused_full",
}
"""Scripts whose default number of rounds is their own; `--rounds` leaves it alone."""

ZGUIDE = "zguide"
REFERENCES = {
    "durable": tuple(foreign.NEEDS),
    "durable_workers": ("redis", "huey"),
    "majordomo_alone": (ZGUIDE,),
    "majordomo_rfc": (ZGUIDE,),
    "majordomo_rfc_alone": (ZGUIDE,),
}
"""What scripts compare with, at least one of which has to be there; else they are left out."""

HEADINGS = ["figure", "ours", "against", "reference", "ratio", "target", "stretch"]


def missing(side: str) -> str:
    """Say what a reference lacks on this machine; nothing when it can run."""
    return zguide.missing(zguide.folder()) if side == ZGUIDE else foreign.missing(side)


def measure(name: str, options: argparse.Namespace) -> Message | None:
    """What one script says in its last line, or None when it failed."""
    command = [sys.executable, str(HERE / RUNS[name][0]), *RUNS[name][1:], "--json"]
    if name not in OWN_ROUNDS:
        command += ["--rounds", str(options.rounds)]
    if options.only:
        command += ["--only", options.only]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=SCRIPT_S, text=True)
    except subprocess.TimeoutExpired:
        print(f"{name}: no result within {SCRIPT_S:g} s", file=sys.stderr)
        return None
    if done.returncode:
        print(f"{name}: exit code {done.returncode}", file=sys.stderr)
        return None
    result: Message = json.loads(done.stdout.splitlines()[-1])
    return result


def cells(row: Message) -> list[str]:
    """One row of a result as text."""

    def with_unit(value: float | None) -> str:
        return figures.shown(value) + ("" if value is None else f" {row['unit']}")

    def limit(name: str, met: bool | None) -> str:
        if row[name] is None:
            return ""
        word = {None: "not judged", True: "met", False: "missed"}[met]
        return f"{row['sign']} {row[name]:g} {word}"

    return [
        row["figure"],
        with_unit(row["ours"]),
        row["against"] or "",
        with_unit(row["reference"]) if row["reference"] is not None else "",
        figures.shown(row["ratio"]) if row["against"] else "",
        limit("target", row["met"]),
        limit("stretch", row["stretch_met"]),
    ]


def table(lines: list[list[str]], is_markdown: bool) -> str:
    """The lines under their headings, in columns."""
    columns = zip(HEADINGS, *lines, strict=True)
    widths = [max(3, *map(len, column)) for column in columns]
    rule = ["-" * width for width in widths]
    padded = [
        [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        for line in [HEADINGS, rule, *lines]
    ]
    if is_markdown:
        return "\n".join(f"| {' | '.join(line)} |" for line in padded)
    return "\n".join("  ".join(line).rstrip() for line in padded)


def machine() -> str:
    """Where this was measured, in one line."""
    parts = [f"{os.cpu_count()} processors", platform.system(), platform.release()]
    parts.append(f"Python {platform.python_version()}")
    for package in ("pyzmq", "eclipse-zenoh", "redis", "huey"):
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RUNS)}")
    parser.add_argument("--rounds", type=figures.positive, default=5, help="default 5")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--json", action="store_true", help="print one JSON object per figure")
    parser.add_argument("--only", choices=["ours", "reference"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.names) - set(RUNS):
        parser.error(
            f"no figure named {', '.join(sorted(unknown))}; there are {', '.join(RUNS)}"
        )
    results = []
    for name in options.names or RUNS:
        if name in REFERENCES and all(map(missing, REFERENCES[name])):
            print(f"{name} is left out: there is nothing to compare with", file=sys.stderr)
            continue
        print(f"{name} …", file=sys.stderr, flush=True)
        results.append(measure(name, options))
    done = [result for result in results if result]
    if options.json:
        print("\n".join(json.dumps(result) for result in done))
    else:
        lines = [cells(row) for result in done for row in result["rows"]]
        print(f"{table(lines, options.markdown)}\n\n{machine()}")
    if len(done) < len(results):
        sys.exit(1)


if __name__ == "__main__":
    paired.run(main, {})
