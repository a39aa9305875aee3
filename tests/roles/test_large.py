"""Long bytes values: bytes on both ends, or views of what arrived."""

from __future__ import annotations

import array
import sys

import pytest

import zmqkit
from tests.roles.kit import BOUND_S, AsyncKit, Kit, until
from zmqkit.limits import BATCH_BYTES, RAW_BYTES_MIN

pytestmark = pytest.mark.usefixtures("node")

LONG = bytes(range(256)) * 4096


def kind_of(body: object) -> str:
    return type(body).__name__


def echo(body: object) -> object:
    return body


@pytest.mark.parametrize("size", [RAW_BYTES_MIN - 1, RAW_BYTES_MIN, 1 << 20])
def test_bytes_arrive_as_bytes(kit: Kit, size: int) -> None:
    kit.serving(echo, kind_of)
    client = kit.client()
    reply = client.call("echo", LONG[:size])
    assert type(reply) is bytes and reply == LONG[:size]
    assert client.call("kind_of", LONG[:size]) == "bytes"


def test_a_handler_may_take_a_view_of_what_arrived(kit: Kit) -> None:
    service = kit.service()
    seen: list[object] = []

    @service.handler(copy=False)
    def tail(body: memoryview) -> memoryview:
        seen.extend((type(body), body.readonly, len(body)))
        return body[-10:]

    kit.serve(service)
    reply = kit.client().call("tail", LONG)
    assert seen == [memoryview, True, len(LONG)]
    assert type(reply) is bytes and reply == LONG[-10:]


def test_a_short_argument_is_bytes_all_the_same(kit: Kit) -> None:
    service = kit.service()
    service.handler(kind_of, copy=False)
    kit.serve(service)
    assert kit.client().call("kind_of", b"short") == "bytes"


def test_a_caller_may_take_a_view_of_what_arrived(kit: Kit) -> None:
    kit.serving(echo)
    reply = kit.client().options(copy=False).call("echo", LONG)
    assert type(reply) is memoryview and reply.readonly and reply == LONG


def test_what_arrived_is_sent_on_as_it_is(kit: Kit) -> None:
    service = kit.service()
    service.handler(echo, copy=False)
    kit.serve(service)
    client = kit.client().options(copy=False)
    once = client.call("echo", LONG)
    assert client.call("echo", once) == LONG


def test_what_may_change_under_a_view_is_copied(kit: Kit) -> None:
    service = kit.service()
    buffer = bytearray(LONG)

    @service.handler
    def read() -> memoryview:
        return memoryview(buffer)

    kit.serve(service)
    client = kit.client()
    before = client.call("read")
    buffer[:4] = b"next"
    assert before == LONG and client.call("read")[:4] == b"next"
    assert client.call("read") == buffer


def test_a_view_of_anything_arrives_as_its_bytes(kit: Kit) -> None:
    kit.serving(echo)
    numbers = array.array("d", [1.5, 2.5])
    view = memoryview(numbers).toreadonly()
    assert kit.client().call("echo", view) == numbers.tobytes()


def test_a_view_with_gaps_is_refused(kit: Kit) -> None:
    kit.serving(echo)
    with pytest.raises(zmqkit.UsageError, match="gaps"):
        kit.client().call("echo", memoryview(LONG)[::2])


def test_a_view_among_others_is_refused(kit: Kit) -> None:
    kit.serving(echo)
    with pytest.raises(zmqkit.UsageError, match="memoryview"):
        kit.client().call("echo", [memoryview(LONG)])


def test_views_have_the_limit_of_bytes(kit: Kit) -> None:
    kit.serving(echo)
    with pytest.raises(zmqkit.UsageError, match="at most"):
        kit.client().call("echo", memoryview(bytes(65 << 20)))


def test_a_last_answer_arrives_though_its_service_has_closed(kit: Kit) -> None:
    gate = kit.gate()

    def large() -> bytes:
        gate.came_in()
        return bytes(48 << 20)

    service = kit.serving(large)
    answer = kit.start(kit.client().call, "large")
    gate.came()
    assert service.close(BOUND_S / 2) == 0  # what is left of that is for the answer
    assert len(answer.result()) == 48 << 20


def test_what_stands_in_line_runs_no_deeper_than_what_came_before(aio: AsyncKit) -> None:
    gate, depths = aio.gate(), list[int]()

    def deep() -> bytes:
        frame, depth = sys._getframe(), 0
        while frame := frame.f_back:  # type: ignore[assignment]  # None ends it
            depth += 1
        depths.append(depth)
        return bytes(BATCH_BYTES)

    aio.serving(gate.hold, deep, concurrency=1)
    client = aio.client()
    held = aio.start(client.call, "hold")
    gate.came()
    calls = [aio.submit(client.inner.call("deep")) for _ in range(8)]
    until(lambda: client.stats()["in_flight"] == 9)
    gate.open()
    assert [len(call.result(BOUND_S)) for call in calls] == 8 * [BATCH_BYTES]
    assert max(depths) - min(depths) <= 4
    held.result()
