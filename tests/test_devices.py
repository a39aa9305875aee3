"""docs/devices.md is true where it shows a walk: its commands print what it shows."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.documents import ROOT, blocks, session_under_way
from tests.ports import quiet_port

TEXT = (ROOT / "docs" / "devices.md").read_text()
PORT = "9100"


def section(title: str) -> str:
    """The text of one section, up to the next heading."""
    return re.split(r"^##+ ", TEXT.split(f"## {title}\n")[1], flags=re.MULTILINE)[0]


@pytest.mark.slow
def test_a_device_file_is_written_checked_and_run_as_shown(tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    [session] = blocks(section("A file of your own"), "console")
    with session_under_way(session.replace(PORT, quiet_port()), tmp_path):
        pass
