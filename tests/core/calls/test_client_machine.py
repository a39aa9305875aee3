"""A client under any order of events, against a model of what left and what ended."""

from __future__ import annotations

from collections import Counter
from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests import packets
from zmqkit.core.calls.call import CallOptions
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.client_streams import StreamCall
from zmqkit.core.calls.outcome import (
    BUSY,
    EXPIRED,
    FORGOTTEN,
    LEAVING,
    NO_METHOD,
    RAISED,
    RECALLED,
)
from zmqkit.core.effects import Connect, Disconnect, Effect, News, Send, Settle, Tell
from zmqkit.errors import CallTimeout, PeerError, PeerLost, RemoteError
from zmqkit.limits import ClientLimits
from zmqkit.wire.packet import NOTIFY, REQUEST, STREAM, unpack
from zmqkit.wire.rows import read_streams, request_row, sequences_in

CLIENT = 1
INSTANCES = st.sampled_from([0xA, 0xB, 0xC])
CODES = st.sampled_from([BUSY, LEAVING, EXPIRED, FORGOTTEN, NO_METHOD, RAISED, RECALLED])
SLOT_S = 1 / 64
WINDOW = (3, 100)
LIMITS = ClientLimits(stream_items_max=3, stream_bytes_max=100, instances_max=2)


