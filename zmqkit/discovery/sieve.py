"""Takes out of zeroconf's cache what zeroconf could not write again.

Each query lists the pointers that are known, and zeroconf repeats them as it read them: bytes
that are no UTF-8 three times as long, a dot inside a label as its end. A label that is too long
by then raises in every later query, zeroconf's own among them, for as long as its record lives;
one that is empty garbles the query. So one forged packet would have a process find nobody new.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from zeroconf import RecordUpdate, RecordUpdateListener, Zeroconf

TYPE = "_zmqkit._tcp.local."
LABEL_BYTES_MAX = 63

_LABEL = re.compile(r"[^.]+-[0-9a-f]{8}")


class Sieve(RecordUpdateListener):
    """Listens to one zeroconf. dropped: gets how many records a packet had that are unfit."""

    def __init__(self, zeroconf: Zeroconf, dropped: Callable[[int], None]) -> None:
        self._zeroconf = zeroconf
        self._dropped = dropped
        self._unfit: set[Any] = set()
        zeroconf.async_add_listener(self, None)

    def async_update_records(
        self, zc: Zeroconf, now: float, records: list[RecordUpdate]
    ) -> None:
        """Note what is unfit; it enters the cache after this."""
        self._unfit |= {each.new for each in records if not _is_fit(each)}

    def async_update_records_complete(self) -> None:
        """Take what is unfit out of the cache, before anybody asks again."""
        if self._unfit:
            unfit, self._unfit = self._unfit, set()
            cache = self._zeroconf.cache
            cache.async_remove_records([each for each in unfit if cache.get(each) is not None])
            self._dropped(len(unfit))


def is_instance(name: str) -> bool:
    """Whether a name can be that of an instance: one label such as ours, before our type."""
    label, dot, rest = name.partition(".")
    ours = dot + rest.lower() == f".{TYPE}" and _LABEL.fullmatch(label) is not None
    return ours and label.isprintable() and _fits(label)


def _is_fit(update: RecordUpdate) -> bool:
    """Whether the names that a pointer or a service record leads to can be written."""
    alias, server = (getattr(update.new, each, None) for each in ("alias", "server"))
    if alias is not None:
        return update.new.name.lower() != TYPE or is_instance(alias)
    return server is None or all(map(_fits, server.removesuffix(".").split(".")))


def _fits(label: str) -> bool:
    return 0 < len(label.encode()) <= LABEL_BYTES_MAX
