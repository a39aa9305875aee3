"""Finds the roles at a `memory://` name of this process, as the node finds all others.

A name may have several roles, each at an address of its own below it. The address also has the
kind of the role and its space, so nobody finds one of another kind or of another space.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from zmqkit.core.effects import News, Tell
from zmqkit.core.membership.elsewhere import how_to_enter
from zmqkit.links import memory
from zmqkit.model import kind_of, space_shown


def address_of(name: str, role: str, space: str, incarnation: int) -> str:
    """Return the address at which a role of that name listens within the process."""
    return f"{_place(name, role, space)}{incarnation:016x}"


def _place(name: str, role: str, space: str) -> str:
    return f"memory://{name}/{kind_of(role)}/{space}/"


class Nearby:
    """Tells a role of those that it looks for at one `memory://` name."""

    def __init__(
        self,
        name: str,
        roles: Mapping[str, str],
        space: str,
        on_news: Callable[[Tell], object],
    ) -> None:
        """roles: the kinds of role that are looked for, by the key under which to tell of one.

        on_news: called on whichever thread binds an address or gives it back.
        """
        self._name = name
        self._roles = roles
        self._space = space
        self._on_news = on_news
        # Held while news are told, so that nobody tells of the same twice. A finalizer may
        # close a role in the middle of that.
        self._lock = threading.RLock()
        self._told: dict[int, str] = {}
        self._hint = ""
        self._watches = False

    def open(self) -> None:
        """Tell who is there, and from now on who comes and goes, until `close`."""
        self._watches = True
        memory.watch(f"memory://{self._name}/", self.look)
        self.look()

    def close(self) -> None:
        """Tell nothing any more."""
        if self._watches:
            self._watches = False
            memory.unwatch(f"memory://{self._name}/", self.look)

    def look(self) -> None:
        """Tell who came and who went since the last look."""
        with self._lock:
            found = {
                number: (key, address)
                for key, role in self._roles.items()
                for number, address in memory.owners(
                    _place(self._name, role, self._space)
                ).items()
            }
            gone = {each: key for each, key in self._told.items() if each not in found}
            came = {each: there for each, there in found.items() if each not in self._told}
            self._told = {number: key for number, (key, _) in found.items()}
            for number, key in gone.items():
                self._on_news(Tell(News.GONE, key, number))
            for number, (key, address) in came.items():
                self._on_news(Tell(News.FOUND, key, number, address))
            self._explain()

    def _explain(self) -> None:
        """Tell once in which other space there is such a role, while there is none in this."""
        key, role = next(iter(self._roles.items()))
        others = memory.owners(f"memory://{self._name}/{kind_of(role)}/")
        spaces = sorted(address.split("/")[-2] for address in others.values())
        if self._told or not spaces:
            self._hint = ""
            return
        hint = (
            f"one is in {space_shown(spaces[0])}, and this is {space_shown(self._space)}: "
            f"{how_to_enter(spaces[0])}"
        )
        if hint != self._hint:
            self._hint = hint
            self._on_news(Tell(News.HINT, key, text=hint))
