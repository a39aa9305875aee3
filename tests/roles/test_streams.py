"""Streams, from a handler that is a generator to whoever iterates over its values."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

import zmqkit
from tests.roles.kit import BOUND_S, AsyncKit, Kit, until
from tests.roles.watched import ENOUGH, FOREVER, Watched, count
from zmqkit.core.effects import News, Tell
from zmqkit.limits import STREAM_BYTES, STREAM_ITEMS

pytestmark = pytest.mark.usefixtures("node")


def boom(number: int) -> Iterator[int]:
    yield from range(number)
    raise ValueError("no more")


def add(one: int, two: int) -> int:
    return one + two


def test_every_value_comes_once_and_in_order(kit: Kit) -> None:
    kit.serving(count)
    client = kit.client()
    assert kit.values(client.stream("count", ENOUGH)) == list(range(ENOUGH))
    assert kit.values(client.stream("count", 0)) == []


def test_each_side_counts_a_stream_once(kit: Kit) -> None:
    service = kit.serving(count)
    client = kit.client()
    kit.values(client.stream("count", ENOUGH))
    for role in (client, service):
        until(lambda role=role: kit.balanced(role)["delivered"] == 1)
        assert role.stats()["accepted"] == 1
    assert service.stats()["streams"] == 0


def test_an_error_comes_after_the_values_before_it(kit: Kit) -> None:
    kit.serving(boom)
    stream = kit.client().stream("boom", 3)
    assert kit.values(stream, 3) == [0, 1, 2]
    with pytest.raises(zmqkit.RemoteError, match="ValueError: no more") as raised:
        kit.values(stream)
    assert "boom" in raised.value.traceback
    assert kit.values(stream) == []


def test_what_cannot_travel_ends_it(kit: Kit) -> None:
    closed = threading.Event()

    def odd() -> Iterator[object]:
        try:
            yield 1
            yield {1, 2}
        finally:
            closed.set()

    kit.serving(odd)
    stream = kit.client().stream("odd")
    assert kit.values(stream, 1) == [1]
    with pytest.raises(zmqkit.RemoteError, match="the value is of type set"):
        kit.values(stream)
    assert closed.is_set()


def test_a_wrong_argument_is_the_callers_error(kit: Kit) -> None:
    kit.serving(count)
    with pytest.raises(zmqkit.BadArguments, match=r"'count' takes \(number\)"):
        kit.values(kit.client().stream("count"))


def test_a_call_of_a_generator_names_the_remedy(kit: Kit) -> None:
    kit.serving(count)
    with pytest.raises(zmqkit.NoMethod, match=r"client.stream\('count'.*without --notify"):
        kit.client().call("count", 3)


def test_a_plain_method_is_a_stream_of_one_value(kit: Kit) -> None:
    kit.serving(add)
    assert kit.values(kit.client().stream("add", 1, 2)) == [3]


def test_nobody_there_is_an_error_of_the_first_value(kit: Kit) -> None:
    client = kit.client(count=0).options(wait_s=0.01)
    with pytest.raises(zmqkit.NoService):
        kit.values(client.stream("count", 3))


def test_no_method_is_an_error_of_the_first_value(kit: Kit) -> None:
    kit.serving(count)
    with pytest.raises(zmqkit.NoMethod, match="there are count"):
        kit.values(kit.client().stream("nowhere"))


def test_a_slow_caller_slows_its_own_stream_alone(kit: Kit) -> None:
    watched = Watched()
    kit.serving(watched.watched, count, add)
    client = kit.client()
    stream = client.stream("watched")
    assert kit.values(stream, 1) == [0]
    until(lambda: watched.given == STREAM_ITEMS)
    assert client.call("add", 1, 2) == 3
    assert kit.values(client.stream("count", ENOUGH)) == list(range(ENOUGH))
    assert watched.given == STREAM_ITEMS
    assert kit.values(stream, ENOUGH) == list(range(1, ENOUGH + 1))
    kit.shut(stream)


def test_large_values_are_slowed_by_their_bytes(kit: Kit) -> None:
    given: list[int] = []

    def large() -> Iterator[bytes]:
        for each in range(10):
            given.append(each)
            yield bytes([each]) * STREAM_BYTES

    kit.serving(large, add)
    client = kit.client()
    stream = client.stream("large")
    until(lambda: given)
    assert client.call("add", 1, 2) == 3 and given == [0]
    assert [value[:1] for value in kit.values(stream)] == [bytes([n]) for n in range(10)]


def test_a_long_value_is_a_view_if_wished(kit: Kit) -> None:
    def large() -> Iterator[bytes]:
        yield bytes(5000)

    kit.serving(large)
    client = kit.client()
    assert [type(v) for v in kit.values(client.stream("large"))] == [bytes]
    views = kit.values(client.options(copy=False).stream("large"))
    assert [type(v) for v in views] == [memoryview]


def test_who_closes_it_ends_the_generator(kit: Kit) -> None:
    watched = Watched()
    service = kit.serving(watched.watched)
    client = kit.client()
    stream = client.stream("watched")
    assert kit.values(stream, 2) == [0, 1]
    kit.shut(stream)
    kit.shut(stream)
    assert kit.values(stream) == []
    assert watched.closed.wait(BOUND_S) and watched.requests[0].cancelled
    until(lambda: kit.balanced(service)["dropped"] == {"cancelled": 1})
    assert client.stats()["dropped"] == {"cancelled": 1}


def test_one_that_nobody_holds_any_more_is_closed(kit: Kit) -> None:
    watched = Watched()
    kit.serving(watched.watched)
    stream = kit.client().stream("watched")
    assert kit.values(stream, 2) == [0, 1]
    del stream
    assert watched.closed.wait(BOUND_S)


def test_one_that_never_began_does_not(kit: Kit) -> None:
    gate, watched = kit.gate(), Watched()
    service = kit.service(concurrency=1)
    service.handler(gate.hold)
    service.handler(watched.watched)
    kit.serve(service)
    client = kit.client()
    call = kit.start(client.call, "hold")
    gate.came()
    kit.shut(client.stream("watched"))
    until(lambda: service.stats()["dropped"] == {"cancelled": 1})
    gate.open()
    call.result()
    assert watched.given == 0


def test_the_client_that_closes_ends_the_generator(kit: Kit) -> None:
    watched = Watched()
    kit.serving(watched.watched)
    client = kit.client()
    stream = client.stream("watched")
    assert kit.values(stream, 1) == [0]
    client.close(0)
    assert watched.closed.wait(BOUND_S)


def test_the_service_that_closes_ends_the_stream(kit: Kit) -> None:
    watched = Watched()
    service = kit.serving(watched.watched)
    stream = kit.client().stream("watched")
    kit.values(stream, 1)
    assert service.close(0.01) == 1
    assert watched.closed.wait(BOUND_S)
    with pytest.raises(zmqkit.PeerLost) as raised:
        kit.values(stream)
    assert raised.value.may_have_run


def test_a_stream_that_ends_in_time_is_finished_by_close(kit: Kit) -> None:
    gate = kit.gate()

    def held() -> Iterator[int]:
        yield 1
        if isinstance(kit, AsyncKit):
            yield 2
            return
        gate.hold()
        yield 2

    service = kit.serving(held)
    stream = kit.client().stream("held")
    assert kit.values(stream, 1) == [1]
    closing = kit.start(service.close, BOUND_S)
    gate.open()
    assert closing.result() == 0
    assert kit.values(stream) == [2]


def test_the_first_value_has_the_calls_time(kit: Kit) -> None:
    gate = kit.gate()
    service = kit.service(concurrency=1)
    service.handler(gate.hold)
    service.handler(count)
    kit.serve(service)
    client = kit.client()
    call = kit.start(client.call, "hold")
    gate.came()
    with pytest.raises(zmqkit.CallTimeout):
        kit.values(client.options(timeout_s=0.05).stream("count", 3))
    gate.open()
    call.result()


@pytest.mark.slow
def test_then_each_wait_has_it_anew(kit: Kit) -> None:
    go = threading.Event()

    def stops() -> Iterator[object]:
        yield zmqkit.current_request().time_left_s() > 0
        go.wait(BOUND_S)
        yield 2

    service = kit.service(concurrency=2)
    if isinstance(kit, AsyncKit):
        service.handler(stops, thread=True)
    else:
        service.handler(stops)
    kit.serve(service)
    client = kit.client().options(timeout_s=2.0)
    stream = client.stream("stops")
    assert kit.values(stream, 1) == [True]
    with pytest.raises(zmqkit.CallTimeout, match="no further value") as raised:
        kit.values(stream)
    assert raised.value.may_have_run
    go.set()
    until(lambda: service.stats()["in_flight"] == 0)


def test_a_values_request_is_at_hand_throughout(kit: Kit) -> None:
    def ids(number: int) -> Iterator[str]:
        for _ in range(number):
            yield zmqkit.current_request().id

    kit.serving(ids)
    assert len(set(kit.values(kit.client().stream("ids", ENOUGH)))) == 1


def test_calls_are_answered_between_the_values_of_a_fast_stream(kit: Kit) -> None:
    kit.serving(count, add)
    client = kit.client()
    reading = kit.start(kit.values, client.stream("count", ENOUGH))
    for number in range(20):
        assert client.call("add", number, 1) == number + 1
    assert reading.result() == list(range(ENOUGH))


def test_streams_run_side_by_side(kit: Kit) -> None:
    kit.serving(count)
    client = kit.client()
    streams = [client.stream("count", FOREVER) for _ in range(5)]
    for _ in range(3):
        for stream in streams:
            assert len(kit.values(stream, STREAM_ITEMS)) == STREAM_ITEMS
    for stream in streams:
        kit.shut(stream)


def test_a_connection_made_anew_leaves_no_gap(kit: Kit) -> None:
    kit.serving(count)
    client = kit.client()
    stream = client.stream("count", ENOUGH)
    values = kit.values(stream, 10)
    [(incarnation, endpoint)] = kit.core(client)._connections.known.items()
    for _ in range(5):
        for news in (News.LOST, News.FOUND):
            client._life.hear(Tell(news, "", incarnation, endpoint))
        values += kit.values(stream, STREAM_ITEMS // 2)
    values += kit.values(stream)
    assert values == list(range(ENOUGH))
    assert client.stats()["delivered"] == 1
