"""Turns a URL or a name into a role's link, and announces the role or looks for others.

No other module knows schemes. `tcp` and names go through the node; `memory` stays within the
process. A further transport is added here.
"""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import TYPE_CHECKING

from zmqkit.core.effects import News, Tell, Watch
from zmqkit.core.membership.interests import key_of, url_key
from zmqkit.environment import check_reach, read_environment
from zmqkit.errors import ConfigError, UsageError
from zmqkit.limits import NODE_DESCRIPTORS, ROLE_DESCRIPTORS
from zmqkit.links import Link
from zmqkit.links.descriptors import check_spare
from zmqkit.links.memory import MemoryLink
from zmqkit.links.profile import Profile, packets_max
from zmqkit.links.zeromq import ZeromqLink
from zmqkit.model import (
    LOOPBACK,
    MAJORDOMO,
    Address,
    Reach,
    Record,
    Url,
    check_name,
    check_space,
    looks_like_an_address,
    parse_url,
    reach_of,
)
from zmqkit.roles.nearby import Nearby, address_of
from zmqkit.wire.packet import named

if TYPE_CHECKING:
    from zmqkit.node.node import Node, OnNews

EVERYWHERE = ("*", "0.0.0.0", "::")
"""Hosts that mean all interfaces, loopback included."""


def check_insecure(insecure: object) -> None:
    """Raise UsageError unless `insecure` is True, False or None."""
    if insecure is not None and type(insecure) is not bool:
        raise UsageError(
            f"insecure is {insecure!r}; use True or False, or None to follow ZMQKIT_INSECURE"
        )


def space_of(space: str | None) -> str:
    """Return the space that a role is in: the given one, or else that of the environment.

    Raises ConfigError for what cannot be the name of a space.
    """
    return read_environment(os.environ).space if space is None else check_space(space)


def check_advertise(address: object) -> None:
    """Raise ConfigError unless other machines can reach a role at this IP address, or None."""
    try:
        host = str(address).partition("%")[0]
        if address is None or (type(address) is str and not ip_address(host).is_unspecified):
            return
    except ValueError:
        pass  # a host name, say
    raise ConfigError(
        f"advertise={address!r} is not an IP address; use the one at which other machines "
        "reach this one, such as '10.0.0.5'"
    )


def _check_own_name(role: str, name: str) -> str:
    """Return the name of a role that listens. Raise UsageError unless it can be announced."""
    if isinstance(name, str) and ("://" in name or looks_like_an_address(name)):
        raise UsageError(
            f"{name!r} is an address, and a {role} has a name; bind=URL, or --bind URL, says "
            "where it listens"
        )
    return check_name(name)


def draw_incarnation() -> int:
    """Return a random number that no other role object has."""
    return int.from_bytes(os.urandom(8), "big") >> 1 | 1


