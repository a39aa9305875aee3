"""Changes of who is there: the instances of a name as this process sees them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zmqkit.core.effects import Tell
from zmqkit.core.membership.interests import key_of
from zmqkit.drivers.fork import current_process
from zmqkit.errors import UsageError
from zmqkit.model import check_name
from zmqkit.roles.scheme import acquire_node, release_node

if TYPE_CHECKING:
    from zmqkit.node.listings import Listing
    from zmqkit.node.node import Node, OnNews

LOOK_S = 0.5
"""How often to look when there is no news. That a role went silent makes no news."""

_KINDS = ("service", "publisher", "worker", "sink")
_THERE = ("up", "evasive", "lost")


@dataclass(slots=True, frozen=True)
class Change:
    """One instance of a name came, changed or went.

    change: `added`, `changed` or `removed`. name: of the role. role: what `zmqkit ls` calls it:
    `service`, `publisher`, `worker`, `sink`, or a device; to a client, devices are services,
    too. instance: the label of the instance.
    address: where it is reached. state: `up`; `evasive`, which is connected and silent; `lost`,
    whose connection broke a moment ago; or `gone`.
    """

    change: str
    name: str
    role: str
    instance: str
    address: str
    state: str


class Watching:
    """Watches the instances of one name, of all kinds of roles, from `open` to `close`."""

    def __init__(self, name: str, *, insecure: bool | None) -> None:
        """insecure: watch instances on other machines too. Raises UsageError for a URL."""
        if isinstance(name, str) and "://" in name:
            raise UsageError(f"{name!r} is a URL; watch a name, or use Client(url).on_change")
        self.name = check_name(name)
        self._insecure = insecure
        self._node: Node | None = None
        self._hear: OnNews | None = None
        self._lock = threading.Lock()
        self._process = current_process()
        self._before: list[Listing] = []

    @property
    def is_open(self) -> bool:
        """Whether changes are looked for."""
        return self._node is not None

    def open(self, news: Callable[[], object]) -> None:
        """Look for changes from now on; `news` is called on another thread when to look."""

        def hear(tell: Tell) -> None:
            news()

        node = self._node = acquire_node()
        self._hear = hear
        self._reach = node.environment.reach(insecure=self._insecure)
        for kind in _KINDS:
            node.want(key_of(kind, self.name), hear, role=kind, reach=self._reach)

    def look(self) -> list[Change]:
        """Return what changed since the last look; the first time all that is there.

        Raises UsageError in a forked child.
        """
        self._process.check()
        node = self._node
        if node is None:
            return []
        from zmqkit.node.listings import changes  # most programs need it not

        known = {(row.process, row.label): row for row in self._before}
        rows = []
        for row in node.listings():
            before = known.get((row.process, row.label))
            if row.name == self.name and row.state in _THERE:
                rows.append(row)
            elif before is not None and row.state == "connecting":
                rows.append(before)  # on the way back
        found = [_change(what, row) for what, row in changes(self._before, rows)]
        self._before = rows
        return found

    def close(self) -> None:
        """Look no more."""
        with self._lock:
            node, self._node = self._node, None
        if node is None or self._hear is None or self._process.forked:
            return
        for kind in _KINDS:
            node.unwant(key_of(kind, self.name), self._hear, self._reach)
        release_node(node)


def _change(what: str, row: Listing) -> Change:
    if what == "removed":
        row = replace(row, state="gone")
    return Change(what, row.name, row.role, row.label, row.address, row.state)
