"""How a device tells other processes of the services that it has."""

from __future__ import annotations

from collections import Counter

from zmqkit.core.effects import Offer, Retract
from zmqkit.drivers.perform import Hooks
from zmqkit.errors import UsageError
from zmqkit.model import Record, parse_url
from zmqkit.roles.scheme import Binding


class Offering:
    """Lists services in the directory of the process; they are found through the device."""

    def __init__(
        self, place: Binding, role: str, advertise: str | None, refused: Counter[str]
    ) -> None:
        """role: of each of them. refused: counts why one could not be listed.

        Such a one is listed once there is room.
        """
        self._place = place
        self._role = role
        self._addresses = (advertise,) if advertise else ()
        self._refused = refused
        self._unlisted: dict[int, Offer] = {}

    def belong_to(self, hooks: Hooks) -> None:
        """List what a core offers from now on."""
        hooks.offer, hooks.retract = self._offer, self._retract

    def _offer(self, effect: Offer) -> None:
        node = self._place.node
        if node is None:
            return
        try:
            node.admit()
        except UsageError as error:
            self._refused[str(error)] += 1
            self._unlisted[effect.incarnation] = effect
            return
        record = Record(
            effect.name, self._role, effect.incarnation, node.process, self._addresses,
            self._place.control_port, parse_url(self._place.endpoint).port,
        )  # fmt: skip
        node.offer(record, self._place.reach)

    def _retract(self, effect: Retract) -> None:
        node = self._place.node
        if node is None or self._unlisted.pop(effect.incarnation, None) is not None:
            return
        node.retract(effect.incarnation)
        node.dismiss()
        if self._unlisted:
            self._offer(self._unlisted.pop(next(iter(self._unlisted))))
