"""What a device file may say: each option's type, default and unit, and a sentence on it.

The limits of a kind are read from their dataclass: what stands above a field as a comment is
its sentence, and its name says its unit. So there is one place for each of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields

from zmqkit.limits import DRAIN_S, Limits

ANY = "*"
"""Stands for any key of a table."""


@dataclass(slots=True, frozen=True)
class Option:
    """One option: what its value is, and what it is for."""

    # "str", "bool", "int", "float" or "list" (of texts).
    type: str
    says: str
    default: float | None = None

    def unit(self, key: str) -> str:
        """Return the unit of the value, which the end of its key says; empty for text."""
        if self.type in ("str", "bool", "list"):
            return ""
        words = key.split("_")
        if words[-1] == "s" or key == ANY:
            return "s"
        return "bytes" if "bytes" in words else "number"


Table = Mapping[str, Option]
Tables = Mapping[str, Table]
"""By table and key, the option."""

COMMON: Tables = {
    "device": {
        "kind": Option("str", "What the device is."),
        "name": Option("str", "The name under which others find it; --name has the last word."),
        "insecure": Option(
            "bool", "Serve other machines too, in plain text; else ZMQKIT_INSECURE says so."
        ),
        "space": Option(
            "str", "The space whose roles it sees, and no others; else ZMQKIT_SPACE says so."
        ),
        "statistics": Option("bool", "Tell other machines that reach it what it counts."),
        "drain_s": Option(
            "float", "How long it may finish what is under way when it is told to end.", DRAIN_S
        ),
    },
    "frontend": {
        "bind": Option("str", "tcp://HOST:PORT, for those that dial it; else any free port."),
        "advertise": Option("str", "The IP address that others are told, for containers."),
    },
}
"""What every device has, and HEALTH."""

HEALTH: Tables = {
    "health": {
        "bind": Option(
            "str",
            "tcp://HOST:PORT at which it answers /livez, /readyz and /metrics; else none.",
        ),
    }
}

UPSTREAM: Tables = {
    "backend": {
        "connect": Option(
            "list",
            "URLs of publishers and forwarders, tcp://HOST:PORT/NAME, instead of the "
            "publishers of its name.",
        )
    }
}
STREAM_ON: Tables = {
    "backend": {
        "connect": Option(
            "list", "The URL of one streamer, tcp://HOST:PORT/NAME, to which tasks go instead."
        )
    }
}
JOURNAL: Tables = {
    "journal": {
        "path": Option(
            "str",
            "Where it keeps what it accepted: a file on a local disk, of a broker a folder, "
            "made if it is not there; else it keeps all in memory.",
        )
    }
}
LEASES: Tables = {
    "leases": {
        ANY: Option(
            "float",
            "By service: how long a worker of RFC 7 or RFC 18 may have a request and send "
            "nothing, in place of limits.rfc_lease_s.",
        )
    }
}

BACKEND: Tables = {
    "backend": {
        "names": Option(
            "list", "The services whose calls it passes on; else those of the device's name."
        ),
        "connect": Option(
            "list", "Where services are that discovery does not find, as tcp://HOST:PORT/NAME."
        ),
    }
}

LINK: Tables = {
    "link": {
        "listen": Option(
            "str", "tcp://HOST:PORT for the other end to dial; else any free port."
        ),
        "connect": Option(
            "str", "tcp://HOST:PORT/NAME where the other end listens; then this one dials."
        ),
    },
    "rules": {
        "topics": Option("list", "Beginnings of topics that are carried; else all are."),
        "direction": Option(
            "str", "Where to: out of this network, in, or both; several rules are [[rules]]."
        ),
    },
}

_FIELD = re.compile(r"    (\w+): \w+")
_COMMENT = re.compile(r"    # (.*)")


def limits_table(limits: type[Limits], *, described: bool) -> Table:
    """Return the options of a kind's limits; if `described`, with sentences, for which it reads
    the source.
    """
    says = _sentences(limits) if described else {}
    table: dict[str, Option] = {}
    for field in fields(limits):
        default = field.default if field.default is not MISSING else None
        table[field.name] = Option(str(field.type), says.get(field.name, ""), default)
    return table


def _sentences(limits: type[Limits]) -> dict[str, str]:
    """Return the comment above each field."""
    import inspect  # takes as long as all else that a device needs to read its file

    says: dict[str, str] = {}
    words: list[str] = []
    goes_on = False
    bases = [each for each in reversed(limits.__mro__) if issubclass(each, Limits)]
    for line in "\n".join(map(inspect.getsource, bases)).splitlines():
        if comment := _COMMENT.fullmatch(line):
            words = [*words, comment[1]] if goes_on else [comment[1]]
        elif (field := _FIELD.match(line)) and words:
            says[field[1]], words = " ".join(words), []
        goes_on = comment is not None
    return says
