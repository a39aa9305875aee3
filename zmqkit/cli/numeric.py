"""Numbers on the command line."""

from __future__ import annotations

from typing import Any

import click


class Number(click.FloatRange):
    """A number within a range. NaN is never within a range."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number. Raise BadParameter, with the value, for anything else."""
        number = float(super().convert(value, param, ctx))
        if number != number:
            self.fail(f"{value!r} is not a number", param, ctx)
        return number
