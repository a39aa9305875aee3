"""Each example runs alone, ends by itself, prints what its first lines say, and no warning."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.development import MODE, told

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LIMIT_S = 60.0

pytestmark = pytest.mark.slow
pytest_plugins = ("pytest_zmqkit",)


def promised(example: Path) -> str:
    """What the example's docstring says that it prints."""
    text = ast.get_docstring(ast.parse(example.read_text())) or ""
    assert "Prints:\n\n" in text
    return textwrap.dedent(text.partition("Prints:\n\n")[2]).strip()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_prints_what_it_promises(example: Path, zmqkit_space: str) -> None:
    run = subprocess.run(
        [sys.executable, example],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env={**os.environ, **MODE, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert run.stdout.strip() == promised(example), run.stderr
    assert run.returncode == 0, run.stderr
    assert told(run.stderr) == ""