class ClientMachine(RuleBasedStateMachine):
    """The link takes what is sent, or not, at random; instances say what they like."""

    def __init__(self) -> None:
        super().__init__()
        self.core = ClientCore("orders", CLIENT, LIMITS)
        self.now = 100.0
        self.streams: dict[int, StreamCall] = {}
        self.listens: dict[int, float] = {}
        self.read: dict[int, list[object]] = {}
        self.connected: set[bytes] = set()
        self.room = True
        self.left: Counter[int] = Counter()
        self.deadlines: dict[int, float] = {}
        self.ended: set[int] = set()

    def perform(self, effects: list[Effect]) -> None:
        """What a driver does."""
        for effect in effects:
            if isinstance(effect, Connect):
                self.connected.add(effect.peer)
            elif isinstance(effect, Disconnect):
                self.connected.remove(effect.peer)
            elif isinstance(effect, Send):
                assert effect.peer in self.connected
                self.send(effect)
            elif isinstance(effect, Settle):
                self.settle(effect)

    def send(self, effect: Send) -> None:
        packet = unpack(effect.frames)
        if not self.room:
            effects = self.core.unsent(effect.peer, effect.frames, self.now)
            assert effects == []
        elif packet.kind in (REQUEST, NOTIFY):
            for sequence in sequences_in(packet):
                self.left[sequence] += 1
                assert sequence not in self.ended
        elif packet.kind == STREAM:
            heads, windows, _ = read_streams(packet)
            for (sequence, *_), window in zip(heads, windows, strict=True):
                call = self.streams[sequence]
                assert not call.begun and not call.over and tuple(window) == WINDOW
                self.left[sequence] += 1

    def settle(self, effect: Settle) -> None:
        for waiter, value, error in effect.outcomes:
            if isinstance(waiter, str):
                self.wake(int(waiter), value, error)
                continue
            assert isinstance(waiter, int) and waiter not in self.ended
            self.ended.add(waiter)
            if isinstance(error, CallTimeout) and error.args[0].startswith("'"):
                assert self.now >= self.deadlines[waiter]
            believed = isinstance(error, RemoteError | PeerLost)
            if isinstance(error, PeerError) and not self.left[waiter]:
                assert believed or not error.may_have_run

    def wake(self, number: int, value: object, error: object) -> None:
        """Somebody waited for a value of this stream, or for its end."""
        call = self.streams[number]
        until = self.listens.pop(number)
        assert value is None and error is None and (call.values or call.over)
        if isinstance(call.error, CallTimeout) and call.error.args[0].startswith("'"):
            assert self.now >= until

    @rule(incarnation=INSTANCES, port=st.integers(5000, 5001))
    def found(self, incarnation: int, port: int) -> None:
        tell = Tell(News.FOUND, "", incarnation, f"tcp://127.0.0.1:{port}")
        self.perform(self.core.hear(tell, self.now))

    @rule(
        incarnation=INSTANCES,
        news=st.sampled_from([News.LOST, News.GONE, News.SILENT, News.ANSWERING]),
    )
    def news(self, incarnation: int, news: News) -> None:
        self.perform(self.core.hear(Tell(news, "", incarnation), self.now))

    @rule(incarnation=INSTANCES, credit=st.integers(1, 3), repeats=st.booleans())
    def welcome(self, incarnation: int, credit: int, repeats: bool) -> None:
        methods = ["add"] if repeats else []
        self.receive(
            incarnation,
            packets.welcome(incarnation, CLIENT, credit=credit, idempotent=methods),
        )

    @rule(incarnation=INSTANCES)
    def bye(self, incarnation: int) -> None:
        self.receive(incarnation, packets.bye(incarnation, CLIENT))

    @rule(incarnation=INSTANCES, below=st.integers(0, 3), taken=st.sets(st.integers(1, 20)))
    def last_word(self, incarnation: int, below: int, taken: set[int]) -> None:
        frames = packets.last_word(incarnation, CLIENT, *sorted(taken), below=below)
        self.receive(incarnation, frames)

    @rule(incarnation=INSTANCES, token=st.integers(0, 3), held=st.sets(st.integers(1, 20)))
    def pong(self, incarnation: int, token: int, held: set[int]) -> None:
        self.receive(incarnation, packets.pong(incarnation, CLIENT, token, sorted(held)))

    @rule(incarnation=INSTANCES, sequence=st.integers(1, 20))
    def reply(self, incarnation: int, sequence: int) -> None:
        values = {f"_{sequence}": 42, f"_0{sequence}": 43}
        self.receive(incarnation, packets.reply(incarnation, CLIENT, **values))

    @rule(incarnation=INSTANCES, code=CODES, sequences=st.lists(st.integers(1, 20), min_size=1))
    def error(self, incarnation: int, code: str, sequences: list[int]) -> None:
        self.receive(incarnation, packets.error(incarnation, CLIENT, code, *sequences))

    def receive(self, incarnation: int, frames: tuple[bytes, ...]) -> None:
        peer = incarnation.to_bytes(8, "big")
        self.perform(self.core.receive(peer, frames, self.now))

    @precondition(lambda self: len(self.deadlines) < 20)
    @rule(
        timeout_s=st.sampled_from([0.5, 2.0, 10.0]),
        wait_s=st.sampled_from([0.1, 5.0]),
        attempts=st.integers(1, 3),
        priority=st.integers(0, 9),
        oneway=st.booleans(),
    )
    def submit(
        self, timeout_s: float, wait_s: float, attempts: int, priority: int, oneway: bool
    ) -> None:
        number = len(self.deadlines) + 1
        self.deadlines[number] = self.now + timeout_s
        sequence = self.core.submit(
            "add",
            request_row("add", None, (number,), {}),
            None,
            CallOptions(timeout_s, wait_s, priority, attempts),
            number,
            self.now,
            oneway=oneway,
        )
        assert sequence == number

    @precondition(lambda self: len(self.deadlines) < 20)
    @rule(timeout_s=st.sampled_from([0.5, 2.0, 10.0]), attempts=st.integers(1, 3))
    def stream(self, timeout_s: float, attempts: int) -> None:
        number = len(self.deadlines) + 1
        self.deadlines[number] = inf
        body = request_row("add", None, (number,), {})
        options = CallOptions(timeout_s, attempts=attempts)
        self.streams[number] = self.core.stream("add", body, None, options, self.now)
        self.read[number] = []
        assert self.streams[number].sequence == number

    @rule(
        incarnation=INSTANCES,
        sequence=st.integers(1, 20),
        first=st.integers(0, 12),
        count=st.integers(1, 4),
    )
    def items(self, incarnation: int, sequence: int, first: int, count: int) -> None:
        values = [[incarnation, first + n] for n in range(count)]
        frames = packets.items(incarnation, CLIENT, sequence, first, *values)
        self.receive(incarnation, frames)

    @rule(
        incarnation=INSTANCES,
        sequence=st.integers(1, 20),
        count=st.integers(0, 12),
        code=st.sampled_from(["", "", RAISED, FORGOTTEN]),
    )
    def end(self, incarnation: int, sequence: int, count: int, code: str) -> None:
        self.receive(incarnation, packets.end(incarnation, CLIENT, sequence, count, code))

    @rule(
        incarnation=INSTANCES,
        token=st.integers(0, 3),
        progress=st.lists(st.tuples(st.integers(1, 20), st.integers(0, 9), st.integers(0, 9))),
    )
    def pong_of_streams(
        self, incarnation: int, token: int, progress: list[tuple[int, int, int]]
    ) -> None:
        held = sorted({row[0] for row in progress})
        frames = packets.pong(incarnation, CLIENT, token, held, progress=progress)
        self.receive(incarnation, frames)

    @precondition(lambda self: self.streams)
    @rule(data=st.data())
    def read_on(self, data: st.DataObject) -> None:
        """Take the next value of a stream, or wait for one."""
        number = data.draw(st.sampled_from(sorted(self.streams)))
        call, read = self.streams[number], self.read[number]
        if call.values:
            read.append(self.core.take(call))
            lists = [value for value in read if isinstance(value, list)]
            assert [place for _, place in lists] == list(range(len(lists)))
            assert len({run for run, _ in lists}) <= 1
        elif not call.over and call.listener is None:
            self.core.listen(call, str(number), self.now)
            assert call.deadline_at <= self.now + call.options.timeout_s
            self.listens[number] = call.deadline_at

    @rule(sequence=st.integers(1, 20))
    def cancel(self, sequence: int) -> None:
        self.perform(self.core.cancel(sequence, self.now))

    @rule()
    def change_room(self) -> None:
        self.room = not self.room

    @rule()
    def flush(self) -> None:
        self.perform(self.core.flush(self.now))

    @rule(duration_s=st.sampled_from([0.01, 0.5, 1.1, 6.0, 11.0]))
    def wait(self, duration_s: float) -> None:
        self.now += duration_s
        self.perform(self.core.tick(self.now))
        assert self.core.deadline() > self.now - SLOT_S
        for number, deadline_at in self.deadlines.items():
            assert number in self.ended or deadline_at + SLOT_S > self.now
        assert all(until + SLOT_S > self.now for until in self.listens.values())

    @invariant()
    def is_sound(self) -> None:
        self.core.check()
        over = {number for number, call in self.streams.items() if call.over}
        assert over.isdisjoint(self.listens) and over.isdisjoint(self.ended)
        assert self.core.in_flight == len(self.deadlines) - len(self.ended) - len(over)

    def teardown(self) -> None:
        self.perform(self.core.close())
        self.core.check()
        assert self.core.in_flight == 0 and not self.connected
        assert self.ended == set(self.deadlines) - set(self.streams)
        assert all(call.over for call in self.streams.values()) and not self.listens


TestClientMachine = pytest.mark.slow(ClientMachine.TestCase)
TestClientMachine.settings = settings(
    max_examples=settings().max_examples // 2, stateful_step_count=40
)
