"""A disk that really fills: a file system of a few megabytes, mounted for the test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BOUND_S = 120.0


@pytest.fixture
def mounting(tmp_path: Path) -> list[str]:
    """The words before a command that has `tmp_path` as a disk of 16 MiB, for itself alone."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("a small disk of one's own needs root on Linux")
    if not shutil.which("unshare") or not shutil.which("mount"):
        pytest.skip("a small disk of one's own needs unshare and mount (Debian: util-linux)")
    mount = f'mount -t tmpfs -o size=16m none "{tmp_path}" && exec "$@"'
    words = ["unshare", "-m", "sh", "-c", mount, "sh"]
    tried = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"a small disk of one's own cannot be mounted here: {tried.stderr.strip()}")
    return words


@pytest.mark.slow
def test_a_disk_that_fills_refuses_loses_nothing_and_goes_on(
    mounting: list[str], tmp_path: Path
) -> None:
    ended = subprocess.run(
        [*mounting, sys.executable, "-m", "tests.disk.full", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert said["refused"] == 5 and said["before"] > 20
    assert said["waiting"] == said["found"] == said["before"] + 10
    numbers = said["values"]
    assert numbers == [*range(said["before"]), *range(1000, 1010)]
    assert said["left"] == said["again"] == 0
    assert not list(tmp_path.iterdir()), "the disk was mounted for others too"
