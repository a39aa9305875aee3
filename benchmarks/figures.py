"""Figures and their verdicts: what was measured, against which limit, in words and in JSON."""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Message = dict[str, Any]


@dataclass(slots=True)
class Reference:
    """Another side of a comparison; target and stretch limit ours divided by its value."""

    name: str
    sample: Callable[[], Message]
    target: float | None = None
    stretch: float | None = None


@dataclass(slots=True)
class Figure:
    """What one script measures. sign: `<=` when less is better, else `>=`."""

    name: str
    caption: str
    unit: str
    sign: str


@dataclass(slots=True)
class Row:
    """One judged line: `measured` (a ratio, or ours alone) against target and stretch."""

    figure: str
    against: str | None
    sign: str
    unit: str
    ours: float | None
    reference: float | None
    ratio: float | None
    target: float | None
    stretch: float | None = None

    @property
    def measured(self) -> float | None:
        return self.ours if self.against is None else self.ratio

    def meets(self, limit: float | None) -> bool | None:
        """Whether the limit is kept; None when there is no limit or nothing was measured."""
        if limit is None or self.measured is None:
            return None
        return self.measured <= limit if self.sign == "<=" else self.measured >= limit

    def as_json(self) -> Message:
        return {
            "figure": self.figure,
            "against": self.against,
            "unit": self.unit,
            "sign": self.sign,
            "ours": rounded(self.ours),
            "reference": rounded(self.reference),
            "ratio": rounded(self.ratio),
            "target": self.target,
            "met": self.meets(self.target),
            "stretch": self.stretch,
            "stretch_met": self.meets(self.stretch),
        }


def arguments(caption: str | None, rounds: int = 5) -> argparse.ArgumentParser:
    """The options that all scripts share."""
    parser = argparse.ArgumentParser(description=caption)
    parser.add_argument("--rounds", type=positive, default=rounds, help="default %(default)s")
    parser.add_argument("--json", action="store_true", help="print the JSON line alone")
    parser.add_argument("--only", choices=["ours", "reference"], help=argparse.SUPPRESS)
    return parser


def add_pin(parser: argparse.ArgumentParser, default: str = "no") -> None:
    """The option that ties the processes to processors (Linux).

    Where it may be both ways, threads wander, and times of round trips with them.
    """
    can_pin = hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1
    parser.add_argument(
        "--pin",
        choices=["no", "one", "apart"],
        default=default if can_pin else "no",
        help="run both processes on one processor, or each on its own; default %(default)s",
    )


def positive(text: str) -> int:
    """A number of at least 1 from the command line."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def compare(
    figure: Figure,
    ours: Callable[[], Message],
    references: Sequence[Reference],
    options: argparse.Namespace,
    beside: Callable[[], list[Row]] = list,
) -> None:
    """Run the sides in interleaved rounds; print each round, the medians and the verdict.

    A side's sample is a message whose `value` counts; every other round runs backwards, so
    that no side profits from its place. The last line names the first reference. beside: gives
    rows about what else the samples showed, once all have run.
    """
    sides = {"ours": ours} if options.only != "reference" else {}
    if options.only != "ours":
        sides |= {reference.name: reference.sample for reference in references}
    say = quiet if options.json else print
    say(f"{figure.caption}, {figure.unit}; {options.rounds} rounds")
    values: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(options.rounds):
        for side in list(sides) if number % 2 == 0 else reversed(sides):
            values[side].append(sides[side]()["value"])
        line = " · ".join(f"{side} {shown(values[side][-1])}" for side in sides)
        say(f"  round {number + 1}: {line}", flush=True)
    rows = [paired_row(figure, values, reference) for reference in references]
    finish(figure, [*rows, *beside()], options)


def paired_row(figure: Figure, values: dict[str, list[float]], reference: Reference) -> Row:
    """The medians of both sides and of their ratio, which is taken round by round."""
    ours, theirs = values.get("ours", []), values.get(reference.name, [])
    ratios = [one / other for one, other in zip(ours, theirs, strict=False)]
    return Row(
        figure=figure.caption,
        against=reference.name,
        sign=figure.sign,
        unit=figure.unit,
        ours=median(ours),
        reference=median(theirs),
        ratio=median(ratios),
        target=reference.target,
        stretch=reference.stretch,
    )


def limit_row(
    caption: str,
    figure: Figure,
    ours: float | None,
    target: float | None,
    stretch: float | None = None,
) -> Row:
    """A row that is judged by itself, not by a reference, or only shown."""
    return Row(
        figure=caption,
        against=None,
        sign=figure.sign,
        unit=figure.unit,
        ours=ours,
        reference=None,
        ratio=None,
        target=target,
        stretch=stretch,
    )


def finish(figure: Figure, rows: list[Row], options: argparse.Namespace, **more: Any) -> None:
    """Print the verdict of each row and, last, one JSON line about them all."""
    if not options.json:
        for row in rows:
            print(f"  {verdict(row)}")
    first = rows[0]
    judged = [row.meets(row.target) for row in rows]
    summary = {"name": figure.name} | first.as_json()
    summary |= {
        "met": bool(judged[0]) and False not in judged,
        "rounds": options.rounds,
        "rows": [row.as_json() for row in rows],
    }
    print(json.dumps(summary | more), flush=True)


def verdict(row: Row) -> str:
    """One row in words."""
    if row.against is None:
        text = f"{row.figure}: {shown(row.ours)} {row.unit}"
    else:
        text = f"ours {shown(row.ours)}, {row.against} {shown(row.reference)} {row.unit}"
        text += f"; ratio {shown(row.ratio)}"
    for name, limit in (("target", row.target), ("stretch", row.stretch)):
        if limit is not None:
            word = {None: "not judged", True: "met", False: "missed"}[row.meets(limit)]
            text += f"; {name} {row.sign} {limit:g} {word}"
    return text


def median(values: Sequence[float]) -> float | None:
    """The median, or None when nothing was measured."""
    return statistics.median(values) if values else None


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that is not exceeded by `percent` of them (nearest rank)."""
    return sorted(values)[max(0, math.ceil(percent / 100 * len(values)) - 1)]


def rounded(value: float | None) -> float | None:
    """Four significant digits: more would be noise."""
    return None if value is None else float(f"{value:.4g}")


def shown(value: float | None) -> str:
    """A value for people."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def quiet(*_: object, **__: object) -> None:
    """Print nothing."""
