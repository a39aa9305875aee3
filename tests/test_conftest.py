"""The guards around every test do guard."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

SETTINGS = "[pytest]\nmarkers =\n    slow: slow.\n"


@pytest.fixture
def guarded(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A directory whose tests run under this directory's conftest, its patience cut short."""
    conftest = (Path(__file__).parent / "conftest.py").read_text()
    assert "SETTLE_S = 20.0" in conftest
    pytester.makeconftest(conftest.replace("SETTLE_S = 20.0", "SETTLE_S = 0.05"))
    pytester.makefile(".ini", tox=SETTINGS)
    monkeypatch.delenv("ZMQKIT_REQUIRED", raising=False)
    return pytester


def test_a_run_within_a_run_leaves_the_environment_as_it_was(guarded: pytest.Pytester) -> None:
    guarded.makepyfile("def test_nothing(): pass")
    before = dict(os.environ)
    guarded.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
    after = dict(os.environ)
    assert after["XDG_RUNTIME_DIR"] == before["XDG_RUNTIME_DIR"]
    assert Path(after["XDG_RUNTIME_DIR"]).is_dir()


def test_thread_left_running_fails_the_test(guarded: pytest.Pytester) -> None:
    guarded.makepyfile(
        """
        import pytest, threading

        @pytest.fixture(scope="module")
        def gate():
            gate = threading.Event()
            yield gate
            gate.set()

        def test_leak(gate):
            threading.Thread(target=gate.wait, name="forgotten").start()
        """
    )
    result = guarded.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*left open by this test*forgotten*"])


def test_socket_left_open_fails_the_test(guarded: pytest.Pytester) -> None:
    guarded.makepyfile(
        """
        import pytest, socket

        @pytest.fixture(scope="module")
        def kept():
            kept = []
            yield kept
            for each in kept:
                each.close()

        def test_leak(kept):
            kept.append(socket.socket())
        """
    )
    result = guarded.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*left open by this test*"])


SKIPPING = """
    import pytest

    @pytest.mark.slow
    def test_needed():
        pytest.skip("no server")

    def test_optional():
        pytest.skip("not installed")

    @pytest.mark.slow
    @pytest.mark.xfail
    def test_known():
        assert False
    """


def test_skips_are_skips_by_default(guarded: pytest.Pytester) -> None:
    guarded.makepyfile(SKIPPING)
    guarded.runpytest_inprocess().assert_outcomes(skipped=2, xfailed=1)


def test_required_test_that_is_skipped_fails(
    guarded: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZMQKIT_REQUIRED", "1")
    guarded.makepyfile(SKIPPING)
    result = guarded.runpytest_inprocess()
    result.assert_outcomes(failed=1, skipped=1, xfailed=1)
    result.stdout.fnmatch_lines(["*test_needed had to run and was skipped*no server*"])


def test_module_that_is_skipped_fails_a_required_run(
    guarded: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZMQKIT_REQUIRED", "1")
    guarded.makepyfile('import pytest\npytest.skip("absent", allow_module_level=True)')
    guarded.runpytest_inprocess().assert_outcomes(errors=1)


def test_programs_of_tests_can_be_interrupted_in_the_background(
    guarded: pytest.Pytester,
) -> None:
    guarded.makepyfile(
        """
        import signal

        def test_signal():
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        """
    )
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        result = guarded.runpytest_inprocess("-p", "no:cacheprovider")
    finally:
        signal.signal(signal.SIGINT, before)
    result.assert_outcomes(passed=1)
