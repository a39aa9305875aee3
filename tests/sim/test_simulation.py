"""Worlds full of faults, one a seed: every invariant holds in each.

ZMQKIT_SEEDS says how many. A failure names its seed and the command that replays it.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from zmqkit.simulation import simulation
from zmqkit.simulation.__main__ import main
from zmqkit.simulation.simulation import replay, run

SEEDS = int(os.environ.get("ZMQKIT_SEEDS", "25"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_invariant_holds(seed: int) -> None:
    result = run(seed)
    assert not result.broken, f"seed {seed}: {result.broken}\nreplay: {replay(seed)}"
    assert result.runs and result.ends["delivered"]


def test_a_copy_may_run_of_what_was_refused_and_given_up_for_space() -> None:
    """Seed 9631010: the network doubled a request, and a broker's refusal was on the way."""
    result = run(9631010)
    assert not result.broken and result.ends["Busy"]


@pytest.mark.slow
def test_a_seed_is_the_same_run_each_time() -> None:
    assert run(3).digest == run(3).digest
    assert run(3).digest != run(4).digest


@pytest.mark.slow
def test_a_seed_is_the_same_run_in_any_process() -> None:
    program = "from zmqkit.simulation.simulation import run; print(run(3).digest)"
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True, check=True, text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }  # fmt: skip
    assert digests == {run(3).digest + "\n"}


@pytest.mark.slow
def test_a_trace_tells_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "3", "--trace"]) == 0
    told = capsys.readouterr().out
    assert "h1 starts" in told and "REQUEST" in told and "settled" in told
    assert told.endswith("1 seeds, 0 broken\n")


def test_a_broken_invariant_says_how_to_replay_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        simulation.Simulation, "run", lambda self: simulation.expect(0, "x is y")
    )
    assert main(["--seed", "7"]) == 1
    assert f"seed 7: Broken: x is y\n    {replay(7)}\n" in capsys.readouterr().out


def test_what_a_core_raises_is_a_broken_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation.Simulation, "run", lambda self: 1 / 0)
    assert run(7).broken.startswith("ZeroDivisionError: division by zero at ")
