"""What a URL's scheme, or a name, means: a role's link, and how it is announced or looks.

Nothing else knows schemes: `tcp` and names go through the node, `memory` stays in the process.
Another layer underneath enters here.
"""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import TYPE_CHECKING

from zmqkit.core.effects import News, Tell
from zmqkit.core.membership.interests import key_of
from zmqkit.environment import check_reach
from zmqkit.errors import ConfigError, UsageError
from zmqkit.limits import NODE_DESCRIPTORS, ROLE_DESCRIPTORS
from zmqkit.links import Link, memory
from zmqkit.links.descriptors import check_spare
from zmqkit.links.memory import MemoryLink
from zmqkit.links.profile import Profile, packets_max
from zmqkit.links.zeromq import ZeromqLink
from zmqkit.model import (
    LOOPBACK,
    Address,
    Reach,
    Record,
    Url,
    check_name,
    parse_url,
    reach_of,
)

if TYPE_CHECKING:
    from zmqkit.node.node import Node, OnNews

_EVERYWHERE = ("*", "0.0.0.0", "::")
"""Hosts that stand for all interfaces, loopback among them."""


def check_insecure(insecure: object) -> None:
    """Raise UsageError for what does not say whether the network may be used in plain text."""
    if insecure is not None and type(insecure) is not bool:
        raise UsageError(
            f"insecure is {insecure!r}; use True or False, or None to follow ZMQKIT_INSECURE"
        )


def check_advertise(address: object) -> None:
    """Raise ConfigError for what others cannot reach a role at."""
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


def draw_incarnation() -> int:
    """A number that no other role object has."""
    return int.from_bytes(os.urandom(8), "big") >> 1 | 1


class Binding:
    """Where a role listens and how it is announced: its link, address and record."""

    def __init__(
        self,
        role: str,
        name: str,
        bind: str | None,
        advertise: str | None,
        *,
        insecure: bool | None,
        profile: Profile = Profile.DATA,
    ) -> None:
        check_insecure(insecure)
        check_advertise(advertise)
        self._role = role
        self._profile = profile
        self.name = check_name(name)
        self.incarnation = draw_incarnation()
        self.endpoint = ""
        self.node: Node | None = None
        self._insecure = insecure
        self._reach = Reach.LOCAL
        self._control_port = 0
        self._advertise = advertise
        self._url = parse_url(bind) if bind is not None else None
        if self._url is not None and self._url.scheme == "tcp" and self._url.name:
            raise ConfigError(f"bind={bind!r} has a name behind the port; leave it out")
        if self._url is not None and self._url.scheme == "tcp" and insecure is False:
            check_reach(self._url.host, f"bind={bind!r}", Reach.LOCAL)

    def open(self) -> Link:
        """Listen; ConfigError when the address cannot be had. `announce` makes it known."""
        url = self._url
        if url is not None and url.scheme == "memory":
            check_spare(NODE_DESCRIPTORS + ROLE_DESCRIPTORS, "a role and what keeps it going")
            quiet = MemoryLink(
                self.incarnation,
                topics=self._profile is not Profile.DATA,
                packets_max=packets_max(self._profile),
            )
            try:
                self.endpoint = quiet.bind(f"memory://{url.name}", (0, 0))
            except ConfigError:
                quiet.close(0)
                raise
            return quiet
        node = acquire_node()
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
        self._reach = reach_of(host)
        self._control_port = node.open_control(self._reach)
        port = self._url.port if self._url else 0
        link = ZeromqLink(node.context, self._profile)
        try:
            bound = link.bind(Address(host, port).endpoint, node.environment.ports)
            self.endpoint = self._usable(bound)
            if host not in (*_EVERYWHERE, LOOPBACK):
                # Peers on this machine come by its loopback, whatever the address is.
                link.bind_also(f"tcp://{LOOPBACK}:{parse_url(self.endpoint).port}")
        except BaseException:
            link.close(0)
            raise
        return link

    def _usable(self, bound: str) -> str:
        """The endpoint as another program can use it: a bound one may mean all interfaces."""
        url = parse_url(bound)
        if url.host not in _EVERYWHERE:
            return bound
        # ifaddr takes a moment to import, and only what is open to the network needs it here.
        from zmqkit.discovery.addresses import best, here

        try:
            ours = here(Reach.PLAIN)
        except OSError:
            ours = []
        host = self._advertise or best(ours, 6 if url.host == "::" else 4)
        return Address(host, url.port).endpoint

    def about(self) -> dict[str, object]:
        """What a WELCOME tells beside the core's own fields."""
        if self.node is None:
            return {}
        row = [self.name, self._role, self.incarnation, parse_url(self.endpoint).port]
        return {"process": self.node.process, "control": self._control_port, "roles": [row]}

    def announce(self) -> None:
        """Have others find the role by its name."""
        if self.node is not None:
            addresses = (self._advertise,) if self._advertise else ()
            port = parse_url(self.endpoint).port
            record = Record(
                self.name, self._role, self.incarnation, self.node.process, addresses,
                self._control_port, port,
            )  # fmt: skip
            self.node.announce(record, self._reach)

    def withdraw(self) -> None:
        """Have others find it no longer; those that use it may go on until `release`."""
        if self.node is not None:
            self.node.withdraw(self.incarnation)

    def release(self) -> None:
        """Be gone for those that used it too, and give the node back."""
        node, self.node = self.node, None
        if node is not None:
            node.retract(self.incarnation)
            node.dismiss()
            release_node(node)


