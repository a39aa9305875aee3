"""Breaks a rule of a core on purpose, and runs seeds until an invariant notices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest

from zmqkit.simulation.simulation import run

Breaks = Callable[[pytest.MonkeyPatch], None]


class Break(NamedTuple):
    """A rule that is broken, and the invariant that must notice it."""

    breaks: Breaks
    invariant: str
    seed: int = 0
    """A seed in which it was noticed, which is tried first; any other will do."""

    def is_noticed(
        self, patch: pytest.MonkeyPatch, seeds: Sequence[int], only: str = ""
    ) -> bool:
        """Whether one of the seeds ends with the invariant violated."""
        self.breaks(patch)
        return any(
            self.invariant in run(seed, only=only).broken for seed in (self.seed, *seeds)
        )


def name_of(broken: Break) -> str:
    """The name of a break, for the id of its test."""
    return broken.breaks.__name__
