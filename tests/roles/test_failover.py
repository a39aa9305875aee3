"""Which instance a call goes to, and what becomes of it when that one goes away.

Most instances here are fakes, which do exactly what a scene needs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import zmq

import zmqkit
from tests.roles.fakes import FakeService
from tests.roles.kit import BOUND_S, AsyncKit, Kit, until
from zmqkit.core.effects import Tell
from zmqkit.wire import packet as wire
from zmqkit.wire.rows import sequences_in

Stage = Callable[..., tuple[Any, list["FakeService"]]]
Answered = Callable[[Kit], tuple[Any, Callable[[Any], Tell]]]


@pytest.fixture
def stage(
    kit: Kit, fakes: Callable[[str], FakeService], monkeypatch: pytest.MonkeyPatch
) -> Stage:
    """Gives a client and so many instances; all handlers are idempotent, or none is."""
    return staged(kit, fakes, monkeypatch)


def staged(
    kit: Kit, fakes: Callable[[str], FakeService], monkeypatch: pytest.MonkeyPatch
) -> Stage:
    """The same for one kind of roles."""

    def stage(count: int, *, idempotent: bool = False) -> tuple[Any, list[FakeService]]:
        found = [fakes(kit.name) for _ in range(count)]
        for each in found:
            each.welcome["idempotent"] = ["add"] if idempotent else []
            each.start()
        peers = ",".join(f"127.0.0.1:{each.port}" for each in found)
        monkeypatch.setenv("ZMQKIT_PEERS", peers)
        return kit.client(count=count, timeout_s=20.0), found

    return stage


def chosen(found: list[FakeService]) -> tuple[FakeService, FakeService]:
    """The one of two that a request came to, and the other; waits for it."""
    box: list[FakeService] = []
    until(lambda: box.extend(each for each in found if each.has_come()) or box)
    [first] = box
    return first, next(each for each in found if each is not first)


def ids(fake: FakeService) -> list[tuple[int, int]]:
    """Of each request that came: who asked, and its number."""
    return [
        (packet.source, sequence)
        for packet in fake.requests()
        for sequence in sequences_in(packet)
    ]


def test_calls_go_to_the_instance_with_the_least_to_do(kit: Kit, stage: Stage) -> None:
    client, found = stage(2)
    held = kit.start(client.call, "add", 1)
    busy, idle = chosen(found)
    idle.on_request = idle.answer
    for n in range(5):
        assert client.call("add", n) == n
    assert (len({*ids(busy)}), len({*ids(idle)})) == (1, 5)
    rows = {row["label"]: row["outstanding"] for row in client.instances()}
    label = f"{kit.name}-{busy.incarnation >> 32:08x}"
    assert rows.pop(label) == 1
    assert list(rows.values()) == [0]
    client.close(0)
    with pytest.raises(zmqkit.CallCancelled):
        held.result()


def test_instances_with_as_much_to_do_take_turns(stage: Stage) -> None:
    client, found = stage(3)
    for each in found:
        each.on_request = each.answer
    for n in range(9):
        assert client.call("add", n) == n
    assert [len({*ids(each)}) for each in found] == [3, 3, 3]


def test_idempotent_call_moves_when_its_instance_dies_with_the_same_id(
    kit: Kit, stage: Stage
) -> None:
    client, found = stage(2, idempotent=True)
    call = kit.start(client.call, "add", 1, 2)
    first, second = chosen(found)
    second.on_request = second.answer
    first.die()
    assert call.result() == 3
    assert ids(first) == ids(second)
    assert client.stats()["retries"] == 1


@pytest.mark.slow
def test_idempotent_call_whose_only_instance_dies_says_that_nobody_took_it_over(
    kit: Kit, stage: Stage
) -> None:
    client, [fake] = stage(1, idempotent=True)
    call = kit.start(client.options(timeout_s=3.0).call, "add", 1)
    fake.came()
    fake.die()
    with pytest.raises(zmqkit.CallTimeout, match="'add' was lost, and no other") as caught:
        call.result()
    assert caught.value.may_have_run is True
    assert client.stats()["expired"] == 1


@pytest.mark.slow
def test_call_that_is_not_idempotent_ends_when_its_instance_dies(
    kit: Kit, stage: Stage
) -> None:
    client, found = stage(2)
    call = kit.start(client.call, "add", 1)
    first, second = chosen(found)
    first.die()
    with pytest.raises(zmqkit.PeerLost, match="idempotent=True") as caught:
        call.result()
    assert caught.value.may_have_run is True
    assert ids(second) == []
    assert client.stats()["failed"] == 1


@pytest.mark.slow
def test_call_with_one_attempt_does_not_move(kit: Kit, stage: Stage) -> None:
    client, found = stage(2, idempotent=True)
    call = kit.start(client.options(attempts=1).call, "add", 1)
    first, second = chosen(found)
    first.die()
    with pytest.raises(zmqkit.PeerLost):
        call.result()
    assert ids(second) == []


@pytest.mark.slow
def test_call_comes_again_under_its_id_when_its_instance_is_back(
    kit: Kit, stage: Stage
) -> None:
    client, [fake] = stage(1)
    call = kit.start(client.call, "add", 4)
    fake.came()
    fake.die()
    fake.on_request = fake.answer
    fake.live_again()
    assert call.result() == 4
    assert len(ids(fake)) == 2
    assert len(set(ids(fake))) == 1


@pytest.mark.slow
def test_call_is_not_given_to_the_next_incarnation_at_the_same_address(
    kit: Kit, stage: Stage
) -> None:
    client, [fake] = stage(1)
    call = kit.start(client.call, "add", 4)
    fake.came()
    fake.die()
    before = len(fake.requests())
    fake.incarnation += 1
    fake.welcome |= {"process": 999, "roles": [fake.row()]}
    fake.on_request = fake.answer
    fake.live_again()
    with pytest.raises(zmqkit.PeerLost) as caught:
        call.result()
    assert caught.value.may_have_run is True
    assert len(fake.requests()) == before
    assert client.call("add", 5) == 5


@pytest.mark.slow
def test_call_that_a_pong_does_not_name_is_sent_again_under_its_id(
    kit: Kit, stage: Stage
) -> None:
    client, [fake] = stage(1)
    call = kit.start(client.call, "add", 4)
    fake.came()
    fake.on_request = fake.answer
    assert call.result() == 4
    assert len(ids(fake)) == 2
    assert len(set(ids(fake))) == 1
    assert client.stats()["retries"] == 1


@pytest.mark.slow
def test_call_that_pongs_name_is_not_sent_again(kit: Kit, stage: Stage) -> None:
    client, [fake] = stage(1)
    fake.on_request = lambda peer, packet: fake.held.extend(sequences_in(packet))
    call = kit.start(client.call, "add", 4)
    fake.came()

    def pings() -> int:
        data = [each for each in fake.packets if each.kind == wire.PING and each.target]
        return len(data)

    until(lambda: pings() >= 2)
    assert len(ids(fake)) == 1
    client.close(0)
    with pytest.raises(zmqkit.CallCancelled) as caught:
        call.result()
    assert caught.value.may_have_run is True


@pytest.mark.parametrize("code", ["busy", "leaving"])
def test_call_that_was_refused_unrun_moves_even_if_not_idempotent(
    stage: Stage, code: str
) -> None:
    client, (first, second) = stage(2)
    first.on_request = first.refuse(code)
    second.on_request = second.answer
    for n in range(4):
        assert client.call("add", n) == n
    assert ids(first)
    assert set(ids(first)) <= set(ids(second))


def test_call_that_everybody_refuses_cannot_have_run(stage: Stage) -> None:
    client, found = stage(2)
    for each in found:
        each.on_request = each.refuse("busy")
    with pytest.raises(zmqkit.Busy, match="it says busy") as caught:
        client.call("add", 1)
    assert caught.value.may_have_run is False
    assert [len(ids(each)) for each in found] == [1, 1]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("busy", zmqkit.Busy),
        ("expired", zmqkit.CallTimeout),
        ("no-method", zmqkit.NoMethod),
        ("bad-arguments", zmqkit.BadArguments),
    ],
)
def test_call_that_is_refused_after_it_moved_may_have_run(
    kit: Kit, stage: Stage, code: str, error: type[zmqkit.PeerError]
) -> None:
    client, found = stage(2, idempotent=True)
    call = kit.start(client.call, "add", 1)
    first, second = chosen(found)
    second.on_request = second.refuse(code)
    first.die()
    with pytest.raises(error) as caught:
        call.result()
    assert caught.value.may_have_run is True


def test_instance_that_leaves_finishes_what_it_has_and_gets_nothing_new(
    kit: Kit, stage: Stage
) -> None:
    client, found = stage(2)
    asked: list[tuple[bytes, Any]] = []
    for each in found:
        each.on_request = lambda peer, packet: asked.append((peer, packet))
    call = kit.start(client.call, "add", 1)
    first, second = chosen(found)
    second.on_request = second.answer
    [(peer, packet)] = asked
    first.do(lambda: first.send(peer, wire.BYE, None))
    until(lambda: "leaving" in [row["state"] for row in client.instances()])
    for n in range(4):
        assert client.call("add", n) == n
    assert (len({*ids(first)}), len({*ids(second)})) == (1, 4)
    first.do(lambda: first.answer(peer, packet))
    assert call.result() == 1


def test_calls_outlive_services_that_take_turns(kit: Kit) -> None:
    ran: list[int] = []
    over = threading.Event()

    def note(number: int) -> int:
        ran.append(number)
        return number

    def work() -> int:
        count = 0
        while not over.is_set():
            assert client.call("note", count) == count
            count += 1
        return count

    service, client = kit.serving(note), kit.client()
    working = kit.start(work)
    for _ in range(20):
        following = kit.serving(note)
        assert client.ready(2, timeout_s=BOUND_S) >= 2
        assert service.close() == 0
        service = following
    over.set()
    assert ran == list(range(working.result()))


def test_replies_that_come_twice_or_too_late_are_counted(stage: Stage) -> None:
    client, [fake] = stage(1)

    def answer_twice(peer: bytes, packet: Any) -> None:
        fake.answer(peer, packet)
        fake.answer(peer, packet)

    fake.on_request = answer_twice
    assert client.call("add", 1) == 1
    assert client.call("add", 2) == 2
    until(lambda: client.stats()["duplicates"] == 2)


def has_arrived(client: Any) -> bool:
    """Whether something lies in the client's socket."""
    ports = client._life.driver.driver.link._peers.values()
    return any(port.socket.get(zmq.EVENTS) & zmq.POLLIN for port in ports)


