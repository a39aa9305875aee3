"""How roles show themselves, in a debugger or a log."""

from __future__ import annotations

import pytest

import zmqkit
from tests.roles.kit import Kit

pytestmark = pytest.mark.usefixtures("node")


def module(kit: Kit) -> str:
    return str(kit.client_class.__module__.removesuffix(".client").removesuffix(".blocking"))


def test_a_service_shows_where_it_listens(kit: Kit) -> None:
    service = kit.service()
    kind = f"{module(kit)}.Service {kit.name!r}"
    assert shown(service) == f"<{kind}, not started>"
    service.start()
    assert shown(service) == f"<{kind}, {service.endpoint}>"
    service.close()
    assert shown(service) == f"<{kind}, closed>"


def test_a_service_shows_the_brokers_that_it_answers_through(kit: Kit) -> None:
    service = kit.service(via="tcp://127.0.0.1:5555")
    kind = f"{module(kit)}.Service {kit.name!r}"
    assert shown(service) == f"<{kind}, via 'tcp://127.0.0.1:5555'>"
    service.close()
    assert shown(service) == f"<{kind}, closed>"


def test_a_client_shows_its_options_but_no_headers(kit: Kit) -> None:
    client = kit.client(count=0, timeout_s=5.0)
    kind = f"{module(kit)}.Client {kit.name!r}"
    assert shown(client) == f"<{kind}, timeout_s=5, priority=4>"
    view = client.options(timeout_s=0.5, priority=7, headers={"key": "secret"})
    assert shown(view) == f"<{kind}, timeout_s=0.5, priority=7>"
    client.close()
    assert shown(client) == f"<{kind}, timeout_s=5, priority=4, closed>"


def test_publishers_and_subscribers_show_themselves(kit: Kit) -> None:
    publisher, subscriber = kit.publisher(), kit.subscriber()
    ends = f"{module(kit)}.Publisher {kit.name!r}", f"{module(kit)}.Subscriber {kit.name!r}"
    assert shown(publisher) == f"<{ends[0]}, {publisher.endpoint}>"
    assert shown(subscriber) == f"<{ends[1]}>"
    for role in (publisher, subscriber):
        role.close()
    assert [shown(publisher), shown(subscriber)] == [f"<{end}, closed>" for end in ends]


def test_a_request_shows_its_method_and_id(kit: Kit) -> None:
    def show() -> list[str]:
        request = zmqkit.current_request()
        return [repr(request), request.id]

    kit.serving(show)
    text, number = kit.client().call("show")
    assert text == f"<zmqkit.Request 'show', {number}>"


def shown(role: object) -> str:
    """What the role shows, which an asyncio kit wraps."""
    return repr(getattr(role, "inner", role))
