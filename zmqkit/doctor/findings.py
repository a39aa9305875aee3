"""What the doctor finds: a cause, what shows it, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """ERROR: something cannot work as it is. WARNING: something may not, or not everywhere."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(slots=True, frozen=True)
class Finding:
    """One cause."""

    id: str  # words with hyphens, the same in every version
    severity: Severity
    cause: str  # a sentence
    evidence: tuple[str, ...]
    remedy: str  # what to do, or a command
    where: str = ""  # the machine that has it; empty for this one


def error(id: str, cause: str, evidence: Iterable[str], remedy: str) -> Finding:
    """Return a finding that something cannot work."""
    return Finding(id, Severity.ERROR, cause, tuple(evidence), remedy)


def warning(id: str, cause: str, evidence: Iterable[str], remedy: str) -> Finding:
    """Return a finding that something may not work."""
    return Finding(id, Severity.WARNING, cause, tuple(evidence), remedy)
