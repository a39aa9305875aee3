"""The place of one end of a bridge: a device on its network, and a link to the other end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zmqkit.environment import check_reach
from zmqkit.errors import ConfigError
from zmqkit.links import Link
from zmqkit.links.pair import Pair
from zmqkit.links.profile import Profile
from zmqkit.links.zeromq import ZeromqLink
from zmqkit.model import LOOPBACK, Address, Reach, Url, parse_url
from zmqkit.roles.crossing import Crossing
from zmqkit.roles.scheme import EVERYWHERE, Binding, Lookup

if TYPE_CHECKING:
    from zmqkit.node.node import Node


@dataclass(slots=True, frozen=True)
class LinkPlace:
    """Where one end of a bridge meets the other: it listens, or dials if `connect` is said."""

    listen: str | None
    connect: str | None

    def check(self, *, insecure: bool | None) -> Url | None:
        """Return the address, None for any free port. Raises ConfigError for a wrong one."""
        if self.listen is not None and self.connect is not None:
            raise ConfigError(
                "a bridge has link.listen at one end, and link.connect at the other; leave one "
                "of them out"
            )
        key = "connect" if self.listen is None else "listen"
        value = self.connect if self.listen is None else self.listen
        if value is None:
            return None
        url = parse_url(value)
        if url.scheme != "tcp":
            raise ConfigError(f"link.{key} is {value!r}; use tcp://HOST:PORT")
        if key == "listen" and url.name:
            raise ConfigError(f"link.listen is {value!r}; leave out what is behind the port")
        if key == "connect" and (url.port == 0 or url.host == "*"):
            raise ConfigError(f"link.connect is {value!r}; it needs a host and a port")
        if insecure is False:
            check_reach(url.host, f"link.{key}={value!r}", Reach.LOCAL)
        return url


class Spanning(Crossing):
    """Listens under a name, looks for publishers of it, and has a link to the other end."""

    def __init__(
        self, binding: Binding, publishers: Lookup, link: LinkPlace, mark: bytes, *,
        insecure: bool | None,
    ) -> None:  # fmt: skip
        """mark: how the names of connections to other ends begin."""
        self._url = link.check(insecure=insecure)
        lookups = [publishers]
        if link.connect is not None:
            profile = Profile.DEVICES
            dialling = Lookup(
                "bridge", link.connect, insecure=insecure, space=binding.space, profile=profile
            )
            lookups.append(dialling)
        super().__init__(binding, *lookups)
        self._listens = link.connect is None
        self._mark = mark
        self._insecure = insecure
        self._listening_at = ""

    @property
    def endpoint(self) -> str:
        """Where the other end dials, if this one listens; else where subscribers connect."""
        return self._listening_at or super().endpoint

    @property
    def reach(self) -> Reach:
        """How far others may be, the other end among them."""
        there = parse_url(self._listening_at).reach if self._listening_at else Reach.LOCAL
        return max(super().reach, there)

    def open(self) -> Link:
        """Listen, and return the link by which the device speaks to all."""
        first = super().open()
        node = self.node
        assert node is not None
        second = ZeromqLink(node.context, Profile.DEVICES)
        try:
            if self._listens:
                self._listening_at = self._listen(second, node)
        except BaseException:
            second.close(0)
            first.close(0)
            self.release()
            raise
        return Pair(first, second, self._mark)

    def _listen(self, link: ZeromqLink, node: Node) -> str:
        """Listen for the other end, and return the address that it has to dial."""
        reach = node.environment.reach(insecure=self._insecure)
        host = self._url.host if self._url else LOOPBACK if reach is Reach.LOCAL else "*"
        check_reach(host, f"link.listen at {host}", reach)
        port = self._url.port if self._url else 0
        where = Address(LOOPBACK if host == "localhost" else host, port).endpoint
        bound = link.bind(where, node.environment.ports)
        if host not in EVERYWHERE:
            return bound
        return Address(parse_url(super().endpoint).host, parse_url(bound).port).endpoint
