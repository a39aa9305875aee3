"""Takes out of zeroconf's cache the records that zeroconf could not write again.

Each query lists the pointers that are known. Zeroconf writes them as it read them: bytes that
are not UTF-8 become three times as long, and a dot inside a label becomes the end of the label.
A label that is then too long raises in every later query, also in zeroconf's own, for as long
as its record lives. An empty label garbles the query. So one forged packet would be enough to
keep a process from finding anybody new.
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
    """Listens to one zeroconf, and removes unfit records from its cache."""

    def __init__(self, zeroconf: Zeroconf, dropped: Callable[[int], None]) -> None:
        """dropped: gets the number of unfit records in a packet, if there are any."""
        self._zeroconf = zeroconf
        self._dropped = dropped
        self._unfit: set[Any] = set()
        self.has_heard = False  # whether anything came in; who asks sets it back
        zeroconf.async_add_listener(self, None)

    def async_update_records(
        self, zc: Zeroconf, now: float, records: list[RecordUpdate]
    ) -> None:
        """Remember the unfit records. They enter the cache only after this call."""
        self._unfit |= {each.new for each in records if not _is_fit(each)}
        # Where a record expires, zeroconf calls this with the record itself as the old one.
        self.has_heard |= any(each.old is not each.new for each in records)

    def async_update_records_complete(self) -> None:
        """Remove the unfit records from the cache, before the next query is written."""
        if self._unfit:
            unfit, self._unfit = self._unfit, set()
            cache = self._zeroconf.cache
            cache.async_remove_records([each for each in unfit if cache.get(each) is not None])
            self._dropped(len(unfit))


def is_instance(name: str) -> bool:
    """Whether a name can be an instance's: one label of our form, and then our service type."""
    label, dot, rest = name.partition(".")
    ours = dot + rest.lower() == f".{TYPE}" and _LABEL.fullmatch(label) is not None
    return ours and label.isprintable() and _fits(label)


def _is_fit(update: RecordUpdate) -> bool:
    """Whether the name that a pointer or a service record leads to can be written again."""
    alias, server = (getattr(update.new, each, None) for each in ("alias", "server"))
    if alias is not None:
        return update.new.name.lower() != TYPE or is_instance(alias)
    return server is None or all(map(_fits, server.removesuffix(".").split(".")))


def _fits(label: str) -> bool:
    return 0 < len(label.encode()) <= LABEL_BYTES_MAX
