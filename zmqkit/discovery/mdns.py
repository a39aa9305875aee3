"""Who is there, by DNS-SD over multicast DNS: one engine for this machine, or one for the LAN.

Theory of operation. An announcement goes out at once, without probing: an instance's name holds
a random number, so it is unique. A browser collects what others announce. It stops asking soon
after its start, so a query of our own goes out every few seconds and finds who was announced
while a cable was cut; what is known rides along, and nobody repeats that.

A newcomer asks from ports of its own (RFC 6762, section 6.7), and the answers come straight
back. Those by multicast wait for a second when somebody just had the same, and those by unicast
to port 5353 reach any one process of a machine.

The loopback engine uses the loopback interface alone, the LAN engine all others: a role open to
the LAN is announced by both under one name, and two hosts that claim one name would flush each
other from every cache. A record is a hint: neither does it prove that a peer lives, nor its end
that the peer died.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
import sys
from collections.abc import Awaitable, Callable
from functools import partial

from zeroconf import DNSQuestionType, Error, Zeroconf, current_time_millis
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from zmqkit.discovery.addresses import Here, Scope, here
from zmqkit.discovery.known import TYPE, Known, Note
from zmqkit.model import LOOPBACK, Record, is_loopback
from zmqkit.wire.announcement import ADDRESSES_MAX, encode, instance

QUERY_S = 5.0
QUERY_PEERS = 50
ASK_S = 1.0
START_S = 1.0
ANNOUNCED_MAX = 1000

IP_MULTICAST_ALL = 49
"""Linux, <linux/in.h>; Python does not name it."""


class Mdns:
    """Announces roles and hears those of others, in one scope, on the running event loop.

    heard: gets each record that is new or has changed, our own among them, and its source:
    `mdns:loopback` or `mdns:lan`. vanished: gets the incarnation of a record that was withdrawn
    or expired, and the source. note: gets what was dropped or failed, as `mdns.malformed` and
    the like with fields. All three are called on the loop and must not wait.
    """

    def __init__(
        self,
        scope: Scope,
        *,
        heard: Callable[[Record, str], None],
        vanished: Callable[[int, str], None],
        note: Note,
    ) -> None:
        source = f"mdns:{scope}"
        self._scope: Scope = scope
        self._note: Note = lambda event, fields: note(event, {"source": source, **fields})
        self._known = Known(
            scope,
            heard=lambda record: heard(record, source),
            vanished=lambda incarnation: vanished(incarnation, source),
            note=self._note,
        )
        self._server = f"zmqkit-{secrets.token_hex(4)}.local."
        self._ours: list[Here] = []
        self._engine: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._announced: dict[int, AsyncServiceInfo] = {}
        self._sending: dict[int, asyncio.Future[None]] = {}

    async def open(self) -> None:
        """Start to listen and to ask. Where that is impossible it is noted, not raised."""
        if self._engine is not None:
            return
        try:
            self._ours = here(self._scope)
            engine = await self._start(unicast=False)
        except (OSError, RuntimeError, Error) as error:
            self._failed("open", error)
            return
        self._engine = engine
        self._known.reset(self._ours)
        self._confine(engine.zeroconf)
        self._browser = self._browse(engine.zeroconf, DNSQuestionType.QM)
        self._tasks = [
            asyncio.create_task(self._ask_once()),
            asyncio.create_task(self._ask_forever(self._browser)),
            asyncio.create_task(self._known.complete_forever(engine.zeroconf)),
        ]

    async def announce(self, record: Record) -> None:
        """Tell everybody of the record, or that it changed; the first packet leaves at once.

        The loopback scope announces 127.0.0.1. The LAN scope announces those of the record's
        addresses that are not loopback or, without any, all that this host has. Does nothing
        while closed. Raises ValueError for a record that cannot be announced.
        """
        engine, update = self._engine, record.incarnation in self._announced
        if engine is None:
            return
        if not update and len(self._announced) >= ANNOUNCED_MAX:
            self._note("mdns.full", {"label": record.label})
            return
        info = self._info(record)
        try:
            if update:
                self._unqueue(engine.zeroconf, self._announced[record.incarnation])
                sending = await engine.async_update_service(info)
            else:
                sending = await engine.async_register_service(info, cooperating_responders=True)
        except Error as error:
            self._failed("announce", error)
            return
        self._announced[record.incarnation] = info
        self._follow(record.incarnation, sending)

    async def withdraw(self, incarnation: int) -> None:
        """Tell everybody that the record is gone; does nothing if it was not announced."""
        info = self._announced.pop(incarnation, None)
        if info is not None and self._engine is not None:
            self._unqueue(self._engine.zeroconf, info)
            self._follow(incarnation, await self._engine.async_unregister_service(info))

    async def close(self) -> None:
        """Withdraw everything and let go of sockets and tasks, in about a quarter second."""
        engine, browser = self._engine, self._browser
        self._engine = self._browser = None
        if engine is None or browser is None:
            return
        await browser.async_cancel()
        announcing = self._announced.keys() & self._sending.keys()
        for future in [*self._tasks, *(self._sending[each] for each in announcing)]:
            future.cancel()
        for info in self._announced.values():
            self._unqueue(engine.zeroconf, info)
        self._announced.clear()
        goodbyes = [engine.async_unregister_all_services(), *self._sending.values()]
        try:
            await asyncio.gather(*self._tasks, *goodbyes, return_exceptions=True)
        finally:
            await engine.async_close()

    async def _start(self, *, unicast: bool) -> AsyncZeroconf:
        """A running engine; with `unicast` it only asks, from ports of its own.

        Its start is shielded: one that was cancelled could not be closed any more.
        """
        interfaces = list(dict.fromkeys(each.interface for each in self._ours))
        engine = AsyncZeroconf(interfaces=interfaces, unicast=unicast)
        started = asyncio.ensure_future(engine.zeroconf.async_wait_for_start(START_S))
        try:
            await asyncio.shield(started)
        except BaseException:
            await asyncio.wait([started])
            await engine.async_close()
            raise
        return engine

    def _confine(self, zeroconf: Zeroconf) -> None:
        """Keep the two scopes apart, so that neither hears what is meant for the other.

        A wildcard socket hears each group that any program joined on any interface, and unicast
        from anywhere. Elsewhere than on Linux the filter by address has to do.
        """
        if sys.platform != "linux":
            return
        try:
            for reader in zeroconf.engine.readers:
                if self._scope == "loopback":
                    reader.sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
                else:
                    reader.sock.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
        except OSError as error:
            self._failed("confine", error)

    def _browse(self, zeroconf: Zeroconf, kind: DNSQuestionType) -> AsyncServiceBrowser:
        handlers = [self._known.changed]
        return AsyncServiceBrowser(zeroconf, TYPE, handlers=handlers, question_type=kind)

    async def _ask_once(self) -> None:
        """Ask who is there from ports of our own, and hear the answers that come back.

        Asked as QU: other questions are taken for copies of those that somebody just asked.
        """
        try:
            asker = await self._start(unicast=True)
        except (OSError, RuntimeError, Error) as error:
            self._failed("ask", error)
            return
        browser = self._browse(asker.zeroconf, DNSQuestionType.QU)
        try:
            self._ask(browser)
            await asyncio.sleep(ASK_S)
        finally:
            await browser.async_cancel()
            await asker.async_close()

    async def _ask_forever(self, browser: AsyncServiceBrowser) -> None:
        while True:
            await asyncio.sleep(query_s(len(self._known)) * random.uniform(0.8, 1.2))
            self._ask(browser)

    def _ask(self, browser: AsyncServiceBrowser) -> None:
        """Ask who is there, unless somebody who knows no more than we do just has."""
        try:
            scheduler, now = browser.query_scheduler, current_time_millis()
            scheduler.async_send_ready_queries(False, now, {TYPE})
        except Exception as error:  # noqa: BLE001 - the next query goes out all the same
            self._failed("ask", error)

    def _info(self, record: Record) -> AsyncServiceInfo:
        """What zeroconf announces of the record."""
        properties = encode(record)
        given = [each for each in record.addresses if not is_loopback(each)]
        addresses = [LOOPBACK] if self._scope == "loopback" else given
        addresses = addresses or [each.text for each in self._ours]
        return AsyncServiceInfo(
            TYPE,
            f"{instance(record)}.{TYPE}",
            record.control_port,
            properties=properties,
            server=self._server,
            parsed_addresses=[each.partition("%")[0] for each in addresses[:ADDRESSES_MAX]],
        )

    def _unqueue(self, zeroconf: Zeroconf, info: AsyncServiceInfo) -> None:
        """Drop the answers about an instance that zeroconf has yet to send.

        Sent behind a goodbye they would bring it back to life in every cache: the goodbye's
        repeats no longer help, being taken for copies.
        """
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


def query_s(peers: int) -> float:
    """Seconds between own queries: each carries every known peer, so the bytes stay level."""
    return QUERY_S * max(1.0, peers / QUERY_PEERS)
