"""Names of parametrised tests, which are the same in every run."""

from __future__ import annotations


def shown(value: object) -> str:
    """A value in a test's name: as it is written, or its type where that holds an address."""
    return type(value).__name__ if "0x" in repr(value) else repr(value)
