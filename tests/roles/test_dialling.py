"""Workers that dial a streamer, instead of being found."""

from __future__ import annotations

import random
import secrets
import threading
from math import inf
from typing import Any

import pytest
import zmq

import zmqkit
from tests.ports import quiet_endpoint
from tests.roles.kit import BOUND_S, AsyncKit, Kit, until
from zmqkit.device.streamer import Streamer
from zmqkit.limits import READY_COUNT, READY_S
from zmqkit.model import Reach
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode

pytestmark = pytest.mark.usefixtures("node")

SILENT_S = READY_COUNT * READY_S


def double(number: int) -> int:
    return 2 * number


def url(kit: Kit, streamer: Streamer) -> str:
    return f"{streamer.endpoint}/{kit.name}"


def dialled(streamer: Streamer) -> Any:
    return streamer.stats()["dialled"]


def callers(streamer: Streamer) -> list[Any]:
    return list(streamer._core._dialled.by_peer.values())


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]


def test_a_worker_dials_a_streamer_and_does_its_tasks(kit: Kit) -> None:
    streamer = kit.streamer()
    worker = kit.working(double, name=url(kit, streamer))
    assert (worker.name, worker.endpoint) == (url(kit, streamer), streamer.endpoint)
    assert worker.reach is Reach.LOCAL
    until(lambda: dialled(streamer) == 1)
    assert kit.mapped(kit.pusher(), range(300)) == [2 * n for n in range(300)]


def test_large_bodies_pass(kit: Kit) -> None:
    streamer = kit.streamer()
    kit.working(len, name=url(kit, streamer))
    assert kit.pusher().push(bytes(5 << 20)).result(BOUND_S) == 5 << 20


def test_its_task_can_be_cancelled(kit: Kit) -> None:
    streamer = kit.streamer()
    gate = kit.gate()
    kit.working(gate.hold, name=url(kit, streamer))
    ticket = kit.pusher().push("cat")
    gate.came()
    ticket.cancel()
    assert ticket.state == "cancelled"
    until(lambda: gate.requests[0].cancelled)


def test_what_it_says_of_its_progress_arrives(kit: Kit) -> None:
    streamer = kit.streamer()

    def work(body: object) -> None:
        zmqkit.current_task().progress(body)

    kit.working(work, name=url(kit, streamer))
    ticket = kit.pusher().push(0.5)
    ticket.result(BOUND_S)
    assert ticket.progress() == 0.5


def test_a_worker_that_closes_finishes_and_is_gone_at_once(kit: Kit) -> None:
    streamer = kit.streamer()
    gate = kit.gate()
    worker = kit.working(gate.hold, name=url(kit, streamer))
    first = kit.pusher().push("cat")
    gate.came()
    closing = kit.start(worker.close, BOUND_S)
    until(lambda: not streamer._core.tasks.ready_count)
    gate.open()
    assert closing.result() == 0
    assert first.result(BOUND_S) == "cat"
    until(lambda: dialled(streamer) == 0)
    assert streamer._core.tasks.instances == []