@pytest.fixture
def answered(fakes: Callable[[str], FakeService], monkeypatch: pytest.MonkeyPatch) -> Answered:
    """Gives a client of a kind that has asked, and what has it answered and then told."""

    def answered(kit: Kit) -> tuple[Any, Callable[[Any], Tell]]:
        client, [fake] = staged(kit, fakes, monkeypatch)(1)
        asked: list[Any] = []
        fake.on_request = lambda peer, packet: asked.append((peer, packet))
        client.notify("add", 1)
        until(lambda: asked)

        def answer(inner: Any) -> Tell:
            """Have the answer arrive; gives news of the end of who sent it."""
            fake.do(lambda: fake.answer(*asked[0]))
            until(lambda: has_arrived(inner))
            return Tell("gone", inner._life.plan.place._key, fake.incarnation)

        return client, answer

    return answered


def test_what_has_arrived_is_read_before_news_of_an_end(
    blocking: Kit, answered: Answered
) -> None:
    client, answer = answered(blocking)
    client._life.plan.place.node.let_go(client._life.driver)  # so that nobody reads
    client._life.hear(answer(client))
    assert (client.stats()["delivered"], client.stats()["failed"]) == (1, 0)


def test_what_has_arrived_is_read_before_news_of_an_end_in_asyncio(
    aio: AsyncKit, answered: Answered
) -> None:
    client, answer = answered(aio)
    inner = client.inner
    aio.on_loop(lambda: inner._life.take(answer(inner)))  # nobody reads while it holds the loop
    assert (client.stats()["delivered"], client.stats()["failed"]) == (1, 0)
