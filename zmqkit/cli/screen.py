"""The screen of `zmqkit top` as text: never wider or higher than the terminal."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

from zmqkit.cli.grouping import cells, processes_text
from zmqkit.cli.output import escaped, several
from zmqkit.cli.view import View

GAP = "  "
_NUMBERS = frozenset(
    {
        "PID", "INSTANCES", "RATE", "RUNNING", "WAITING", "OLDEST", "P50", "P99", "FAILED",
        "DROPPED",
    }
)  # fmt: skip
_WIDE = {"NAME": 24, "PART": 20, "HOST": 16, "PEERS": 16}
"""How wide a column of text still is where there is not room for all."""
_LEFT_OUT = (
    "PEERS", "OLDEST", "INSTANCES", "HOST", "P50", "DROPPED", "RUNNING", "FAILED", "P99",
    "WAITING", "PID", "ROLE", "PART",
)  # fmt: skip
"""Columns that a narrow terminal has no room for, the first ones first."""

_KEYS = "q quit  up/down move  enter instances  s sort  / filter"
_KEYS_BELOW = "q quit  up/down move  escape back  s sort  / filter"
_KEYS_TYPING = "enter accept  escape clear"


@dataclass(slots=True)
class Drawn:
    """One line of the screen and its style, in the words of rich."""

    text: str
    style: str = ""


def screen(
    view: View, width: int, height: int, *, nobody: str, encoding: str = "utf-8"
) -> list[Drawn]:
    """Return the screen as lines.

    width, height: of the terminal. nobody: what to say where there are no roles. encoding: of
    the terminal; what it lacks is written as an escape.
    """
    head, *table = _table(view, width, encoding)
    room = max(0, height - 4)
    first = min(max(0, view.at - room // 2), max(0, len(table) - room))
    drawn = [
        Drawn(_line(_title(view), width, encoding), "bold"),
        Drawn(_line(_state(view), width, encoding), "yellow" if view.silent else ""),
        Drawn(head, "reverse"),
    ]
    for at, text in enumerate(table[first : first + room], first):
        drawn.append(Drawn(text, _style(view, at)))
    if not table and room:
        nothing = "no line has that text" if view.filter else nobody
        nothing = nothing if view.has_read else "asking all processes"
        drawn.append(Drawn(_line(nothing, width, encoding)))
    drawn += [Drawn(" " * width)] * (height - 1 - len(drawn))
    drawn.append(Drawn(_line(_keys(view), width, encoding), "dim"))
    return drawn[:height]


def _title(view: View) -> str:
    processes = len({row.process for row in view.rows})
    roles = len({(row.process, row.incarnation, row.role, row.name) for row in view.rows})
    if view.of is not None:
        return f"zmqkit top: instances of {view.of}"
    return f"zmqkit top: {several(roles, 'role')} in {processes_text(processes)}"


def _state(view: View) -> str:
    said = [f"sorted by {view.sort}"]
    if view.filter or view.is_typing:
        said.append(f"filter: {view.filter}{'_' if view.is_typing else ''}")
    if view.silent:
        said.append(f"{len(view.silent):,} did not answer")
    return ", ".join(said)


def _keys(view: View) -> str:
    if view.is_typing:
        return _KEYS_TYPING
    return _KEYS if view.of is None else _KEYS_BELOW


def _style(view: View, at: int) -> str:
    if at == view.at:
        return "reverse"
    return "" if view.lines[at].part else "bold"


def _table(view: View, width: int, encoding: str) -> list[str]:
    """Return the head and the lines of the table, each of exactly that width."""
    rows = [
        [_writable(text, encoding) for text in row] for row in cells(view.lines, view.columns)
    ]
    columns = {column: [row[at] for row in rows] for at, column in enumerate(view.columns)}
    widths = _widths(columns, width)
    lines = []
    for at in range(len(rows)):
        texts = [_cell(columns[each][at], each, wide) for each, wide in widths.items()]
        lines.append(set_cell_size(GAP.join(texts), width))
    return lines


def _widths(columns: dict[str, list[str]], width: int) -> dict[str, int]:
    """Return the columns for which there is room, each with its width."""
    widths = {column: max(map(cell_len, texts)) for column, texts in columns.items()}
    if _sum(widths) > width:
        for column, wide in _WIDE.items():
            if column in widths:
                widths[column] = min(widths[column], wide)
    for column in _LEFT_OUT:
        if _sum(widths) > width:
            widths.pop(column, None)
    return widths


def _sum(widths: dict[str, int]) -> int:
    return sum(widths.values()) + len(GAP) * (len(widths) - 1)


def _cell(text: str, column: str, width: int) -> str:
    if cell_len(text) > width:
        text = f"{set_cell_size(text, width - 1)}~"
    fill = " " * (width - cell_len(text))
    return fill + text if column in _NUMBERS else text + fill


def _line(text: str, width: int, encoding: str) -> str:
    return set_cell_size(_writable(text, encoding), width)


def _writable(text: str, encoding: str) -> str:
    """Return the text without what steers a terminal, or what its encoding lacks."""
    return escaped(text).encode(encoding, "backslashreplace").decode(encoding)
