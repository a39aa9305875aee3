"""Type checkers pass a user's program that is right, and find each mistake in one that is not.

They see zmqkit as those of a user do: its types, and none of the settings that it has itself.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
RIGHT, WRONG = HERE / "right.py", HERE / "wrong.py"
LIMIT_S = 300.0

Found = dict[Path, dict[int, str]]


def by_mypy(folder: Path) -> Found:
    """What `mypy --strict` says of both programs, by line."""
    said = output(
        folder, "-m", "mypy", "--strict", "--follow-imports=silent", "--config-file=",
        "--no-incremental", str(RIGHT), str(WRONG),
    )  # fmt: skip
    found = re.findall(r"^(\S+?):(\d+): error: (.*)$", said, re.MULTILINE)
    assert found, said
    return sorted_by_line((Path(path), int(line), text) for path, line, text in found)


def by_pyright(folder: Path) -> Found:
    """What basedpyright says, which is pyright that brings its own node, as pyright says it."""
    settings = {
        "include": [str(RIGHT), str(WRONG)],
        "extraPaths": [str(ROOT)],
        "typeCheckingMode": "standard",
        "reportMissingModuleSource": False,
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    said = output(
        folder, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable,
        "--project", str(folder),
    )  # fmt: skip
    return sorted_by_line(
        (Path(each["file"]), each["range"]["start"]["line"] + 1, each["message"])
        for each in json.loads(said)["generalDiagnostics"]
        if each["severity"] == "error"
    )


def output(folder: Path, *arguments: str) -> str:
    """What a checker prints."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    ).stdout


def sorted_by_line(errors: Iterable[tuple[Path, int, str]]) -> Found:
    found: Found = {RIGHT: {}, WRONG: {}}
    for path, line, text in errors:
        found[path][line] = text
    return found


@pytest.mark.slow
@pytest.mark.parametrize("check", [by_mypy, by_pyright])
def test_each_mistake_is_found_and_nothing_else(
    check: Callable[[Path], Found], tmp_path: Path
) -> None:
    pytest.importorskip("mypy" if check is by_mypy else "basedpyright")
    marked = [
        number
        for number, line in enumerate(WRONG.read_text().splitlines(), 1)
        if line.endswith("  # wrong")
    ]
    found = check(tmp_path)
    assert found[RIGHT] == {}
    assert sorted(found[WRONG]) == marked, found[WRONG]
