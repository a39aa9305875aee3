"""Standard input, for the commands that read it."""

from __future__ import annotations

import sys
from typing import BinaryIO

import click


def standard_input() -> BinaryIO:
    """Return standard input as a stream of bytes. Raise click.UsageError if it is closed."""
    if sys.stdin is None:
        raise click.UsageError("standard input is closed; give a pipe or file, or </dev/null")
    return sys.stdin.buffer
