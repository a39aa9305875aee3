"""What holds for every test: nothing is left open, nothing required is skipped."""

from __future__ import annotations

import importlib
import os
import signal
import tempfile
import threading
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings

REQUIRED_MARKERS = ("lan", "live", "slow")
TEST_VARIABLES = (
    "ZMQKIT_CYCLES", "ZMQKIT_GARBAGE", "ZMQKIT_REQUIRED", "ZMQKIT_SEEDS", "ZMQKIT_STRIDE",
    "ZMQKIT_ZGUIDE",
)  # fmt: skip
SETTLE_S = 20.0
SETTLE_STEP_S = 0.01

# Files and folders whose tests wait longest; and the simulator, which works while they wait.
LONGEST = (
    "test_pages.py", "test_devices.py", "test_examples.py", "test_damage.py", "lan", "crash",
    "sim", "cli", "device",
)  # fmt: skip

DESCRIPTORS = Path("/proc/self/fd" if os.path.exists("/proc/self/fd") else "/dev/fd")

# A deadline per example measures the machine, not the code.
settings.register_profile("zmqkit", deadline=None, print_blob=True)
settings.register_profile("long", deadline=None, print_blob=True, max_examples=5_000)


def pytest_configure(config: pytest.Config) -> None:
    """Start from a bare environment: a shell's own peers and ports are not for tests.

    Nor is its runtime folder, in which queues are listed.

    A shell has what it starts in the background ignore Ctrl-C, and programs that tests start,
    and interrupt, would inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not config.getoption("--hypothesis-profile"):
        settings.load_profile("zmqkit")
    for name in set(os.environ) - set(TEST_VARIABLES):
        if name.startswith("ZMQKIT_"):
            del os.environ[name]
    runtime = tempfile.TemporaryDirectory(prefix="zmqkit-")
    config.add_cleanup(runtime.cleanup)
    # A run within a run, as in test_conftest.py, gives back what it found.
    environment = pytest.MonkeyPatch()
    environment.setenv("XDG_RUNTIME_DIR", runtime.name)
    config.add_cleanup(environment.undo)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that wait longest, so that none of them is left at last."""

    def place(item: pytest.Item) -> int:
        return next((at for at, name in enumerate(LONGEST) if name in item.path.parts), 99)

    items.sort(key=place)


def open_descriptors() -> set[tuple[str, str]]:
    """Each open descriptor of this process with what it refers to."""
    found = set()
    for name in os.listdir(DESCRIPTORS):
        # The one that lists the directory is closed by now.
        with suppress(OSError):
            target = os.readlink(DESCRIPTORS / name) if DESCRIPTORS.parts[1] == "proc" else ""
            if target != f"/proc/{os.getpid()}/fd":
                found.add((name, target))
    return found


@pytest.fixture(autouse=True, scope="session")
def uvloop_has_its_pipe() -> None:
    """Make one of its loops where it is installed: it then opens what a process keeps open."""
    with suppress(ImportError):
        importlib.import_module("uvloop").new_event_loop().close()


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """Fail the test that leaves a thread running or a descriptor open, sockets among them.

    libzmq closes its descriptors on a thread of its own, so what remains is looked at again for
    a bounded time.
    """
    threads, descriptors = set(threading.enumerate()), open_descriptors()
    yield
    pause = threading.Event()
    for _ in range(round(SETTLE_S / SETTLE_STEP_S)):
        left: list[object] = [
            thread for thread in threading.enumerate() if thread not in threads
        ]
        left += sorted(open_descriptors() - descriptors)
        if not left:
            return
        pause.wait(SETTLE_STEP_S)
    pytest.fail(f"left open by this test: {left}", pytrace=False)


def skips_are_failures() -> bool:
    """Whether this run must not pass over a test for want of what it needs."""
    return os.environ.get("ZMQKIT_REQUIRED") == "1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where the test had to run."""
    report = yield
    required = any(item.get_closest_marker(name) for name in REQUIRED_MARKERS)
    if report.skipped and not hasattr(report, "wasxfail") and required and skips_are_failures():
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} had to run and was skipped: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn a module's skip into a failure: its tests cannot say which of them had to run."""
    report = yield
    if report.skipped and skips_are_failures():
        report.outcome = "failed"
        report.longrepr = (
            f"{report.nodeid} had to be collected and was skipped: {report.longrepr}"
        )
    return report
