"""What this process tells others of its roles: its answers on the control connection."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from zmqkit.core.effects import Effect, Send
from zmqkit.core.membership.directory import (
    Directory,
    read_directory,
    read_registration,
    say,
)
from zmqkit.core.membership.exchange import (
    Contact,
    Registrations,
    at_first_hand,
    means_one_host,
    rows_of,
)
from zmqkit.core.membership.known import KnownRoles
from zmqkit.limits import REVISE_S, MembershipLimits
from zmqkit.model import (
    BROKER,
    LOOPBACK,
    ROUTED,
    Address,
    PeerId,
    Reach,
    Record,
    kind_of,
    reach_of,
)
from zmqkit.statistics_limits import UNHEARD_S
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed
from zmqkit.wire.packet import Packet


class Offers:
    """The roles of this process, and what each process that asks is told of them."""

    def __init__(
        self, process: int, known: KnownRoles, limits: MembershipLimits, space: str = ""
    ) -> None:
        self.limits = limits
        self.process = process
        self.space = space
        self._known = known
        self.control_ports: dict[Reach, int] = {}  # where this process can be asked
        # Addresses of this host beyond loopback, best first, as the driver knows them.
        self.hosts: tuple[str, ...] = ()
        self.registrations = Registrations(limits)  # of the processes that asked for others
        # Connections over which a process asked or pinged, silent for longest first.
        self.callers: dict[PeerId, Reach] = {}
        # When each process asked or pinged last, silent for longest first.
        self._heard_at: dict[int, float] = {}
        self._own: dict[int, tuple[Record, Reach]] = {}
        self._revision = 0
        # Whether callers are to be told that the revision changed, and not before which time;
        # when `tick` is due for that.
        self._is_news = False
        self._tell_at = -inf
        self._due_at = inf

    def __len__(self) -> int:
        return len(self._own)

    def add(self, record: Record, reach: Reach) -> None:
        """List a role, for processes within its reach.

        Nobody announces the service of a broker or router, so `flush` tells callers that the
        revision changed.
        """
        self._own[record.incarnation] = (record, reach)
        self._revision += 1
        self._is_news = self._is_news or record.role in (BROKER, ROUTED)

    def remove(self, incarnation: int) -> list[Effect]:
        """List a role no longer.

        If it is a service, perhaps of a device, all callers within its reach are told at once.
        A publisher has told its subscribers itself, behind all that it published.
        """
        if incarnation not in self._own:
            return []
        record, reach = self._own.pop(incarnation)
        self._revision += 1
        told = self.callers.items() if kind_of(record.role) == "service" else ()
        return [
            say(peer, wire.BYE, self.process, [incarnation])
            for peer, theirs in told
            if theirs <= reach
        ]

    def flush(self, now: float) -> list[Effect]:
        """Tell callers of a new revision, as the answer to a ping would; not too often."""
        if not self._is_news:
            return []
        if now < self._tell_at:
            self._due_at = self._tell_at
            return []
        self._is_news, self._tell_at, self._due_at = False, now + REVISE_S, inf
        return [self._pong(peer, 0) for peer in self.callers]

    def tick(self, now: float) -> None:
        """Forget silent processes; take note that `flush`, which follows, is due."""
        self.registrations.tick(now)
        if now >= self._due_at:
            self._due_at = inf

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        return min(self.registrations.deadline(), self._due_at)

    def admit(self, peer: PeerId, packet: Packet, now: float, reach: Reach) -> bool:
        """Take a hello; return false when it registers its sender and there is no room.

        One from another space registers nobody.
        """
        contact = read_registration(packet)
        self._called(peer, packet.source, now, reach)
        if self._is_apart(packet):
            return True
        return contact is None or self.registrations.admit(peer, contact.seen_from(reach), now)

    def _called(self, peer: PeerId, process: int, now: float, reach: Reach) -> None:
        self.callers.pop(peer, None)
        self.callers[peer] = reach
        if len(self.callers) > self.limits.callers_max:
            del self.callers[next(iter(self.callers))]
        self._heard_at.pop(process, None)
        self._heard_at[process] = now
        if len(self._heard_at) > self.limits.callers_max:
            del self._heard_at[next(iter(self._heard_at))]

    def is_gone(self, process: int, now: float) -> bool:
        """Return whether a process that used this one says nothing any more.

        Who uses a role here pings each second. False for one of which nothing is known. Any
        thread may ask.
        """
        heard_at = self._heard_at.get(process)
        return heard_at is not None and now - heard_at > UNHEARD_S

    def addresses(self, reach: Reach) -> list[Address]:
        """Return where this process may be asked, as told over a connection of that reach."""
        told: dict[Address, None] = {}
        for within, port in self.control_ports.items():
            roles = [record for record, theirs in self._own.values() if theirs >= within]
            if within >= reach and roles:
                told.update((Address(host, port), None) for host in self._hosts(roles, within))
        return [*told][: self.limits.addresses_max]

    def _hosts(self, roles: list[Record], reach: Reach) -> list[str]:
        """Return the hosts at which others find these roles within that reach.

        Hosts that a role names itself come first; those of this host count for other roles.
        """
        if reach is Reach.LOCAL:
            return [LOOPBACK]
        given = [each for record in roles for each in record.addresses]
        ours = self.hosts if any(not record.addresses for record in roles) else ()
        shared = [a for a in given if means_one_host(a) and reach_of(a) is reach]
        return [*shared, *ours]

    def registration(self, reach: Reach) -> dict[str, object]:
        """Return the fields of a HELLO that asks for other processes as well."""
        return {"revision": self._revision, "places": rows_of(self.addresses(reach))}

    def _is_apart(self, packet: Packet) -> bool:
        """Whether a hello is from another space. Raises Malformed for a wrong one."""
        fields = packet.meta if type(packet.meta) is dict else {}
        return wire.space_of(fields) != self.space

    def welcome(
        self, peer: PeerId, reach: Reach, hello: Packet | None = None, gone: Iterable[int] = ()
    ) -> Send:
        """Return the directory for a peer whose connection reaches so far.

        A registered peer is also told of other processes, without itself, which said `hello`,
        and without those in `gone`. One from another space is told of no role.
        """
        is_apart = hello is not None and self._is_apart(hello)
        roles = [
            [record.name, record.role, record.incarnation, record.port]
            for record, theirs in self._own.values()
            if theirs >= reach and not is_apart
        ]
        fields: dict[str, object] = {
            "process": self.process,
            "control": self.control_ports.get(reach, 0),
            "revision": self._revision_for(peer),
            "roles": roles,
            **wire.named(self.space),
        }
        if peer in self.registrations:
            but = {self.process, 0 if hello is None else hello.source, *gone}
            fields["others"] = [each.row() for each in self._others(but, reach)]
        return say(peer, wire.WELCOME, self.process, fields)

    def read(self, packet: Packet) -> Directory:
        """Return the directory in a WELCOME; one of another space has no roles.

        Raises Malformed if there is no directory.
        """
        directory = read_directory(packet)
        if directory.space != self.space:
            directory.roles, directory.others = [], None
        return directory

    def _others(self, but: set[int], reach: Reach) -> list[Contact]:
        """Return the processes to tell of: those registered, then those known otherwise."""
        found = self.registrations.others(reach)
        for process in self._known.processes():
            if process not in found:
                told = at_first_hand(self._known, process).seen_from(reach)
                if told.addresses:
                    found[process] = told
        return [each for process, each in found.items() if process not in but][
            : self.limits.processes_max
        ]

    def pong(self, peer: PeerId, packet: Packet, now: float, reach: Reach) -> Send:
        """Return the answer to a ping; its revision tells whether the directory changed.

        Raises Malformed for a wrong ping.
        """
        self.registrations.heard(peer, now)
        self._called(peer, packet.source, now, reach)
        meta = packet.meta
        if type(meta) is not list or len(meta) != 1 or type(meta[0]) is not int:
            raise Malformed("ping")
        return self._pong(peer, meta[0])

    def _pong(self, peer: PeerId, token: int) -> Send:
        return say(peer, wire.PONG, self.process, [token, self._revision_for(peer)])

    def _revision_for(self, peer: PeerId) -> int:
        """Return a number that changes with what this peer is told.

        It also changes when the peer's registration ends.
        """
        if peer not in self.registrations:
            return self._revision
        others_revision = 1 + self.registrations.revision + self._known.changes
        return self._revision + (others_revision << 32)
