"""One run of zeroconf, on the addresses that this host had when the run began.

An engine is never repaired. When an interface is replaced, or lost and back with the same
address, the old socket has left the multicast group. Zeroconf does not notice, because it only
compares addresses. So whenever anything changed, a new engine takes over. It inherits what the
old engine heard.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Container, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from zeroconf import DNSQuestionType, Error, Zeroconf
from zeroconf import current_time_millis as now_ms
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from zmqkit.discovery.addresses import Here
from zmqkit.discovery.known import Known, OnEvent
from zmqkit.discovery.sieve import TYPE, Sieve
from zmqkit.model import LOOPBACK, Reach, Record, reach_of
from zmqkit.wire.announcement import ADDRESSES_MAX, encode, instance

ASK_S = 1.0
START_S = 1.0
BUFFER_BYTES = 1 << 20
"""The receive buffer: all processes answer a newcomer at once. The system may grant less."""

IP_MULTICAST_ALL = 49
"""A socket option of Linux, from <linux/in.h>; Python has no name for it."""


class Engine:
    """Announces records and hears those of others, within one reach, until it is closed."""

    def __init__(
        self, reach: Reach, server: str, ours: list[Here], known: Known, note: OnEvent
    ) -> None:
        """server: the host's name on the network. ours: the addresses to work with.

        The engine does nothing before `start`.
        """
        self._reach = reach
        self._server = server
        self._ours = ours
        self._known = known
        self._note = note
        self._tasks: list[asyncio.Task[None]] = []
        # Whether the last question from ports of our own was. While one is open, it is what
        # `is_deaf` was before.
        self._is_answered = False
        self._announced: dict[int, AsyncServiceInfo] = {}
        self._sending: dict[int, asyncio.Future[None]] = {}

    async def start(self, before: Engine | None) -> None:
        """Announce and hear from now on.

        before: the engine whose cache the new one inherits.
        Raises OSError, RuntimeError or zeroconf's Error where that is impossible.
        """
        self._zeroconf = await self._run(unicast=False)
        zeroconf = self._zeroconf.zeroconf
        self._confine(zeroconf)
        if before is not None:
            links = {None, 0, *(each.index for each in self._ours)}
            before.tell_all(zeroconf, links)
        self._sieve, self._browser = self._browse(zeroconf, DNSQuestionType.QM)
        self._tasks = [asyncio.create_task(self._known.complete_forever(zeroconf))]
        self._direct = asyncio.create_task(self._ask_directly([]))

    def ask(self) -> None:
        """Ask who is there, unless another process that knows no more has just asked."""
        self._ask(self._browser)

    def ask_directly(self) -> None:
        """Ask who is there from ports of our own, unless such a question is still open.

        The question lists the instances that were heard at port 5353, so that nobody repeats
        them. Where a firewall drops what comes in there, it lists none, and all answer.
        """
        if self._direct.done():
            known = _pointers(self._zeroconf.zeroconf)
            self._direct = asyncio.create_task(self._ask_directly(known))

    @property
    def is_deaf(self) -> bool:
        """Whether only ports of our own heard something since these were asked from last."""
        return self._is_answered and not self._sieve.has_heard

    async def announce(self, record: Record) -> None:
        """Announce a record, or that it changed; the first packet leaves at once."""
        info, before = self._info(record), self._announced.get(record.incarnation)
        try:
            if before is not None:
                self._unqueue(before)
                sending = await self._zeroconf.async_update_service(info)
            else:
                sending = await self._zeroconf.async_register_service(
                    info, cooperating_responders=True
                )
        except Error as error:
            self._failed("announce", error)
            return
        self._announced[record.incarnation] = info
        self._follow(record.incarnation, sending)

    def repeat(self, incarnation: int) -> None:
        """Announce a record once more, for processes that missed it."""
        info = self._announced.get(incarnation)
        if info is not None:
            zeroconf = self._zeroconf.zeroconf
            zeroconf.async_send(zeroconf.generate_service_broadcast(info, None))

    async def withdraw(self, incarnation: int) -> None:
        """Announce that a record is gone; does nothing if it was not announced."""
        info = self._announced.pop(incarnation, None)
        if info is not None:
            self._unqueue(info)
            self._follow(incarnation, await self._zeroconf.async_unregister_service(info))

    def tell_all(self, other: Zeroconf, links: Container[int | None]) -> None:
        """Copy what was heard to another zeroconf, except for addresses of other links.

        links: the indices of the links to keep.
        """
        heard = self._zeroconf.zeroconf.cache
        other.cache.async_add_records(
            record
            for name in heard.names()
            for record in heard.entries_with_name(name)
            if getattr(record, "scope_id", None) in links
        )

    async def close(self, *, farewell: bool) -> None:
        """Close sockets and end tasks.

        farewell: also withdraw every record, which takes 0.25 s.
        """
        zeroconf = self._zeroconf.zeroconf
        await self._browser.async_cancel()
        announcing = self._announced.keys() & self._sending.keys()
        tasks = [*self._tasks, self._direct]
        for future in [*tasks, *(self._sending[each] for each in announcing)]:
            future.cancel()
        for info in self._announced.values():
            self._unqueue(info)
        self._announced.clear()
        if not farewell:
            zeroconf.registry.async_remove(zeroconf.registry.async_get_service_infos())
        goodbyes = [self._zeroconf.async_unregister_all_services(), *self._sending.values()]
        try:
            await asyncio.gather(*tasks, *goodbyes, return_exceptions=True)
        finally:
            await self._zeroconf.async_close()

    async def _run(self, *, unicast: bool) -> AsyncZeroconf:
        """Run zeroconf; with `unicast` it only asks, from ports of its own.

        The start is shielded: after a cancelled start zeroconf could not be closed any more.
        """
        interfaces = list(dict.fromkeys(each.interface for each in self._ours))
        zeroconf = AsyncZeroconf(interfaces=interfaces, unicast=unicast)
        started = asyncio.ensure_future(zeroconf.zeroconf.async_wait_for_start(START_S))
        try:
            await asyncio.shield(started)
        except BaseException:
            await asyncio.wait([started])
            await zeroconf.async_close()
            raise
        with suppress(OSError):  # a system with a lower limit may grant nothing at all
            for reader in zeroconf.zeroconf.engine.readers:
                reader.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        return zeroconf

    def _confine(self, zeroconf: Zeroconf) -> None:
        """Keep the two reaches apart, so that neither hears what is meant for the other.

        A wildcard socket hears each group that any program joined on any interface, and unicast
        from anywhere. On other systems than Linux, only the filter by address keeps them apart.
        """
        if sys.platform != "linux":
            return
        try:
            for reader in zeroconf.engine.readers:
                if self._reach is Reach.LOCAL:
                    reader.sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
                else:
                    reader.sock.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
        except OSError as error:
            self._failed("confine", error)

    def _browse(
        self, zeroconf: Zeroconf, kind: DNSQuestionType
    ) -> tuple[Sieve, AsyncServiceBrowser]:
        sieve, handlers = Sieve(zeroconf, self._known.unfit), [self._known.changed]
        browser = AsyncServiceBrowser(zeroconf, TYPE, handlers=handlers, question_type=kind)
        return sieve, browser

    async def _ask_directly(self, known: Iterable[Any]) -> None:
        """Ask who is there from ports of our own, and hear the answers that come back.

        known: the instances that need not answer. The question is of type QU. Any other
        question could be taken for a copy of one that another process just asked.
        """
        self._is_answered, self._sieve.has_heard = self.is_deaf, False
        try:
            asker = await self._run(unicast=True)
        except (OSError, RuntimeError, Error) as error:
            self._failed("ask", error)
            return
        sieve, browser = self._browse(asker.zeroconf, DNSQuestionType.QU)
        asker.zeroconf.cache.async_add_records(known)
        try:
            self._ask(browser)
            await asyncio.sleep(ASK_S)
            self._is_answered = sieve.has_heard
            if self.is_deaf:
                self._known.confirm({each.alias for each in _pointers(asker.zeroconf)})
        finally:
            await browser.async_cancel()
            await asker.async_close()

    def _ask(self, browser: AsyncServiceBrowser) -> None:
        try:
            browser.query_scheduler.async_send_ready_queries(False, now_ms(), {TYPE})
        except Exception as error:  # noqa: BLE001 - the next query goes out all the same
            self._failed("ask", error)

    def _info(self, record: Record) -> AsyncServiceInfo:
        """Return what zeroconf announces of a record."""
        properties = encode(record)
        given = [each for each in record.addresses if reach_of(each) is self._reach]
        addresses = [LOOPBACK] if self._reach is Reach.LOCAL else given
        addresses = addresses or [each.text for each in self._ours]
        return AsyncServiceInfo(
            TYPE,
            f"{instance(record)}.{TYPE}",
            record.control_port,
            properties=properties,
            server=self._server,
            parsed_addresses=[each.partition("%")[0] for each in addresses[:ADDRESSES_MAX]],
        )

    def _unqueue(self, info: AsyncServiceInfo) -> None:
        """Drop the answers about an instance that zeroconf has yet to send.

        If they were sent behind a goodbye, they would bring the instance back to life in every
        cache. The repeats of the goodbye would not help, because they are taken for copies.
        """
        zeroconf = self._zeroconf.zeroconf
        stale = (info.dns_pointer(), info.dns_service(), info.dns_text())
        for queue in (zeroconf.out_queue, zeroconf.out_delay_queue):
            for group in queue.queue:
                for answer in stale:
                    group.answers.pop(answer, None)

    def _follow(self, incarnation: int, sending: Awaitable[None]) -> None:
        """Let the repeats of a packet go out in the background, until a newer one leaves."""
        before = self._sending.pop(incarnation, None)
        if before is not None:
            before.cancel()
        future = self._sending[incarnation] = asyncio.ensure_future(sending)
        future.add_done_callback(partial(self._sent, incarnation))

    def _sent(self, incarnation: int, future: asyncio.Future[None]) -> None:
        if self._sending.get(incarnation) is future:
            del self._sending[incarnation]
        if not future.cancelled() and (error := future.exception()) is not None:
            self._failed("send", error)

    def _failed(self, action: str, error: BaseException) -> None:
        self._note("mdns.failed", {"action": action, "error": repr(error)})


def _pointers(zeroconf: Zeroconf) -> list[Any]:
    """Return the records in a cache that point to instances."""
    heard = zeroconf.cache.entries_with_name(TYPE)
    return [each for each in heard if hasattr(each, "alias")]
