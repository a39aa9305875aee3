"""Reads the defaults that environment variables change. Pure: they arrive as a mapping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zmqkit.errors import ConfigError, UsageError
from zmqkit.limits import PEERS_MAX
from zmqkit.model import LOOPBACK, Reach, check_space, parse_url, reach_of


@dataclass(slots=True, frozen=True)
class Environment:
    """The values of ZMQKIT_PEERS, _PEERS_FILE, _PORTS, _INSECURE, _SPACE and _LOG."""

    # `host:port` of processes to ask, beside discovery.
    peers: tuple[str, ...] = ()
    # The path of a file with more peers, or an empty text.
    peers_file: str = ""
    # The lowest and the highest port to bind; (0, 0) for any.
    ports: tuple[int, int] = (0, 0)
    # Reach and be reached beyond this machine, in plain text.
    insecure: bool = False
    # The space of roles that name none; empty for the default space.
    space: str = ""
    # From which level on zmqkit itself shows what it logs; empty if it does not.
    log: str = ""

    def reach(self, *, insecure: bool | None = None) -> Reach:
        """Return how far a role may reach; None for `insecure` follows the environment."""
        wanted = self.insecure if insecure is None else insecure
        return Reach.PLAIN if wanted else Reach.LOCAL


def read_environment(environ: Mapping[str, str]) -> Environment:
    """Return the settings; a ConfigError names the wrong variable and the remedy."""
    peers = tuple(p.strip() for p in environ.get("ZMQKIT_PEERS", "").split(",") if p.strip())
    for peer in peers:
        _check_peer(peer, "ZMQKIT_PEERS")
    flag = environ.get("ZMQKIT_INSECURE", "")
    if flag not in ("", "0", "1"):
        raise ConfigError(f"ZMQKIT_INSECURE is {flag!r}; use 1 or leave it unset")
    return Environment(
        peers,
        environ.get("ZMQKIT_PEERS_FILE", ""),
        _ports(environ.get("ZMQKIT_PORTS", "")),
        flag == "1",
        check_space(environ.get("ZMQKIT_SPACE", ""), "ZMQKIT_SPACE"),
        read_log(environ),
    )


def read_log(environ: Mapping[str, str]) -> str:
    """Return ZMQKIT_LOG: a level, or an empty text. Raises ConfigError for anything else."""
    word = environ.get("ZMQKIT_LOG", "")
    if word not in ("", "info", "debug"):
        raise ConfigError(f"ZMQKIT_LOG is {word!r}; use info or debug, or leave it unset")
    return word


def read_peers(text: str, path: str) -> tuple[str, ...]:
    """Return the static peers in a file's text: a `host:port` a line, comments after `#`.

    Raises a ConfigError with the path, the line, the wrong text and the right form.
    """
    peers: dict[str, None] = {}
    for number, line in enumerate(text.splitlines(), 1):
        peer = line.partition("#")[0].strip()
        if peer:
            _check_peer(peer, f"{path}:{number}")
            peers[peer] = None
    if len(peers) > PEERS_MAX:
        raise ConfigError(
            f"{path} names {len(peers)} peers; {PEERS_MAX} at most, and one that all share is "
            "enough"
        )
    return tuple(peers)


def _check_peer(peer: str, where: str) -> None:
    if not _is_peer(peer):
        place = peer.rpartition("://")[2].partition("/")[0]
        remedy = f"write {place}" if _is_peer(place) else "write it like 10.0.0.5:5555"
        raise ConfigError(f"{where}: {peer!r} is not host:port; {remedy}")


def _is_peer(text: str) -> bool:
    """Whether this is the host and port of one process, with nothing before or behind."""
    try:
        url = parse_url(f"tcp://{text}")
    except UsageError:
        return False
    return not url.name and url.host != "*" and url.port != 0


def _ports(text: str) -> tuple[int, int]:
    if not text:
        return (0, 0)
    low, dash, high = text.partition("-")
    if not (dash and low.isdigit() and high.isdigit()):
        raise ConfigError(f"ZMQKIT_PORTS is {text!r}; use a range such as 5600-5700")
    first, last = int(low), int(high)
    if not 0 < first <= last <= 65535:
        raise ConfigError(f"ZMQKIT_PORTS is {text!r}; use a range within 1-65535, lowest first")
    return (first, last)


def check_reach(host: str, what: str, reach: Reach) -> None:
    """Raise ConfigError for a host that is further away than `reach` allows."""
    if reach_of(host) > reach:
        raise ConfigError(
            f"{what} reaches beyond this machine; pass insecure=True, or --insecure, or set "
            f"ZMQKIT_INSECURE=1, to talk in plain text on the network; or use {LOOPBACK}"
        )
