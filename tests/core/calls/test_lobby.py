"""Calls that wait for room: in line, or at the one instance that they are for."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests import packets
from tests.core.bench import CLIENT, HERE, ends, error, peer, tell, up
from tests.packets import read, sent
from zmqkit.core.calls.call import Call, CallOptions
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.outcome import BUSY, LEAVING, NO_METHOD, RAISED
from zmqkit.core.effects import Effect, News, Send, Settle
from zmqkit.errors import (
    Busy,
    CallCancelled,
    CallTimeout,
    NoMethod,
    NoService,
    PeerError,
    PeerLost,
    QueueFull,
    UsageError,
)
from zmqkit.limits import PING_S, ClientLimits
from zmqkit.wire.packet import CANCEL, PING, REQUEST, STREAM, unpack
from zmqkit.wire.rows import request_row, sequences_in

A, B = 0xA << 32, 0xB << 32
BODY = request_row("add", None, (), {})
AT_A = CallOptions(instance="orders-0000000a")


@pytest.fixture
def client() -> ClientCore:
    return ClientCore("orders", CLIENT, ClientLimits(waiting_calls_max=1))


def made(
    client: ClientCore, waiter: str, options: CallOptions | None = None, now: float = 0.0
) -> Call:
    """A call whose waiter this is."""
    call = client.call("add", BODY, None, options or CallOptions(), waiter, now)
    client.check()
    return call


# Room in line


def test_a_call_waits_for_room_in_line_and_takes_its_number_then(client: ClientCore) -> None:
    first, second = made(client, "first"), made(client, "second")
    assert (first.sequence, second.sequence) == (1, 0) and client.in_flight == 2
    assert sent(up(client, A)) == [(REQUEST, [1, 2])]
    client.check()


def test_what_nobody_waits_for_is_refused_without_room(client: ClientCore) -> None:
    made(client, "first")
    with pytest.raises(QueueFull, match="1 calls to 'orders' wait already"):
        client.submit("add", BODY, None, CallOptions(), None, 0.0, oneway=True)
    with pytest.raises(QueueFull):
        client.stream("add", BODY, None, CallOptions(), 0.0)


def test_a_reply_makes_room_in_line(client: ClientCore) -> None:
    up(client, A, credit=1)
    for waiter in ("at A", "in line", "waits"):
        made(client, waiter)
    client.flush(0.0)
    assert sent(client.receive(peer(A), packets.reply(A, CLIENT, _1=0), 0.0)) == [
        (REQUEST, [2])
    ]
    client.check()
    assert client.stats()["waiting"] == 1


def test_a_call_without_room_ends_at_its_deadline_and_did_not_run(client: ClientCore) -> None:
    made(client, "first", CallOptions(timeout_s=9, wait_s=9))
    made(client, "second", CallOptions(timeout_s=2))
    assert client.deadline() <= 2
    late = error(client.tick(2.0))
    assert type(late) is CallTimeout and not late.may_have_run
    assert client.stats()["accepted"] == 1


def test_a_call_that_waits_for_room_can_be_given_up(client: ClientCore) -> None:
    made(client, "first")
    second, third = made(client, "second"), made(client, "third")
    [(waiter, _, cancelled)] = ends(client.withdraw([second], 0.0))
    assert waiter == "second" and type(cancelled) is CallCancelled
    [(waiter, _, _)] = ends(client.give_up("third", 0.0))
    assert waiter == "third" and client.withdraw([second, third], 0.0) == []
    client.check()


def test_calls_of_two_places_are_given_up_together(client: ClientCore) -> None:
    up(client, A)
    calls = [made(client, "sent"), made(client, "also sent")]
    client.flush(0.0)
    effects = client.withdraw(calls, 0.0)
    assert len(ends(effects)) == 2 and sent(effects) == [(CANCEL, [1, 2])]


def test_close_ends_calls_that_wait_for_room(client: ClientCore) -> None:
    made(client, "first")
    made(client, "second")
    assert [type(end[2]) for end in ends(client.close())] == [CallCancelled] * 2
    client.check()


# One instance


@pytest.mark.parametrize(
    "label", ["", "orders", "orders-a", "0000000a", 5, "o-0000000A", "o-00000000"]
)
def test_an_instance_is_named_by_its_label(label: object) -> None:
    with pytest.raises(UsageError, match="such as 'orders-1a2b3c4d'"):
        CallOptions().changed({"instance": label})


def test_a_call_goes_to_its_one_instance(client: ClientCore) -> None:
    up(client, A)
    up(client, B)
    for waiter in "abc":
        made(client, waiter, AT_A)
    [packet] = client.flush(0.0)
    assert isinstance(packet, Send) and packet.peer == peer(A)
    assert sent([packet]) == [(REQUEST, [1, 2, 3])]


def test_a_call_waits_until_its_one_instance_is_found(client: ClientCore) -> None:
    up(client, B)
    made(client, "a", AT_A)
    assert client.flush(0.0) == []
    assert sent(up(client, A)) == [(REQUEST, [1])]


def test_an_instance_that_is_not_found_is_told_with_the_others(client: ClientCore) -> None:
    up(client, B)
    made(client, "a", CallOptions(wait_s=1, instance=AT_A.instance))
    lacked = error(client.tick(1.0))
    assert type(lacked) is NoService and not lacked.may_have_run
    assert "'orders-0000000a'; there are orders-0000000b" in str(lacked)


def test_a_call_waits_for_the_credit_of_its_one_instance(client: ClientCore) -> None:
    up(client, A, credit=1)
    up(client, B)
    made(client, "a", AT_A)
    made(client, "b", AT_A)
    assert sent(client.flush(0.0)) == [(REQUEST, [1])]
    effects = client.receive(peer(A), packets.reply(A, CLIENT, _1=0), 0.0)
    assert sent(effects) == [(REQUEST, [2])]
    client.check()


def test_what_nobody_waits_for_is_refused_without_credit(client: ClientCore) -> None:
    with pytest.raises(NoService, match="no instance 'orders-0000000a'"):
        client.submit("add", BODY, None, AT_A, None, 0.0, oneway=True)
    up(client, A, credit=1)
    client.submit("add", BODY, None, AT_A, None, 0.0, oneway=True)
    with pytest.raises(QueueFull, match="1 calls to 'orders-0000000a' wait"):
        client.submit("add", BODY, None, AT_A, None, 0.0, oneway=True)


def test_a_stream_waits_for_its_one_instance(client: ClientCore) -> None:
    stream = client.stream("add", BODY, None, AT_A, 0.0)
    with pytest.raises(QueueFull, match="1 calls to 'orders' wait already"):
        client.stream("add", BODY, None, AT_A, 0.0)
    client.check()
    assert sent(up(client, A)) == [(STREAM, [1])]
    client.hear(tell(News.LOST, A), 0.0)
    client.hear(tell(News.GONE, A), 0.0)
    assert stream.over and type(stream.error) is PeerLost


def test_a_stream_that_waits_for_its_one_instance_can_be_given_up(client: ClientCore) -> None:
    stream = client.stream("add", BODY, None, AT_A, 0.0)
    client.listen(stream, "reader", 0.0)
    assert ends(client.withdraw([stream], 0.0)) == [("reader", None, None)]
    assert stream.over and client.in_flight == 0


def test_an_instance_that_is_leaving_is_given_nothing(client: ClientCore) -> None:
    up(client, A)
    client.receive(peer(A), packets.bye(A, CLIENT), 0.0)
    made(client, "a", AT_A)
    gone = error(client.tick(client.deadline()))
    assert type(gone) is PeerLost and not gone.may_have_run


@pytest.mark.parametrize(
    ("code", "kind"), [(BUSY, Busy), (LEAVING, PeerLost), (NO_METHOD, NoMethod)]
)
def test_what_its_one_instance_refuses_does_not_move(
    client: ClientCore, code: str, kind: type[PeerError]
) -> None:
    up(client, A)
    up(client, B)
    made(client, "a", AT_A)
    client.flush(0.0)
    effects = client.receive(peer(A), packets.error(A, CLIENT, code, 1), 0.0)
    assert type(error(effects)) is kind


def test_an_idempotent_call_does_not_leave_its_one_instance(client: ClientCore) -> None:
    up(client, A, "add")
    up(client, B, "add")
    made(client, "a", AT_A)
    client.flush(0.0)
    client.hear(tell(News.LOST, A), 0.0)
    client.check()
    assert client.stats()["waiting"] == 0
    gone = error(client.hear(tell(News.GONE, A), 0.0))
    assert type(gone) is PeerLost and gone.may_have_run
    assert "without instance= any of them is called" in str(gone)


def test_an_unsent_call_stays_with_its_one_instance_while_it_is_silent(
    client: ClientCore,
) -> None:
    up(client, A)
    up(client, B)
    client.hear(tell(News.SILENT, A), 0.0)
    made(client, "a", AT_A)
    assert client.flush(0.0) == []
    assert sent(client.hear(tell(News.ANSWERING, A), 0.0)) == [(REQUEST, [1])]


def test_a_call_whose_one_instance_goes_before_it_was_sent_did_not_run(
    client: ClientCore,
) -> None:
    up(client, A, credit=1)
    for waiter in "ab":
        made(client, waiter, AT_A)
    client.hear(tell(News.LOST, A), 0.0)
    effects = client.hear(tell(News.GONE, A), 0.0)
    assert [type(each) for _, _, each in ends(effects)] == [PeerLost] * 2
    assert not any(each.may_have_run for _, _, each in ends(effects) if each)


def test_an_instance_that_has_closed_is_given_nothing(client: ClientCore) -> None:
    up(client, A)
    made(client, "a", AT_A)
    client.flush(0.0)
    client.hear(tell(News.GONE, A), 0.0)
    made(client, "b", AT_A)
    assert type(error(client.tick(client.deadline()))) is PeerLost
    client.check()


def test_a_call_for_one_instance_is_not_asked_back_for_another(client: ClientCore) -> None:
    up(client, A)
    up(client, B)
    for waiter in "ab":
        made(client, waiter, AT_A)
    client.flush(0.0)
    assert read(client.tick(PING_S)[0]) == (PING, [1, 3, [1, 2]])
    assert client.receive(peer(A), packets.pong(A, CLIENT, 1, [1, 2]), PING_S) == []


# Any order


class LobbyMachine(RuleBasedStateMachine):
    """Calls for one instance or any, of which two have little room, come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.core = ClientCore("orders", CLIENT, ClientLimits(waiting_calls_max=2))
        self.now = 100.0
        self.calls: dict[str, tuple[Call, float]] = {}
        self.ended: set[str] = set()
        self.at: dict[int, int] = {}

    def perform(self, effects: list[Effect]) -> None:
        for effect in [*effects, *self.core.flush(self.now)]:
            if isinstance(effect, Send):
                self.send(effect)
            elif isinstance(effect, Settle):
                for waiter, _, failed in effect.outcomes:
                    assert isinstance(waiter, str) and waiter not in self.ended
                    self.ended.add(waiter)
                    call, deadline_at = self.calls[waiter]
                    if type(failed) is CallTimeout:
                        assert self.now >= deadline_at
                    if failed is not None and call.sequence not in self.at:
                        assert not failed.may_have_run

    def send(self, effect: Send) -> None:
        packet = unpack(effect.frames)
        if packet.kind != REQUEST:
            return
        to = int.from_bytes(effect.peer, "big")
        by_sequence = {call.sequence: call for call, _ in self.calls.values()}
        for sequence in sequences_in(packet):
            only = by_sequence[sequence].only
            assert only in (0, to >> 32)
            self.at[sequence] = to

    @rule(only=st.sampled_from([None, "o-0000000a", "o-0000000b"]), brief=st.booleans())
    @precondition(lambda self: len(self.calls) < 30)
    def call(self, only: str | None, brief: bool) -> None:
        waiter, timeout_s = str(len(self.calls)), 1.0 if brief else 5.0
        options = CallOptions(timeout_s=timeout_s, wait_s=0.5, instance=only)
        call = self.core.call("add", BODY, None, options, waiter, self.now)
        self.calls[waiter] = call, self.now + timeout_s
        self.perform([])

    @rule(at=st.sampled_from([A, B]), credit=st.integers(1, 3), repeats=st.booleans())
    def up(self, at: int, credit: int, repeats: bool) -> None:
        self.perform(self.core.hear(tell(News.FOUND, at, f"{HERE}{at >> 32}"), self.now))
        methods = ["add"] if repeats else []
        packet = packets.welcome(at, CLIENT, credit=credit, idempotent=methods)
        self.perform(self.core.receive(peer(at), packet, self.now))

    @rule(
        at=st.sampled_from([A, B]),
        news=st.sampled_from([News.LOST, News.GONE, News.SILENT, News.ANSWERING]),
    )
    def news(self, at: int, news: News) -> None:
        self.perform(self.core.hear(tell(news, at), self.now))

    @precondition(lambda self: self.at)
    @rule(data=st.data(), code=st.sampled_from(["", "", BUSY, LEAVING, NO_METHOD, RAISED]))
    def answer(self, data: st.DataObject, code: str) -> None:
        sequence = data.draw(st.sampled_from(sorted(self.at)))
        at = self.at[sequence]
        if code:
            packet = packets.error(at, CLIENT, code, sequence)
        else:
            packet = packets.reply(at, CLIENT, **{f"_{sequence}": 0})
        self.perform(self.core.receive(peer(at), packet, self.now))

    @rule(at=st.sampled_from([A, B]), last=st.booleans())
    def bye(self, at: int, last: bool) -> None:
        packet = packets.last_word(at, CLIENT, below=1) if last else packets.bye(at, CLIENT)
        self.perform(self.core.receive(peer(at), packet, self.now))

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        waiters = data.draw(st.sets(st.sampled_from(sorted(self.calls)), max_size=3))
        calls = [self.calls[waiter][0] for waiter in sorted(waiters)]
        self.perform(self.core.withdraw(calls, self.now))
        assert waiters <= self.ended

    @rule(duration_s=st.sampled_from([0.02, 0.6, 1.1, 11.0]))
    def wait(self, duration_s: float) -> None:
        self.now += duration_s
        while self.core.deadline() <= self.now:
            self.perform(self.core.tick(self.now))
            self.now += 0.02
        for waiter, (_, deadline_at) in self.calls.items():
            assert waiter in self.ended or deadline_at + 0.1 > self.now

    @invariant()
    def is_sound(self) -> None:
        self.core.check()
        assert self.core.in_flight == len(self.calls) - len(self.ended)

    def teardown(self) -> None:
        self.perform(self.core.close())
        assert self.ended == set(self.calls) and self.core.in_flight == 0


TestLobbyMachine = pytest.mark.slow(LobbyMachine.TestCase)
TestLobbyMachine.settings = settings(
    max_examples=settings().max_examples // 2, stateful_step_count=40
)
