"""A worker or service that dials devices."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from zmqkit.core.calls.dialling import (
    DEVICE_PEER,
    LIFE,
    Act,
    DiallingCore,
    Event,
    State,
)
from zmqkit.core.effects import Connect, Disconnect, Effect, News, Note, Send, Tell
from zmqkit.core.tasks.lease import STREAMER, TASK
from zmqkit.core.tasks.share import Share
from zmqkit.limits import DEVICES_MAX, READY_COUNT, READY_S
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode

NAME = "thumbnails"
US = 7
HERE, THERE = "tcp://127.0.0.1:5000", "tcp://127.0.0.1:6000"
MISSING_S = READY_COUNT * READY_S


@pytest.fixture
def service() -> DiallingCore:
    return DiallingCore(US, {"price": True}, 1, device="majordomo", name="orders")


def names(effects: list[Effect]) -> list[str]:
    return [type(each).__name__ for each in effects]


def sends(effects: list[Effect]) -> list[bytes]:
    """To whom READY is said; nothing else is sent."""
    sent = [each for each in effects if isinstance(each, Send)]
    assert {wire.unpack(each.frames).kind for each in sent} <= {wire.READY}
    return [each.peer for each in sent]


def notes(effects: list[Effect]) -> list[str]:
    return [each.event for each in effects if isinstance(each, Note)]


def found(incarnation: int, endpoint: str = HERE) -> Tell:
    return Tell(News.FOUND, "majordomo/m", incarnation, endpoint)


def news(what: News, incarnation: int) -> Tell:
    return Tell(what, "majordomo/m", incarnation)


def peer(incarnation: int) -> bytes:
    return DEVICE_PEER + incarnation.to_bytes(8, "big")


def answer(name: str = "orders", **fields: object) -> tuple[bytes | memoryview, ...]:
    return wire.pack(wire.READY, 99, US, 0, encode({"name": name, **fields}))


def test_a_worker_says_ready_once_a_second() -> None:
    core = DiallingCore(US, {TASK: False}, 1, device=STREAMER, name=NAME, shares=Share)
    first = core.hear(Tell(News.FOUND, "", 0, "tcp://10.0.0.1:5000"), 0.0)
    assert sends(first) == [DEVICE_PEER]
    assert isinstance(first[-1], Send)
    assert wire.unpack(first[-1].frames).meta == {"name": NAME, "lz4": True}
    assert core.deadline() == READY_S
    assert sends(core.tick(READY_S)) == [DEVICE_PEER]
    # The third word has no answer either, so the next one leaves by another connection.
    core.tick(2 * READY_S)
    anew = core.tick(3 * READY_S)
    assert names(anew) == ["Note", "Disconnect", "Connect", "Send"]
    assert core.hear(Tell(News.FOUND, "", 0, "tcp://10.0.0.1:5000"), 3.0) == []


def test_each_broker_is_dialled_and_has_a_rhythm_of_its_own(service: DiallingCore) -> None:
    assert names(service.hear(found(1), 0.0)) == ["Connect", "Send"]
    assert names(service.hear(found(2, THERE), 0.5)) == ["Connect", "Send"]
    assert sends(service.tick(1.0)) == [peer(1)]
    assert service.deadline() == 1.5
    assert sends(service.tick(1.5)) == [peer(2)]
    service.check()


def test_an_answer_of_one_broker_says_nothing_of_another(service: DiallingCore) -> None:
    service.hear(found(1), 0.0)
    service.hear(found(2, THERE), 0.0)
    assert notes(service.receive(peer(1), answer(), 0.0)) == ["device-found"]
    for second in range(1, READY_COUNT):
        assert notes(service.receive(peer(1), answer(), second)) == []
        service.tick(second)
    assert service.stats()["devices"] == 1
    effects = service.tick(READY_COUNT * READY_S)
    assert sends(effects) == [peer(1), peer(2)]
    assert Disconnect(peer(2)) in effects
    assert Disconnect(peer(1)) not in effects


def test_a_broker_that_moved_is_dialled_anew(service: DiallingCore) -> None:
    service.hear(found(1), 0.0)
    effects = service.hear(found(1, THERE), 0.2)
    assert effects[:2] == [Disconnect(peer(1)), Connect(peer(1), THERE)]
    assert sends(effects) == [peer(1)]


def test_a_broker_that_restarted_is_registered_with_at_once(service: DiallingCore) -> None:
    service.hear(found(1), 0.0)
    assert service.hear(news(News.LOST, 1), 0.3) == [Disconnect(peer(1))]
    assert service.tick(5.0) == []
    assert sends(service.hear(found(2), 5.0)) == [peer(2)]
    assert service.hear(news(News.GONE, 1), 5.1) == []
    service.check()


def test_a_broker_that_was_out_of_reach_is_dialled_when_it_is_back(
    service: DiallingCore,
) -> None:
    service.hear(found(1), 0.0)
    service.receive(peer(1), answer(), 0.0)
    assert service.stats()["devices"] == 1
    service.hear(news(News.LOST, 1), 0.3)
    assert service.stats()["devices"] == 0
    assert names(service.hear(found(1), 4.0)) == ["Connect", "Send"]


def test_a_silent_broker_is_not_dialled_anew(service: DiallingCore) -> None:
    service.hear(found(1), 0.0)
    service.hear(news(News.SILENT, 1), 0.5)
    for second in range(1, 10):
        assert names(service.tick(second)) == ["Send"]
    assert names(service.hear(news(News.ANSWERING, 1), 9.5)) == ["Send"]
    service.check()
    assert service.deadline() == 10.5


def test_a_broker_that_is_gone_is_forgotten(service: DiallingCore) -> None:
    service.hear(found(1), 0.0)
    assert service.hear(news(News.GONE, 1), 0.3) == [Disconnect(peer(1))]
    assert service.tick(10.0) == []
    assert service.hear(news(News.GONE, 1), 10.0) == []


def test_that_no_broker_is_there_is_told_once(service: DiallingCore) -> None:
    hint = Tell(News.HINT, "majordomo/m", text="start one")
    assert service.hear(hint, 0.0) == []
    assert service.deadline() == MISSING_S
    [note] = service.tick(MISSING_S)
    assert note == Note(
        "device-missing", {"device": "majordomo", "name": "orders", "text": "start one"}
    )
    assert service.hear(hint, 20.0) == []
    assert service.deadline() > 30.0


def test_a_broker_that_is_found_in_time_is_not_missed(service: DiallingCore) -> None:
    service.hear(Tell(News.HINT, "majordomo/m", text="start one"), 0.0)
    service.hear(found(1), 0.5)
    service.receive(peer(1), answer(), 0.5)
    assert notes(service.tick(MISSING_S)) == []
    service.hear(news(News.GONE, 1), 10.0)
    assert notes(service.tick(10.0 + MISSING_S)) == ["device-missing"]


def test_a_found_broker_that_does_not_answer_is_told_once(service: DiallingCore) -> None:
    service.hear(found(1), 0.0)
    said = [each for second in range(1, 30) for each in service.tick(second)]
    [note] = [each for each in said if isinstance(each, Note)]
    assert note.event == "device-unreachable"
    assert str(note.fields["text"]) == (
        "it was found there, and does not answer; see `zmqkit ls -v`"
    )


def test_a_device_that_refuses_it_says_why_once(service: DiallingCore) -> None:
    service.hear(found(1), 0.0)
    refusal = wire.pack(wire.READY, 99, US, 0, encode({"refused": "mend it"}))
    [note] = service.receive(peer(1), refusal, 0.1)
    assert isinstance(note, Note) and note.event == "device-refused"
    assert note.fields["text"] == "mend it" and service.stats()["devices"] == 0
    for second in range(1, 10):
        service.tick(second)
        assert service.receive(peer(1), refusal, second) == []
    assert notes(service.receive(peer(1), answer(), 10.0)) == ["device-found"]


def test_a_broker_that_is_full_says_so(service: DiallingCore) -> None:
    service.hear(found(1), 0.0)
    [note] = service.receive(peer(1), answer(full=True), 0.1)
    assert isinstance(note, Note)
    assert "it has as many services as it takes" in str(note.fields["text"])
    assert service.stats()["devices"] == 0


def test_a_device_that_is_no_broker_is_told_as_such(service: DiallingCore) -> None:
    service.hear(found(0), 0.0)
    [note] = service.receive(DEVICE_PEER, answer("thumbnails"), 0.1)
    assert isinstance(note, Note)
    assert note.fields["text"] == (
        "no majordomo listens there, but what is called 'thumbnails'; mend the URL"
    )
    assert service.stats()["devices"] == 0


def test_there_is_a_limit_to_the_brokers(service: DiallingCore) -> None:
    for incarnation in range(1, DEVICES_MAX + 1):
        service.hear(found(incarnation), 0.0)
    assert notes(service.hear(found(1000), 0.0)) == ["devices-full"]
    assert service.hear(found(1001), 0.0) == []
    service.check()
    service.hear(news(News.GONE, 1), 0.0)
    assert names(service.hear(found(1001), 0.0)) == ["Connect", "Send"]


def test_a_service_that_closed_dials_nobody(service: DiallingCore) -> None:
    service.hear(found(1), 0.0)
    service.close()
    assert service.hear(found(2), 0.0) == []
    assert service.tick(60.0) == []
    assert service.deadline() == inf


def test_every_event_in_every_state_has_a_row() -> None:
    assert LIFE.keys() == {*Event}
    assert all(row.keys() == {*State} for row in LIFE.values())
    for event, row in LIFE.items():
        for state, (act, after) in row.items():
            connected = after in (State.DIALLED, State.SILENT)
            assert connected == (
                act in (Act.DIAL, Act.READY)
                or (act is Act.NOTHING and state in (State.DIALLED, State.SILENT))
            ), (event, state)


BROKERS = st.sampled_from([0xA, 0xB, 0xC])


class Devices(RuleBasedStateMachine):
    """Devices come, go, move and answer; a model knows what has to be connected."""

    def __init__(self) -> None:
        super().__init__()
        self.core = DiallingCore(US, {}, 1, device="majordomo", name="orders")
        self.now = 0.0
        # What the link has, and what membership says.
        self.connected: dict[bytes, str] = {}
        self.there: dict[int, str] = {}
        self.ready_at: dict[bytes, float] = {}

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Connect):
                assert effect.peer not in self.connected
                self.connected[effect.peer] = effect.endpoint
            elif isinstance(effect, Disconnect):
                del self.connected[effect.peer]
            elif isinstance(effect, Send):
                assert effect.peer in self.connected
                self.ready_at[effect.peer] = self.now

    @rule(broker=BROKERS, endpoint=st.sampled_from([HERE, THERE]))
    def found(self, broker: int, endpoint: str) -> None:
        self.there[broker] = endpoint
        self.perform(self.core.hear(found(broker, endpoint), self.now))

    @rule(broker=BROKERS, what=st.sampled_from([News.LOST, News.GONE]))
    def lost(self, broker: int, what: News) -> None:
        self.there.pop(broker, None)
        self.perform(self.core.hear(news(what, broker), self.now))

    @rule(broker=BROKERS, what=st.sampled_from([News.SILENT, News.ANSWERING]))
    def quiet(self, broker: int, what: News) -> None:
        self.perform(self.core.hear(news(what, broker), self.now))

    @rule(text=st.sampled_from(["", "one", "two"]))
    def hint(self, text: str) -> None:
        tell = Tell(News.HINT, "majordomo/m", text=text)
        self.perform(self.core.hear(tell, self.now))

    @rule(broker=BROKERS, full=st.booleans())
    def answers(self, broker: int, full: bool) -> None:
        if peer(broker) in self.connected:
            fields = {"full": True} if full else {}
            self.perform(self.core.receive(peer(broker), answer(**fields), self.now))

    @rule(seconds=st.floats(0.01, 5.0))
    def time(self, seconds: float) -> None:
        until = self.now + seconds
        while self.core.deadline() <= until:
            self.now = max(self.now, self.core.deadline())
            self.perform(self.core.tick(self.now))
        self.now = until

    @invariant()
    def what_is_there_is_connected_and_hears_of_us(self) -> None:
        self.core.check()
        assert self.connected == {peer(each): at for each, at in self.there.items()}
        for each in self.connected:
            assert self.now <= self.ready_at[each] + READY_S


TestDevices = Devices.TestCase
TestDevices.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