def test_a_wrong_name_is_told_with_the_right_one(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    streamer = kit.streamer()
    kit.working(double, name=f"{streamer.endpoint}/other")
    until(lambda: warned(caplog))
    [line] = warned(caplog)
    assert f"end the URL with /{kit.name}" in line
    assert dialled(streamer) == 0


def test_without_a_name_it_works_for_whatever_the_streamer_has(kit: Kit) -> None:
    streamer = kit.streamer()
    kit.working(double, name=streamer.endpoint)
    assert kit.pusher().push(2).result(BOUND_S) == 4


@pytest.mark.slow
def test_nobody_there_is_told_with_a_remedy(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    taken = kit.service("not-a-streamer")
    taken.handler(double)
    kit.serve(taken)
    kit.working(double, name=f"{taken.endpoint}/{kit.name}")
    until(lambda: warned(caplog))
    [line] = warned(caplog)
    assert "nobody else takes workers that dial: zmqkit run streamer" in line
    assert taken.stats()["malformed"].keys() == {"unexpected"}


@pytest.mark.slow
def test_a_long_handler_does_not_make_a_worker_silent(kit: Kit) -> None:
    streamer = kit.streamer()
    gate = kit.gate()
    kit.working(gate.hold, name=url(kit, streamer))
    ticket = kit.pusher().push("cat")
    gate.came()
    [caller] = callers(streamer)
    begun_at = caller.heard_at
    until(lambda: caller.heard_at > begun_at + SILENT_S + READY_S)
    assert callers(streamer) == [caller]
    gate.open()
    assert ticket.result(BOUND_S) == "cat"
    assert ticket.attempts == 1


@pytest.mark.slow
def test_a_handler_that_holds_the_loop_keeps_its_task(aio: AsyncKit) -> None:
    streamer = aio.streamer()
    gate = threading.Event()

    def hold(body: str) -> str:
        assert gate.wait(BOUND_S)
        return body

    aio.working(hold, name=url(aio, streamer))
    with zmqkit.Pusher(aio.name) as pusher:
        ticket = pusher.push("cat")
        until(lambda: any(each.probe_at < inf for each in callers(streamer)))
        gate.set()
        assert ticket.result(BOUND_S) == "cat"
        assert ticket.attempts == 1
        until(lambda: streamer._core.tasks.ready_count == 1)


@pytest.mark.slow
def test_a_streamer_that_returns_at_its_port_finds_the_worker_again(kit: Kit) -> None:
    endpoint = quiet_endpoint()
    first = kit.streamer(bind=endpoint)
    kit.working(double, name=url(kit, first))
    until(lambda: dialled(first) == 1)
    first.close()
    second = kit.streamer(bind=endpoint)
    until(lambda: dialled(second) == 1)
    assert kit.pusher().push(21).result(BOUND_S) == 42


def test_garbage_that_says_ready_takes_nobodys_place(blocking: Kit) -> None:
    kit = blocking
    streamer = kit.streamer()
    kit.working(double, name=url(kit, streamer))
    until(lambda: dialled(streamer) == 1)
    chance = random.Random(7)
    with zmq.Context() as context:
        sockets = [context.socket(zmq.DEALER) for _ in range(5)]
        for socket in sockets:
            socket.setsockopt(zmq.LINGER, 0)
            socket.connect(streamer.endpoint)
        for _ in range(200):
            source = secrets.randbits(63)
            meta = encode({"name": chance.choice(("", kit.name, "x", 3)), "lz4": True})
            [head] = wire.pack(wire.READY, source, chance.choice((0, 0, 9)), 0, meta)
            cut = chance.randrange(len(head)) if chance.random() < 0.2 else len(head)
            chance.choice(sockets).send(bytes(head)[:cut])
        asked = sum(socket.poll(int(BOUND_S * 1000)) for socket in sockets)
        assert asked == len(sockets) * zmq.POLLIN
        assert dialled(streamer) <= 1 + len(sockets)
        assert kit.mapped(kit.pusher(), range(20)) == [2 * n for n in range(20)]
        for socket in sockets:
            socket.close()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("tcp://127.0.0.1:5560/a", {"bind": "tcp://*:0"}, "listens nowhere"),
        ("tcp://127.0.0.1:5560/a", {"advertise": "10.0.0.5"}, "listens nowhere"),
        ("tcp://127.0.0.1:0/a", {}, "needs a host and a port"),
        ("tcp://10.0.0.5:5560/a", {"insecure": False}, "reaches beyond this machine"),
        ("memory://a", {}, "use tcp://host:port/name"),
        ("udp://a:1", {}, "is not a URL zmqkit knows"),
    ],
)
def test_a_wrong_url_is_told_at_once(
    kit: Kit, name: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(zmqkit.ConfigError, match=words):
        kit._kept(kit.worker_class, name, **options)


def test_the_network_needs_a_word(kit: Kit) -> None:
    worker = kit._kept(kit.worker_class, "tcp://10.0.0.5:5560/a")
    worker.task(double)
    with pytest.raises(zmqkit.ConfigError, match="insecure=True"):
        worker.start()