class Binding:
    """The place where a role listens; opens its link and announces its address."""

    via = ""

    def __init__(
        self,
        role: str,
        name: str,
        bind: str | None,
        advertise: str | None,
        *,
        insecure: bool | None,
        space: str | None = None,
        profile: Profile = Profile.DATA,
    ) -> None:
        check_insecure(insecure)
        check_advertise(advertise)
        self.space = space_of(space)
        self._role = role
        self._profile = profile
        self.name = _check_own_name(role, name)
        self.incarnation = draw_incarnation()
        self.endpoint = ""
        self.node: Node | None = None
        self._insecure = insecure
        self.reach = Reach.LOCAL
        # Where this process can be asked, once the place is open.
        self.control_port = 0
        self._advertise = advertise
        self._url = parse_url(bind) if bind is not None else None
        if self._url is not None and self._url.scheme == "tcp" and self._url.name:
            raise ConfigError(f"bind={bind!r} has a name behind the port; leave it out")
        if self._url is not None and self._url.scheme == "tcp" and insecure is False:
            check_reach(self._url.host, f"bind={bind!r}", Reach.LOCAL)

    def open(self) -> Link:
        """Listen, and return the link; `appear` makes the role known.

        Raises ConfigError when the address cannot be had.
        """
        url = self._url
        if url is not None and url.scheme == "memory":
            check_spare(NODE_DESCRIPTORS + ROLE_DESCRIPTORS, "a role and what keeps it going")
            quiet = MemoryLink(
                self.incarnation,
                topics=self._profile is not Profile.DATA,
                packets_max=packets_max(self._profile),
            )
            try:
                number = self.incarnation
                quiet.bind(address_of(url.name, self._role, self.space, number), (0, 0))
            except ConfigError:
                quiet.close(0)
                raise
            self.endpoint = f"memory://{url.name}"
            return quiet
        node = acquire_node(self.space)
        try:
            node.admit()
        except BaseException:
            release_node(node)
            raise
        self.node = node
        try:
            return self._listen(node)
        except BaseException:
            self.release()
            raise

    def _listen(self, node: Node) -> Link:
        reach = node.environment.reach(insecure=self._insecure)
        host = self._url.host if self._url else LOOPBACK if reach is Reach.LOCAL else "*"
        check_reach(host, f"bind to {host}", reach)
        host = LOOPBACK if host == "localhost" else host
        self.reach = reach_of(host)
        self.control_port = node.open_control(self.reach)
        port = self._url.port if self._url else 0
        link = ZeromqLink(node.context, self._profile)
        try:
            # Peers on this machine connect over loopback, whatever the address is.
            also = LOOPBACK if host not in (*EVERYWHERE, LOOPBACK) else ""
            bound = link.bind(Address(host, port).endpoint, node.environment.ports, also)
            self.endpoint = self._usable(bound)
        except BaseException:
            link.close(0)
            raise
        return link

    def _usable(self, bound: str) -> str:
        """Return an endpoint for other programs to use: `bound` may mean all interfaces."""
        url = parse_url(bound)
        if url.host not in EVERYWHERE:
            return bound
        # Importing ifaddr takes a moment, and only roles open to the network need it here.
        from zmqkit.discovery.addresses import best, here

        try:
            ours = here(Reach.PLAIN)
        except OSError:
            ours = []
        host = self._advertise or best(ours, 6 if url.host == "::" else 4)
        return Address(host, url.port).endpoint

    def about(self) -> dict[str, object]:
        """Return the fields that a WELCOME has beside those of the core."""
        if self.node is None:
            return {}
        row = [self.name, self._role, self.incarnation, parse_url(self.endpoint).port]
        told = {"process": self.node.process, "control": self.control_port, "roles": [row]}
        return {**told, **named(self.space)}

    def appear(self, on_news: OnNews) -> None:
        """Announce the role, so that others find it by its name."""
        if self.node is not None:
            addresses = (self._advertise,) if self._advertise else ()
            port = parse_url(self.endpoint).port
            record = Record(
                self.name, self._role, self.incarnation, self.node.process, addresses,
                self.control_port, port, self.space,
            )  # fmt: skip
            self.node.announce(record, self.reach)

    def withdraw(self) -> None:
        """Stop announcing the role; peers that use it may go on until `release`."""
        if self.node is not None:
            self.node.withdraw(self.incarnation)

    def release(self) -> None:
        """Tell peers that used the role that it is gone, and give the node back."""
        node, self.node = self.node, None
        if node is not None:
            node.retract(self.incarnation)
            node.dismiss()
            release_node(node)


class Lookup:
    """The place where a role looks for peers: by name, or at a URL."""

    def __init__(
        self,
        role: str,
        name: str,
        *,
        insecure: bool | None,
        space: str | None = None,
        profile: Profile = Profile.DATA,
        also: str = "",
    ) -> None:
        """role: of the peers. also: another role of that name, whose news come as well."""
        check_insecure(insecure)
        self.space = space_of(space)
        self._role, self._also_role = role, also
        self._also = key_of(also, name) if also else ""
        self._profile = profile
        is_url = isinstance(name, str) and "://" in name
        self.url: Url | None = parse_url(name) if is_url else None
        self.name = self._target = name if self.url is not None else check_name(name)
        self.node: Node | None = None
        self._key = url_key(role, name) if self.url is not None else key_of(role, name)
        self._insecure = insecure
        self._reach = self.reach = Reach.LOCAL
        self._on_news: OnNews | None = None
        self._wanted = False
        self._nearby: Nearby | None = None
        if self.url is not None and self.url.scheme == "tcp":
            if self.url.port == 0 or self.url.host == "*":
                raise ConfigError(f"{name!r}: to connect, it needs a host and a port")
            if insecure is False:
                check_reach(self.url.host, repr(name), Reach.LOCAL)

    def open(self) -> Link:
        """Open and return the link for the role's connections."""
        if self.url is not None and self.url.scheme == "memory":
            check_spare(NODE_DESCRIPTORS + ROLE_DESCRIPTORS, "a role and what keeps it going")
            topics = self._profile is not Profile.DATA
            return MemoryLink(draw_incarnation(), topics=topics)
        node = self._join()
        try:
            return ZeromqLink(node.context, self._profile)
        except BaseException:
            self.release()
            raise

    def _join(self) -> Node:
        """Take part in the node. Raises ConfigError for a URL beyond the reach of the role."""
        node = self.node = acquire_node(self.space)
        self._reach = self.reach = node.environment.reach(insecure=self._insecure)
        if self.url is not None:
            try:
                check_reach(self.url.host, repr(self._target), self._reach)
            except ConfigError:
                self.release()
                raise
        return node

    def about(self) -> dict[str, object]:
        """Return the space alone; nobody is told of a role that listens nowhere."""
        return named(self.space)

    def appear(self, on_news: OnNews) -> None:
        """Have `on_news` called with the news of instances, on any thread."""
        self._on_news = on_news
        if self.node is not None and self.url is not None and self._profile is not Profile.DATA:
            # A socket for topics takes no control connection; the publisher tells of its own.
            # A broker of another kind has none.
            on_news(Tell(News.FOUND, self._key, 0, self.url.endpoint))
        elif self.node is not None:
            self._want(self.url)
        else:
            assert self.url is not None
            roles = {self._key: self._role}
            if self._also:
                roles[self._also] = self._also_role
            self._nearby = Nearby(self.url.name, roles, self.space, on_news)
            self._nearby.open()

    def withdraw(self) -> None:
        """Do nothing; nobody was told of the role."""

    def join(self) -> None:
        """Look for peers on behalf of a role that has its link already."""
        self._join()

    def watch(self, effect: Watch) -> None:
        """Have the node watch a process, in place of the process before."""
        if self.node is not None:
            self._unwant()
            self._want(parse_url(effect.url))

    def release(self) -> None:
        """Stop listening for news and give the node back; the link has to be closed before."""
        node = self.node
        if node is not None:
            self._unwant()
            self.node = None
            release_node(node)
        nearby, self._nearby = self._nearby, None
        if nearby is not None:
            nearby.close()

    def _want(self, url: Url | None) -> None:
        assert self.node is not None and self._on_news is not None
        self._wanted = True
        self.node.want(self._key, self._on_news, role=self._role, reach=self._reach, url=url)
        if self._also and self.url is None:
            self.node.want(self._also, self._on_news, role=self._role, reach=self._reach)

    def _unwant(self) -> None:
        if self._wanted and self.node is not None and self._on_news is not None:
            self._wanted = False
            self.node.unwant(self._key, self._on_news, self._reach)
            if self._also and self.url is None:
                self.node.unwant(self._also, self._on_news, self._reach)


