"""Standard input, for the commands that read it."""

from __future__ import annotations

import sys
from typing import BinaryIO

import click


def standard_input() -> BinaryIO:
    """What the command is given to read, as bytes; wrong usage where it was started without."""
    if sys.stdin is None:
        raise click.UsageError("standard input is closed; give a pipe or file, or </dev/null")
    return sys.stdin.buffer
