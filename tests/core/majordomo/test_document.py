"""docs/majordomo.md: each row of its tables names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
ROWS = [
    line for line in (ROOT / "docs/majordomo.md").read_text().splitlines()
    if line.startswith("|") and not re.fullmatch(r"[| -]+", line)
]  # fmt: skip
HEADS = ("| of an RFC |", "| matter |", "| at such a broker |")
TEST = re.compile(r"^def (test_\w+)", re.MULTILINE)


def test_each_row_names_tests_that_exist() -> None:
    paths = [*(ROOT / "tests/core/majordomo").glob("*.py"), ROOT / "tests/wire/test_mdp.py"]
    known = {name for path in paths for name in TEST.findall(path.read_text())}
    rows = [row for row in ROWS if not row.startswith(HEADS)]
    assert len(rows) == len(ROWS) - len(HEADS)
    assert all("`test_" in row for row in rows)
    assert {name for row in rows for name in re.findall(r"`(test_\w+)`", row)} <= known