class Lookup:
    """Where a role looks for those of another kind: by name, or at a URL."""

    def __init__(
        self,
        role: str,
        name: str,
        *,
        insecure: bool | None,
        profile: Profile = Profile.DATA,
    ) -> None:
        check_insecure(insecure)
        self._role = role
        self._profile = profile
        is_url = isinstance(name, str) and "://" in name
        self.url: Url | None = parse_url(name) if is_url else None
        self.name = name if self.url is not None else check_name(name)
        self.node: Node | None = None
        self._key = self.name if self.url is not None else key_of(role, name)
        self._insecure = insecure
        self._reach = Reach.LOCAL
        self._on_news: OnNews | None = None
        self._wanted = False
        self._told = 0
        if self.url is not None and self.url.scheme == "tcp":
            if self.url.port == 0 or self.url.host == "*":
                raise ConfigError(f"{name!r}: to connect, it needs a host and a port")
            if insecure is False:
                check_reach(self.url.host, repr(name), Reach.LOCAL)

    def open(self) -> Link:
        """The link for the role's connections."""
        if self.url is not None and self.url.scheme == "memory":
            check_spare(NODE_DESCRIPTORS + ROLE_DESCRIPTORS, "a role and what keeps it going")
            topics = self._profile is not Profile.DATA
            return MemoryLink(draw_incarnation(), topics=topics)
        node = self.node = acquire_node()
        self._reach = node.environment.reach(insecure=self._insecure)
        if self.url is not None:
            try:
                check_reach(self.url.host, repr(self.name), self._reach)
            except ConfigError:
                self.release()
                raise
        try:
            return ZeromqLink(node.context, self._profile)
        except BaseException:
            self.release()
            raise

    def listen(self, on_news: OnNews) -> None:
        """Have it called, on any thread, with the news of instances."""
        self._on_news = on_news
        if self.node is not None and self.url is not None and self._profile is not Profile.DATA:
            # A socket for topics takes no control connection: the publisher tells of that.
            on_news(Tell(News.FOUND, self._key, 0, self.url.endpoint))
        elif self.node is not None:
            self._want(self.url)
        else:
            memory.watch(self.name, self._look)
            self._look()

    def watch(self, url: str) -> None:
        """Have the node watch the process there, in place of one before it."""
        if self.node is not None:
            self._unwant()
            self._want(parse_url(url))

    def release(self) -> None:
        """Stop listening and give the node back; the link is closed before."""
        node = self.node
        if node is not None:
            self._unwant()
            self.node = None
            release_node(node)
        elif self._on_news is not None:
            memory.unwatch(self.name, self._look)

    def _want(self, url: Url | None) -> None:
        assert self.node is not None and self._on_news is not None
        self._wanted = True
        self.node.want(self._key, self._on_news, role=self._role, reach=self._reach, url=url)

    def _unwant(self) -> None:
        if self._wanted and self.node is not None and self._on_news is not None:
            self._wanted = False
            self.node.unwant(self._key, self._on_news, self._reach)

    def _look(self) -> None:
        """Tell of who owns a memory address now."""
        assert self._on_news is not None
        owner = memory.owner(self.name)
        if self._told and self._told != owner:
            self._on_news(Tell(News.GONE, self._key, self._told))
        if owner and owner != self._told:
            self._on_news(Tell(News.FOUND, self._key, owner, self.name))
        self._told = owner


def shown(kind: str, name: str, *states: str) -> str:
    """How a role shows itself: `<zmqkit.Client 'orders', closed>`."""
    return f"<{', '.join((f'{kind} {name!r}', *filter(None, states)))}>"


def acquire_node() -> Node:
    """The node of this process, to be given back with `release_node`."""
    # A node brings asyncio along, half the time that `import zmqkit` would take.
    from zmqkit.node import node

    return node.acquire()


def release_node(used: Node) -> None:
    """Give the node back; the last user closes it."""
    from zmqkit.node import node

    node.release(used)
