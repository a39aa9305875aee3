"""The place of a device: it listens under a name as a service does, and looks for peers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zmqkit.core.effects import Watch
from zmqkit.links import Link
from zmqkit.model import Reach
from zmqkit.roles.scheme import Binding, Lookup

if TYPE_CHECKING:
    from zmqkit.node.node import Node, OnNews


class Crossing:
    """The place of a device: it listens under a name, and looks for peers."""

    via = ""

    def __init__(self, binding: Binding, *lookups: Lookup) -> None:
        self._binding = binding
        self._lookups = lookups
        self.name = binding.name
        self.space = binding.space
        self.incarnation = binding.incarnation

    @property
    def node(self) -> Node | None:
        """The node of the process, while the device is open."""
        return self._binding.node

    @property
    def endpoint(self) -> str:
        """Where the device listens; empty before it is opened."""
        return self._binding.endpoint

    @property
    def reach(self) -> Reach:
        """How far others may be that use the device."""
        return self._binding.reach

    def open(self) -> Link:
        """Listen, and return the link, by which the device also connects to peers."""
        link = self._binding.open()
        try:
            for lookup in self._lookups:
                lookup.join()
        except BaseException:
            link.close(0)
            self.release()
            raise
        return link

    def watch(self, effect: Watch) -> None:
        """Have the node watch the process at one of the URLs that the device was given."""
        for lookup in self._lookups:
            if lookup.name == effect.target:
                lookup.watch(effect)

    def about(self) -> dict[str, object]:
        """Return the fields that a WELCOME has beside those of the core."""
        return self._binding.about()

    def appear(self, on_news: OnNews) -> None:
        """Announce the device, and have `on_news` called with the news of peers."""
        self._binding.appear(on_news)
        for lookup in self._lookups:
            lookup.appear(on_news)

    def withdraw(self) -> None:
        """Stop announcing the device; peers that use it may go on until `release`."""
        self._binding.withdraw()

    def release(self) -> None:
        """Stop listening for news, tell peers that the device is gone, give the node back."""
        for lookup in self._lookups:
            if lookup.node is not None:
                lookup.release()
        self._binding.release()
