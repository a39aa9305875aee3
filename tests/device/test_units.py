"""What comes beside the device files: the unit for systemd, and what builds a container."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import skips_are_failures
from tests.documents import ROOT, blocks
from zmqkit.device.files import find_to_show

EXPOSURE = 1.5
"""Of `systemd-analyze security`, at most; its weights change with its versions."""
LIMIT_S = 60.0


@pytest.fixture
def systemd() -> None:
    """Pass over these tests where there is no systemd."""
    if shutil.which("systemd-analyze") is None:
        if skips_are_failures():
            pytest.fail("systemd-analyze had to be there", pytrace=False)
        pytest.skip("there is no systemd-analyze here; the Debian package systemd has it")


@pytest.fixture
def unit(systemd: None, tmp_path: Path) -> Path:
    """The unit of one device, with a command that is there."""
    text = find_to_show("zmqkit@.service").read_text()
    made = tmp_path / "zmqkit@thumbnails.service"
    made.write_text(text.replace("/opt/zmqkit/bin/zmqkit", shutil.which("true") or ""))
    return made


def analyze(*arguments: str | Path) -> str:
    """What systemd-analyze writes; it has nothing to complain of."""
    done = subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=LIMIT_S,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


@pytest.mark.slow
def test_the_unit_is_verified_and_hardened(unit: Path) -> None:
    assert analyze("verify", unit) == ""
    said = analyze("security", "--offline=true", "--no-pager", unit)
    exposure = re.search(r"exposure level for \S+: ([\d.]+)", said)
    assert exposure is not None and float(exposure[1]) <= EXPOSURE


@pytest.mark.slow
@pytest.mark.usefixtures("systemd")
def test_the_unit_of_the_guide_is_verified(tmp_path: Path) -> None:
    [text] = blocks((ROOT / "docs" / "guides" / "processes.md").read_text(), "ini")
    made = tmp_path / "orders.service"
    made.write_text(text.replace("/opt/orders/bin/zmqkit", shutil.which("true") or ""))
    assert analyze("verify", made) == ""


def test_the_unit_lets_libzmq_set_the_policy_of_its_threads() -> None:
    lines = find_to_show("zmqkit@.service").read_text().splitlines()
    assert "SystemCallFilter=~@privileged @resources" in lines
    filters = [line for line in lines if line.startswith("SystemCallFilter=")]
    assert filters[-1] == "SystemCallFilter=sched_setscheduler", "or it aborts"


def test_the_unit_lets_a_device_read_a_large_journal_as_it_starts() -> None:
    lines = find_to_show("zmqkit@.service").read_text().splitlines()
    assert "TimeoutStartSec=infinity" in lines, "systemd would kill it, again and again"


def test_unit_and_container_run_zmqkit_as_process_1_of_a_virtual_environment() -> None:
    unit = find_to_show("zmqkit@.service").read_text()
    assert "ExecStart=/opt/zmqkit/bin/zmqkit run /etc/zmqkit/%i.toml" in unit
    container = find_to_show("Containerfile").read_text()
    assert 'ENTRYPOINT ["/opt/zmqkit/bin/zmqkit", "run"]' in container