class Dialling(Lookup):
    """The place of a worker or service that dials a device; it listens nowhere."""

    def __init__(
        self, role: str, target: str, bind: str | None, advertise: str | None, *,
        insecure: bool | None, space: str | None = None, device: str, name: str = "",
        profile: Profile = Profile.DATA,
    ) -> None:  # fmt: skip
        """target: `tcp://host:port/name`, or the name of all devices to dial.

        device: their role. name: that of the worker or service, if it is not in the target.
        """
        super().__init__(device, target, insecure=insecure, space=space, profile=profile)
        for option, value in (("bind", bind), ("advertise", advertise)):
            if value is not None:
                raise ConfigError(
                    f"{option}={value!r}: a {role} that dials {target!r} listens nowhere; "
                    "leave it out"
                )
        if self.url is not None and self.url.scheme != "tcp":
            form = "tcp://host:port" if name else "tcp://host:port/name"
            raise ConfigError(
                f"{target!r}: a {role} dials a {device}, which is a process of its own; use "
                f"{form}"
            )
        self.via = target if name else ""
        self.name = name or target
        self.incarnation = draw_incarnation()
        self.reach = Reach.LOCAL
        self.endpoint = ""

    def open(self) -> Link:
        """Open and return the link for the connections to the devices."""
        link = super().open()
        self.reach = self._reach
        if self.url is not None:
            self.endpoint, self.reach = self.url.endpoint, self.url.reach
        return link

    def appear(self, on_news: OnNews) -> None:
        """Have `on_news` called with the devices of the name, or tell where the only one is."""
        if self.url is None:
            super().appear(on_news)
        else:
            on_news(Tell(News.FOUND, self._key, 0, self.endpoint))


def working_place(
    role: str,
    name: str,
    bind: str | None,
    advertise: str | None,
    *,
    insecure: bool | None,
    space: str | None = None,
) -> Binding | Dialling:
    """Return the place of a worker: it listens under a name, or dials a streamer at a URL."""
    if isinstance(name, str) and "://" in name:
        return Dialling(
            role, name, bind, advertise, insecure=insecure, space=space, device="streamer"
        )
    return Binding(role, name, bind, advertise, insecure=insecure, space=space)


def serving_place(
    name: str, bind: str | None, via: str | None, advertise: str | None, *,
    insecure: bool | None, space: str | None = None, profile: Profile = Profile.DATA,
) -> Binding | Dialling:  # fmt: skip
    """Return the place of a service: it listens under a name, or dials brokers."""
    if via is None:
        return Binding("service", name, bind, advertise, insecure=insecure, space=space)
    own = _check_own_name("service", name)
    place = Dialling(
        "service", via, bind, advertise, insecure=insecure, space=space, device=MAJORDOMO,
        name=own, profile=profile,
    )  # fmt: skip
    if place.url is not None and place.url.name:
        raise ConfigError(f"via={via!r} has a name behind the port; leave it out")
    return place


def shown(kind: str, name: str, *states: str) -> str:
    """Return the `repr` of a role, such as `<zmqkit.Client 'orders', closed>`."""
    return f"<{', '.join((f'{kind} {name!r}', *filter(None, states)))}>"


def acquire_node(space: str | None = None) -> Node:
    """Return the node of this process in a space; give it back with `release_node`.

    None stands for the space of the environment.
    """
    # A node imports asyncio, which would be half of the time that `import zmqkit` takes.
    from zmqkit.node import node

    return node.acquire(space)


def release_node(used: Node) -> None:
    """Give the node back; the node closes when its last user gives it back."""
    from zmqkit.node import node

    node.release(used)
