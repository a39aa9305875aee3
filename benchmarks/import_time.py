"""What `import zmqkit` adds to the start of a bare interpreter.

Both are timed from outside, from the start of the process to its end, in turns. The figure is
the median of the differences. zeroconf and click must not have been imported.
"""

from __future__ import annotations

import subprocess
import sys
import time

import figures
import paired

BARE = "pass"
IMPORT = "import zmqkit"
LAZY = ("zeroconf", "click")
CHECK = f"import sys, zmqkit; print(*[name for name in {LAZY!r} if name in sys.modules])"
TARGET_MS, STRETCH_MS = 120.0, 80.0


def start_ms(code: str) -> float:
    """How long an interpreter takes to run the code and exit, in milliseconds."""
    begun = time.perf_counter()
    run(code)
    return (time.perf_counter() - begun) * 1000


def run(code: str) -> str:
    """The output of an interpreter that runs the code; BenchmarkError when it fails."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=paired.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=paired.ANSWER_S,
        text=True,
    )
    if done.returncode:
        raise paired.BenchmarkError(f"{code!r} ended with exit code {done.returncode}")
    return done.stdout


def main() -> None:
    parser = figures.arguments("What `import zmqkit` adds to a bare interpreter.", rounds=15)
    options = parser.parse_args()
    is_ours = options.only != "reference"
    early = run(CHECK).split() if is_ours else []  # also leaves byte code for the timed runs
    if early:
        raise paired.BenchmarkError(f"import zmqkit imports {', '.join(early)}")
    bare, cost = [], []
    for _ in range(options.rounds):
        bare.append(start_ms(BARE))
        if is_ours:
            cost.append(start_ms(IMPORT) - bare[-1])
    figure = figures.Figure("import_time", "import zmqkit", "ms", "<=")
    row = figures.limit_row(
        "import zmqkit, over a bare interpreter",
        figure,
        figures.median(cost),
        TARGET_MS,
        STRETCH_MS,
    )
    row.reference = figures.median(bare)
    if not options.json:
        print(f"bare interpreter {figures.shown(row.reference)} ms; {options.rounds} rounds")
    figures.finish(figure, [row], options, lazy=list(LAZY))


if __name__ == "__main__":
    paired.run(main, {})
