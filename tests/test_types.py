"""zmqkit.types says what is there at run time: each option, counter and field of a row."""

from __future__ import annotations

import secrets
import typing
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pytest

import zmqkit
from zmqkit import types
from zmqkit.core.calls.call import CallOptions


def assert_shape(value: Mapping[str, object], shape: Any) -> None:
    """The value has all keys of the shape, no others, and values of their types."""
    hints = typing.get_type_hints(shape)
    assert shape.__required_keys__ <= value.keys() <= hints.keys()
    for key, each in value.items():
        kinds = typing.get_args(hints[key]) or (hints[key],)
        plain = dict if typing.get_origin(hints[key]) is dict else kinds
        assert isinstance(each, plain), key


def test_the_options_of_a_client_are_those_that_it_takes() -> None:
    taken = {each.name for each in fields(CallOptions) if each.init}
    assert typing.get_type_hints(types.ClientOptions).keys() == taken


@pytest.mark.slow
def test_calls_count_and_list_what_their_types_say() -> None:
    name = f"t{secrets.token_hex(6)}"
    with zmqkit.Service(name) as service, zmqkit.Client(name) as client:
        assert client.ready(timeout_s=20) == 1
        assert_shape(client.stats(), types.ClientStats)
        assert_shape(service.stats(), types.ServiceStats)
        [row] = client.instances()
        assert_shape(row, types.ClientInstance)


@pytest.mark.parametrize("protocol", ["mdp1", "mdp2"])
def test_those_at_a_foreign_broker_do_too(protocol: str) -> None:
    client = zmqkit.Client("tcp://127.0.0.1:1/shout", protocol=protocol)
    assert_shape(client.stats(), types.ClientStats)
    service = zmqkit.Service("shout", via="tcp://127.0.0.1:1", protocol=protocol)
    assert_shape(service.stats(), types.ServiceStats)
    assert_shape(zmqkit.Service("shout", via="brokers").stats(), types.ServiceStats)


@pytest.mark.slow
def test_messages_count_and_list_what_their_types_say() -> None:
    name = f"t{secrets.token_hex(6)}"
    with zmqkit.Publisher(name) as publisher, zmqkit.Subscriber(name) as subscriber:
        assert publisher.ready(timeout_s=20) == 1
        assert_shape(publisher.stats(), types.PublisherStats)
        assert_shape(subscriber.stats(), types.SubscriberStats)
        [row] = subscriber.publishers()
        assert_shape(row, types.HeardPublisher)


@pytest.mark.slow
def test_tasks_count_and_list_what_their_types_say() -> None:
    name = f"t{secrets.token_hex(6)}"
    worker = zmqkit.Worker(name)
    worker.task(print)
    with worker, zmqkit.Pusher(name) as pusher, zmqkit.Sink(name) as sink:
        assert pusher.ready(timeout_s=20) == 1
        assert_shape(pusher.stats(), types.PusherStats)
        assert_shape(worker.stats(), types.ServiceStats)
        assert_shape(sink.stats(), types.ServiceStats)
        [row] = pusher.instances()
        assert_shape(row, types.Instance)
