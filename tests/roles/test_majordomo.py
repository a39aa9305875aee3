"""A Majordomo broker between clients and services, as people use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import zmq

import zmqkit
from tests.roles.kit import BOUND_S, Kit, until
from zmqkit.device.majordomo import Majordomo
from zmqkit.limits import RAW_BYTES_MIN
from zmqkit.roles.asking import body_of, opened, tasks_of


class Hall:
    """A kit with brokers, which threads run as `zmqkit run` does."""

    def __init__(self, kit: Kit, folder: Path) -> None:
        self.kit = kit
        self.folder = folder
        self.brokers: list[Majordomo] = []

    @property
    def name(self) -> str:
        return f"{self.kit.name}-m"

    def broker(self, *, durable: bool = False, **options: Any) -> Majordomo:
        broker = Majordomo(self.name, journal=self.folder if durable else None, **options)
        self.brokers.append(broker)
        broker.start()
        self.kit.start(broker.run)
        return broker

    def serving(self, *handlers: Any, **options: Any) -> Any:
        return self.kit.serving(*handlers, via=self.name, **options)

    def close(self) -> None:
        for broker in self.brokers:
            broker.close(1.0)


@pytest.fixture
def hall(kit: Kit, tmp_path: Path) -> Any:
    hall = Hall(kit, tmp_path / "requests")
    yield hall
    hall.close()


def double(number: int) -> int:
    return 2 * number


def echo(*values: Any) -> Any:
    return values[0] if len(values) == 1 else list(values)


def fails() -> None:
    raise ValueError("no tea")


@pytest.mark.parametrize("durable", [False, True])
def test_a_call_goes_through_a_broker_unchanged(hall: Hall, durable: bool) -> None:
    hall.broker(durable=durable)
    hall.serving(double, echo, fails)
    client = hall.kit.client()
    assert client.call("double", 21) == 42
    assert client.call("echo", b"x" * 2 * RAW_BYTES_MIN) == b"x" * 2 * RAW_BYTES_MIN
    assert client.call("echo", 1, "two", b"three", [4], {"five": None}) == [
        1, "two", b"three", [4], {"five": None},
    ]  # fmt: skip
    with pytest.raises(zmqkit.RemoteError, match="ValueError: no tea"):
        client.call("fails")
    with pytest.raises(zmqkit.NoMethod):
        client.call("nothing")
    with pytest.raises(zmqkit.BadArguments):
        client.call("double")


def test_a_stream_goes_through_a_broker_in_memory(hall: Hall) -> None:
    def count(to: int) -> Any:
        yield from range(to)

    hall.broker()
    hall.serving(count)
    assert hall.kit.values(hall.kit.client().stream("count", 3000)) == list(range(3000))


def test_two_brokers_take_over_from_one_another(hall: Hall) -> None:
    first = hall.broker()
    hall.broker()
    hall.serving(double, idempotent=True)
    client = hall.kit.client(count=2)
    assert [client.call("double", number) for number in range(20)] == list(range(0, 40, 2))
    first.close(BOUND_S)
    assert [client.call("double", number) for number in range(20)] == list(range(0, 40, 2))
    again = hall.broker()
    until(lambda: again.stats()["services"] != {})
    assert client.ready(2, timeout_s=BOUND_S) == 2


def test_a_submitted_request_is_collected_after_all_have_died(hall: Hall) -> None:
    ran: list[int] = []

    def buy(number: int) -> int:
        ran.append(number)
        return 2 * number

    broker = hall.broker(durable=True)
    service = hall.serving(buy)
    client = hall.kit.client()
    done = client.submit("buy", 1)
    assert done.result(BOUND_S) == 2
    service.close()
    until(lambda: broker.stats()["services"][hall.kit.name]["workers"] == 0)
    waits = client.options(id="order-17").submit("buy", 17)
    assert waits.id == "order-17"
    assert client.options(id="order-17").submit("buy", 17).id == "order-17"
    broker.close(1.0)
    client.close()
    hall.broker(durable=True)
    other = hall.kit.client()
    assert other.collect(done.id, BOUND_S) == 2
    hall.serving(buy)
    assert other.collect("order-17", BOUND_S) == 34
    assert other.submitted("order-17").state() == "done"
    assert other.collect("order-17", BOUND_S) == 34
    assert ran == [1, 17]
    with pytest.raises(zmqkit.UnknownRequest):
        other.collect("order-18")


class Stranger:
    """A client or worker of RFC 7, which knows of nothing but ZeroMQ."""

    def __init__(self, socket: zmq.Socket[bytes], broker: Majordomo, header: bytes) -> None:
        self._socket = socket
        socket.linger, socket.rcvtimeo = 0, int(BOUND_S * 1000)
        socket.connect(broker.endpoint)
        self._head = (b"", header)

    def say(self, *frames: bytes) -> None:
        self._socket.send_multipart([*self._head, *frames])

    def hear(self) -> list[bytes]:
        """Return what the broker says next, behind the header; heartbeats left out."""
        while True:
            _, _, *frames = self._socket.recv_multipart()
            if frames != [b"\x04"]:
                return frames

    def ask(self, *frames: bytes) -> list[bytes]:
        """Return the body of a reply."""
        self.say(*frames)
        return self.hear()[1:]


@pytest.fixture
def stranger() -> Iterator[Callable[[Majordomo, bytes], Stranger]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with ExitStack() as sockets:
        sockets.enter_context(context)
        yield lambda broker, header: Stranger(
            sockets.enter_context(context.socket(zmq.DEALER)), broker, header
        )


def test_a_client_of_rfc_9_finds_its_reply_after_the_broker_has_died(
    hall: Hall, stranger: Callable[[Majordomo, bytes], Stranger]
) -> None:
    broker = hall.broker(durable=True)
    client = stranger(broker, b"MDPC01")
    status, id = client.ask(b"titanic.request", b"shout", b"tea", b"cake")
    _, closed = client.ask(b"titanic.request", b"shout", b"coffee")
    assert status == b"200" and client.ask(b"titanic.close", closed) == [b"200"]
    broker.close(1.0)
    broker = hall.broker(durable=True)
    client = stranger(broker, b"MDPC01")
    worker = stranger(broker, b"MDPW01")
    assert client.ask(b"titanic.reply", id) == [b"300"]
    worker.say(b"\x01", b"shout")
    _, address, _, *body = worker.hear()
    assert body == [b"tea", b"cake"]
    worker.say(b"\x03", address, b"", b"TEA", b"CAKE")
    until(lambda: client.ask(b"titanic.reply", id) != [b"300"])
    broker.close(1.0)
    broker = hall.broker(durable=True)
    client = stranger(broker, b"MDPC01")
    assert client.ask(b"titanic.reply", id) == [b"200", b"TEA", b"CAKE"]
    assert client.ask(b"titanic.reply", closed) == [b"400"]
    assert client.ask(b"titanic.close", id) == [b"200"]
    assert client.ask(b"titanic.reply", id) == [b"400"]
    broker.close(1.0)
    broker = hall.broker(durable=True)
    client = stranger(broker, b"MDPC01")
    assert client.ask(b"titanic.reply", id) == [b"400"]


def test_what_has_not_ended_is_not_collected_yet(hall: Hall) -> None:
    broker = hall.broker(durable=True)
    service = hall.serving(double)
    client = hall.kit.client()
    service.close()
    until(lambda: broker.stats()["services"][hall.kit.name]["workers"] == 0)
    submitted = client.submit("double", 2)
    with pytest.raises(zmqkit.CallTimeout):
        submitted.result(0.05)
    assert submitted.state() == "waiting"
    hall.serving(double)
    assert submitted.result(BOUND_S) == 4


@pytest.mark.parametrize("through", ["nothing", "memory"])
def test_nobody_keeps_requests_without_a_journal(hall: Hall, through: str) -> None:
    if through == "memory":
        hall.broker()
        hall.serving(double)
    else:
        hall.kit.serving(double)
    client = hall.kit.client()
    with pytest.raises(zmqkit.NoMethod, match="majordomo-durable"):
        client.submit("double", 1)
    with pytest.raises(zmqkit.NoMethod, match="majordomo-durable"):
        client.collect("order-17")
    with pytest.raises(zmqkit.NoMethod, match="majordomo-durable"):
        client.submitted("order-17").state()


@pytest.mark.parametrize("id", ["", 17, b"x", "x" * 201])
def test_an_id_is_text(hall: Hall, id: Any) -> None:
    client = hall.kit.client(count=0)
    with pytest.raises(zmqkit.UsageError, match="id is"):
        client.options(id=id)


def test_a_folder_of_journals_that_cannot_be_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(zmqkit.ConfigError, match="cannot be the folder"):
        Majordomo("majordomo", journal=file)


def test_a_folder_of_journals_has_one_broker(hall: Hall) -> None:
    first = hall.broker(durable=True)
    second = Majordomo(hall.name, journal=hall.folder)
    with pytest.raises(zmqkit.JournalError, match="another broker has its journals there"):
        second.start()
    first.close(1.0)
    hall.broker(durable=True)


def test_a_queue_shows_the_requests_that_a_broker_keeps(hall: Hall) -> None:
    hall.broker(durable=True)
    service = hall.serving(double)
    client = hall.kit.client()
    service.close()
    submitted = client.options(id="order-17").submit("double", number=21)
    journal = hall.folder / f"{hall.kit.name}.journal"
    with opened(str(journal)) as queue:
        [task] = tasks_of(queue, ["waiting"], 1000)
    assert task["id"] == submitted.id
    assert body_of(task) == {"method": "double", "args": [], "kwargs": {"number": 21}}
