"""The options of commands that read statistics: how long to look, and how far."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from zmqkit.cli.numeric import Number

Command = TypeVar("Command", bound=Callable[..., object])


def looking(wait_s: float, what: str) -> Callable[[Command], Command]:
    """Give a command `--wait` and `--insecure`. what: what the wait is for."""

    def give(command: Command) -> Command:
        insecure = click.option(
            "--insecure", is_flag=True, help="Ask other machines too, in plain text."
        )
        wait = click.option(
            "--wait",
            "wait_s",
            type=Number(min=0),
            default=wait_s,
            show_default=True,
            metavar="SECONDS",
            help=what,
        )
        return wait(insecure(command))

    return give
