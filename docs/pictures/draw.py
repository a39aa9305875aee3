"""Draws the pictures of the documents; `python docs/pictures/draw.py` writes them here.

A picture has columns of boxes, and lines from one column to another. Each is an SVG with a
ground of its own, light or dark as the reader's system is, so it can be read on any page.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

HERE = Path(__file__).resolve().parent

BOX_WIDTH = 164
COLUMN_GAP = 136
ROW_GAP = 26
LINE_HEIGHT = 18
PADDING = 12
MARGIN = 24
NODE_HEIGHT = 24
LEGEND_HEIGHT = 30
BAND = 0.62  # the part of a box's side at which lines end

STYLE = """
text { font: 13px system-ui, "DejaVu Sans", sans-serif; fill: #1f2933; text-anchor: middle }
.title { font-weight: 600 }
.small { font-size: 11.5px; fill: #52606d }
.on-line { stroke: #ffffff; stroke-width: 5px; paint-order: stroke }
.left { text-anchor: start }
.ground { fill: #ffffff; stroke: #d9dee4 }
.process { fill: #eef4fb; stroke: #5b83b0 }
.device { fill: #fdf1e0; stroke: #c08436 }
.node { fill: #dbe3ec; stroke: #5b83b0 }
.data { stroke: #1d6fb8; fill: none; stroke-width: 1.8 }
.control { stroke: #7b8794; fill: none; stroke-width: 1.4; stroke-dasharray: 5 4 }
.head { fill: #1d6fb8 }
@media (prefers-color-scheme: dark) {
text { fill: #e4e9ef }
.small { fill: #aeb9c5 }
.on-line { stroke: #15191e }
.ground { fill: #15191e; stroke: #3a434d }
.process { fill: #1d2a3a; stroke: #6f9bcc }
.device { fill: #37291a; stroke: #d49a4c }
.node { fill: #2b3644; stroke: #6f9bcc }
.data { stroke: #63b0f2 }
.control { stroke: #93a1af }
.head { fill: #63b0f2 }
}
"""


@dataclass
class Box:
    """A process or a device. lines: what stands below its title."""

    title: str
    lines: tuple[str, ...] = ()
    kind: str = "process"
    node: bool = False
    x: float = 0
    y: float = 0

    @property
    def body(self) -> float:
        """The height without the node."""
        return 2 * PADDING + LINE_HEIGHT * (1 + len(self.lines)) - 4

    @property
    def height(self) -> float:
        """In pixels."""
        return self.body + (NODE_HEIGHT if self.node else 0)


@dataclass(frozen=True)
class Line:
    """From one box to another: data, with an arrow at one end or both, or control."""

    start: str
    end: str
    label: str = ""
    both: bool = False
    control: bool = False


@dataclass
class Picture:
    """about: for those who cannot see it. columns: its boxes by name, from left to right."""

    name: str
    about: str
    columns: tuple[dict[str, Box], ...]
    lines: tuple[Line, ...]
    boxes: dict[str, Box] = field(default_factory=dict)

    def draw(self) -> str:
        """Return the SVG."""
        tallest = max(map(height, self.columns))
        width = (
            2 * MARGIN + BOX_WIDTH * len(self.columns) + COLUMN_GAP * (len(self.columns) - 1)
        )
        for number, column in enumerate(self.columns):
            y = MARGIN + (tallest - height(column)) / 2
            for name, box in column.items():
                box.x, box.y = MARGIN + number * (BOX_WIDTH + COLUMN_GAP), y
                y += box.height + ROW_GAP
                self.boxes[name] = box
        total = tallest + 2 * MARGIN + LEGEND_HEIGHT
        parts = [*self._connections(), *self._drawn_boxes(), *legend(total, self.lines)]
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {total:g}" '
                f'width="{width}" height="{total:g}" role="img">',
                f"<title>{escape(self.about)}</title>",
                f"<style>{STYLE}</style>",
                '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
                'markerHeight="7" orient="auto-start-reverse">'
                '<path class="head" d="M0 0 8 4 0 8z"/></marker></defs>',
                f'<rect class="ground" x="0.5" y="0.5" width="{width - 1}" '
                f'height="{total - 1:g}" rx="10"/>',
                *parts,
                "</svg>\n",
            ]
        )

    def _drawn_boxes(self) -> Iterable[str]:
        for box in self.boxes.values():
            middle = box.x + BOX_WIDTH / 2
            yield rectangle(box.kind, box.x, box.y, box.height)
            yield text("title", middle, box.y + PADDING + 11, box.title)
            for number, line in enumerate(box.lines, 1):
                yield text("small", middle, box.y + PADDING + 11 + LINE_HEIGHT * number, line)
            if box.node:
                yield rectangle("node", box.x, box.y + box.body, NODE_HEIGHT)
                yield text("small", middle, box.y + box.body + 16, "node")

    def _connections(self) -> Iterable[str]:
        for line in self.lines:
            start, end = self.boxes[line.start], self.boxes[line.end]
            x1, x2 = start.x + BOX_WIDTH, end.x
            y1, y2 = self._side(line, line.start), self._side(line, line.end)
            if line.control:
                yield f'<path class="control" d="M{x1:g} {y1:g} {x2:g} {y2:g}"/>'
                continue
            heads = 'marker-end="url(#head)"' + (' marker-start="url(#head)"' * line.both)
            yield f'<path class="data" {heads} d="M{x1 + 3:g} {y1:g} {x2 - 3:g} {y2:g}"/>'
            if line.label:
                yield text("small on-line", (x1 + x2) / 2, (y1 + y2) / 2 + 4, line.label)

    def _side(self, line: Line, name: str) -> float:
        """Where a line meets a box: lines share its side, control lines that of its node."""
        box = self.boxes[name]
        if line.control:
            return box.y + (box.body + NODE_HEIGHT / 2 if box.node else box.body - 8)
        leaves = name == line.start
        shared = [
            each
            for each in self.lines
            if not each.control and (each.start if leaves else each.end) == name
        ]
        shared.sort(key=lambda each: self.boxes[each.end if leaves else each.start].y)
        place = (shared.index(line) + 1) / (len(shared) + 1) - 0.5
        return box.y + box.body / 2 + place * box.body * BAND * 2


def height(column: dict[str, Box]) -> float:
    """The height of a column's boxes with the gaps between them."""
    return sum(box.height for box in column.values()) + ROW_GAP * (len(column) - 1)


def rectangle(kind: str, x: float, y: float, tall: float) -> str:
    """A box."""
    size = f'width="{BOX_WIDTH}" height="{tall:g}"'
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" {size} rx="6"/>'


def text(kind: str, x: float, y: float, words: str) -> str:
    """A line of text, its middle at x, or its left end."""
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(words)}</text>'


def legend(total: float, lines: tuple[Line, ...]) -> Iterable[str]:
    """What the two kinds of lines mean, as far as there are both."""
    y = total - 18
    data_line = f"M{MARGIN} {y - 4:g} {MARGIN + 30} {y - 4:g}"
    yield f'<path class="data" marker-end="url(#head)" d="{data_line}"/>'
    yield text("small left", MARGIN + 38, y, "data connection")
    if any(line.control for line in lines):
        control_line = f"M{MARGIN + 156} {y - 4:g} {MARGIN + 186} {y - 4:g}"
        yield f'<path class="control" d="{control_line}"/>'
        what = "control connection: who is here, and does it live"
        yield text("small left", MARGIN + 194, y, what)


def process(title: str, *lines: str) -> Box:
    """A process of yours."""
    return Box(title, lines)


def device(title: str, *lines: str) -> Box:
    """A device."""
    return Box(title, lines, "device")


def data(start: str, end: str, label: str = "") -> Line:
    """Messages in one direction."""
    return Line(start, end, label)


def both(start: str, end: str, label: str = "") -> Line:
    """Messages in both directions."""
    return Line(start, end, label, both=True)


def control(start: str, end: str) -> Line:
    """A control connection."""
    return Line(start, end, control=True)


PICTURES = (
    Picture(
        "overview",
        "Three processes find each other by multicast; their nodes keep control connections, "
        "and their roles send messages over data connections",
        (
            {
                "web": Box("web.py", ("Client of 'shop'", "Subscriber of 'news'"), node=True),
            },
            {
                "one": Box("shop.py", ("Service 'shop'", "Publisher 'news'"), node=True),
                "two": Box(
                    "shop.py, once more", ("Service 'shop'", "Publisher 'news'"), node=True
                ),
            },
            {
                "mail": Box("mail.py", ("Client of 'shop'",), node=True),
            },
        ),
        (
            both("web", "one", "calls, news"),
            both("web", "two", "calls, news"),
            both("one", "mail", "calls"),
            both("two", "mail", "calls"),
            control("web", "one"),
            control("web", "two"),
            control("one", "mail"),
            control("two", "mail"),
        ),
    ),
    Picture(
        "calls",
        "Two clients call three instances of one service, each directly",
        (
            {
                "a": process("a program", "Client of 'orders'"),
                "b": process("another one", "Client of 'orders'"),
            },
            {
                "1": process("instance 1", "Service 'orders'"),
                "2": process("instance 2", "Service 'orders'"),
                "3": process("instance 3", "Service 'orders'"),
            },
        ),
        (
            *(
                both(client, str(number), "call, reply" if (client, number) == ("a", 1) else "")
                for client in "ab"
                for number in (1, 2, 3)
            ),
        ),
    ),
    Picture(
        "publishing",
        "Two publishers send each message to those of three subscribers that want its topic",
        (
            {
                "a": process("kitchen.py", "Publisher 'weather'"),
                "b": process("cellar.py", "Publisher 'weather'"),
            },
            {
                "1": process("a dashboard", "Subscriber", "all topics"),
                "2": process("an alarm", "Subscriber", "topics: kitchen."),
                "3": process("a log", "Subscriber", "topics: cellar."),
            },
        ),
        (
            data("a", "1", "kitchen.celsius"),
            data("a", "2"),
            data("b", "1"),
            data("b", "3", "cellar.celsius"),
        ),
    ),
    Picture(
        "tasks",
        "A pusher keeps tasks in line and gives each to one of two workers; results return to "
        "it, or go to a sink",
        (
            {
                "p": process(
                    "a program", "Pusher 'thumbnails'", "tasks wait here,", "or in its journal"
                )
            },
            {
                "1": process("worker 1", "Worker 'thumbnails'"),
                "2": process("worker 2", "Worker 'thumbnails'"),
                "s": process("another program", "Sink 'thumbnails'"),
            },
        ),
        (
            both("p", "1", "task, result"),
            both("p", "2"),
            data("p", "s", "results"),
        ),
    ),
    Picture(
        "router",
        "Clients reach a router at one address; it passes their calls on to services, some of "
        "which dial it",
        (
            {
                "a": process("a program", "Client of 'orders'"),
                "b": process("another one", "Client of 'orders'"),
            },
            {"r": device("router 'orders'", "one address", "keeps nothing on disk")},
            {
                "1": process("instance 1", "Service 'orders'"),
                "2": process("instance 2", "Service 'orders'", "via='orders': dials"),
            },
        ),
        (both("a", "r", "call, reply"), both("b", "r"), both("r", "1"), both("r", "2")),
    ),
    Picture(
        "majordomo",
        "Clients submit requests to a broker, which keeps them on disk for its services",
        (
            {
                "a": process("a program", "Client: submit"),
                "b": process("another one", "Client: collect"),
            },
            {"m": device("majordomo", "requests and replies", "wait on its disk")},
            {
                "1": process("instance 1", "Service 'bakery'", "via='majordomo'"),
                "2": process("instance 2", "Service 'bakery'", "via='majordomo'"),
            },
        ),
        (
            both("a", "m", "request, id"),
            both("b", "m", "id, reply"),
            both("m", "1", "request, reply"),
            both("m", "2"),
        ),
    ),
    Picture(
        "forwarder",
        "Publishers send each message once to a forwarder, which sends it to all subscribers",
        (
            {
                "a": process("a sensor", "Publisher 'weather'"),
                "b": process("another one", "Publisher 'weather'"),
            },
            {
                "f": device("forwarder", "'weather'", "with a history, or not"),
                "g": device("forwarder", "'weather'", "stands by"),
            },
            {
                "1": process("a dashboard", "Subscriber"),
                "2": process("an alarm", "Subscriber"),
                "3": process("a log", "Subscriber"),
            },
        ),
        (
            data("a", "f", "each message once"),
            data("b", "f"),
            data("f", "1"),
            data("f", "2"),
            data("f", "3"),
        ),
    ),
    Picture(
        "bridge",
        "Two ends of a bridge carry messages between two networks over one connection",
        (
            {"a": process("network 1", "Publishers and", "Subscribers", "of 'weather'")},
            {"1": device("bridge", "keeps what the other", "end has not got")},
            {"2": device("bridge", "keeps what the other", "end has not got")},
            {"b": process("network 2", "Publishers and", "Subscribers", "of 'weather'")},
        ),
        (both("a", "1"), both("1", "2", "one connection"), both("2", "b")),
    ),
    Picture(
        "streamer",
        "Pushers hand their tasks to a streamer, which gives them to workers",
        (
            {
                "a": process("a web request", "Pusher 'thumbnails'"),
                "b": process("a cron job", "Pusher 'thumbnails'"),
            },
            {"s": device("streamer", "'thumbnails'", "one queue, in memory", "or on its disk")},
            {
                "1": process("worker 1", "Worker 'thumbnails'"),
                "2": process("worker 2", "Worker 'thumbnails'"),
                "3": process("worker 3", "dials the streamer"),
            },
        ),
        (
            both("a", "s", "task, result"),
            both("b", "s"),
            both("s", "1"),
            both("s", "2"),
            both("s", "3"),
        ),
    ),
)


if __name__ == "__main__":
    for picture in PICTURES:
        (HERE / f"{picture.name}.svg").write_text(picture.draw())
