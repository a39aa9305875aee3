"""`python -m zmqkit.simulation --seed N --trace` replays a run and prints its diary.

With `--record FILE` it also writes what each core did, one step a line; see `recording`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

from zmqkit.simulation.recording import Recording, recording
from zmqkit.simulation.simulation import replay, run


def main(arguments: list[str]) -> int:
    """Run one seed, or as many as `--count` says. Return 1 if an invariant broke, else 0."""
    parser = argparse.ArgumentParser(prog="python -m zmqkit.simulation")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--count", type=int, default=1, help="how many seeds")
    parser.add_argument(
        "--tasks", dest="only", action="store_const", const="tasks", default="",
        help="the pipeline only, and more cuts",
    )  # fmt: skip
    parser.add_argument(
        "--brokers", dest="only", action="store_const", const="brokers",
        help="calls only, to services of brokers",
    )  # fmt: skip
    parser.add_argument(
        "--journals", dest="only", action="store_const", const="journals",
        help="as --brokers, whose brokers have journals, and more cuts",
    )  # fmt: skip
    parser.add_argument(
        "--routers", dest="only", action="store_const", const="routers",
        help="calls only, directly and through routers",
    )  # fmt: skip
    parser.add_argument(
        "--topics", dest="only", action="store_const", const="topics",
        help="publish-subscribe only",
    )  # fmt: skip
    parser.add_argument("--trace", action="store_true", help="print the diary")
    parser.add_argument("--record", type=Path, help="a file for what each core did")
    options = parser.parse_args(arguments)
    ends: Counter[str] = Counter()
    failures = 0
    for seed in range(options.seed, options.seed + options.count):
        with recording() if options.record else nullcontext(Recording()) as record:
            result = run(seed, keep=options.trace, only=options.only)
        ends += result.ends
        if options.trace:
            print("\n".join(result.lines))
        if options.record:
            options.record.write_text("".join(json.dumps(step) + "\n" for step in record.steps))
        if result.broken:
            failures += 1
            print(f"seed {seed}: {result.broken}\n    {replay(seed, only=options.only)}")
    print(", ".join(f"{count} {name}" for name, count in sorted(ends.items())))
    print(f"{options.count} seeds, {failures} broken")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
