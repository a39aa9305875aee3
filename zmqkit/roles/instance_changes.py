"""Changes of the instances that a client uses, taken from the events of its core."""

from __future__ import annotations

from collections.abc import Iterable

from zmqkit.core.dispatch.job import Instance
from zmqkit.core.effects import Note
from zmqkit.errors import UsageError
from zmqkit.roles.messages import is_async
from zmqkit.roles.watching import Change

_STATES = {
    "instance-up": "up",
    "instance-silent": "evasive",
    "instance-answering": "up",
    "instance-lost": "lost",
    "instance-gone": "gone",
}


class InstanceChanges:
    """What changes about a client's instances, for those who have it called."""

    def __init__(self, name: str) -> None:
        """name: of the client: what it calls, or a URL."""
        self._name = name
        self._known: set[str] = set()

    def present(self, instances: Iterable[Instance]) -> list[Change]:
        """Return the instances that are there, as `added`; later changes count from here."""
        found = [
            self._change("added", f"{each.incarnation >> 32:08x}", each.endpoint, each.word)
            for each in instances
            if each.word in _STATES.values()
        ]
        self._known = {each.instance for each in found}
        return found

    def of(self, note: Note) -> Change | None:
        """Return what an event of the core changed; None if nothing."""
        state = _STATES.get(note.event)
        if state is None:
            return None
        half, address = str(note.fields["instance"]), str(note.fields["endpoint"])
        label = f"{self._name}-{half}"
        was_known = label in self._known
        if state == "gone":
            self._known.discard(label)
            return self._change("removed", half, address, state) if was_known else None
        self._known.add(label)
        return self._change("changed" if was_known else "added", half, address, state)

    def _change(self, what: str, half: str, address: str, state: str) -> Change:
        return Change(what, self._name, "service", f"{self._name}-{half}", address, state)


def check_on_change(callback: object) -> None:
    """Raise UsageError unless this can be called with each change."""
    if not callable(callback) or is_async(callback):
        raise UsageError(
            f"the callback is {callback!r}; use a plain function that takes a Change, or loop "
            "over zmqkit.asyncio.watch(name), where you may await"
        )
