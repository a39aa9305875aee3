"""Roles of different spaces: they do not find each other, whichever way they look."""

from __future__ import annotations

import os
import secrets

import pytest

import zmqkit
from tests.roles.kit import BOUND_S, Kit, until
from zmqkit.device.bridge import Bridge
from zmqkit.device.router import Router
from zmqkit.node import node as nodes
from zmqkit.node.presence import present

SHORT_S = 0.3


@pytest.fixture
def space() -> str:
    """A space of the test's own."""
    return f"test-{secrets.token_hex(4)}"


def real(amount: int) -> str:
    return f"charged {amount}"


def fake(amount: int) -> str:
    return f"pretended {amount}"


def test_a_fake_beside_a_running_one_is_reached_by_its_own_space_alone(
    kit: Kit, space: str
) -> None:
    kit.serving(real)
    kit.serving(fake, space=space)
    assert kit.client().call("real", 5) == "charged 5"
    tried = kit.client(space=space)
    assert tried.call("fake", 5) == "pretended 5"
    with pytest.raises(zmqkit.NoMethod):
        tried.call("real", 5)
    assert len(tried.instances()) == len(kit.client().instances()) == 1


def test_the_environment_says_in_which_space_roles_are(
    kit: Kit, space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.serving(real)
    monkeypatch.setenv("ZMQKIT_SPACE", space)
    kit.serving(fake)
    assert kit.client().call("fake", 5) == "pretended 5"
    assert kit.client(space="").call("real", 5) == "charged 5"


def test_nobody_found_says_that_the_name_is_in_another_space(kit: Kit, space: str) -> None:
    kit.serving(real, space=space)
    client = kit.client(count=0)

    def told() -> bool:
        with pytest.raises(zmqkit.NoService) as raised:
            client.options(wait_s=SHORT_S).call("real", 5)
        return f"one is in the space {space!r}, and this is the default space" in str(
            raised.value
        )

    until(told)


def test_a_url_leads_to_nobody_of_another_space(kit: Kit, space: str) -> None:
    service = kit.serving(real, space=space)
    client = kit.client(service.endpoint, count=0, space="other")

    def told() -> bool:
        with pytest.raises(zmqkit.NoService) as raised:
            client.options(wait_s=SHORT_S).call("real", 5)
        text = str(raised.value)
        return f"is in the space {space!r}, and this is the space 'other'" in text

    until(told)
    assert kit.client(service.endpoint, space=space).call("real", 5) == "charged 5"


def test_a_memory_name_is_another_one_in_each_space(kit: Kit, space: str) -> None:
    url = f"memory://{kit.name}"
    kit.serving(real, bind=url)
    with pytest.raises(zmqkit.NoService, match="one is in the default space"):
        kit.client(url, count=0, space=space, wait_s=SHORT_S).call("real", 5)
    kit.serving(fake, bind=url, space=space)
    assert kit.client(url, space=space).call("fake", 5) == "pretended 5"
    assert kit.client(url).call("real", 5) == "charged 5"


def test_a_static_peer_of_another_space_tells_nothing(
    kit: Kit, space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.serving(real)
    at = nodes.acquire()
    try:
        port = at.open_control(at.environment.reach())
    finally:
        nodes.release(at)
    monkeypatch.setenv("ZMQKIT_PEERS", f"127.0.0.1:{port}")
    client = kit.client(count=0, space=space)

    def told() -> bool:
        with pytest.raises(zmqkit.NoService) as raised:
            client.options(wait_s=SHORT_S).call("real", 5)
        return "is in the default space, and this is the space" in str(raised.value)

    until(told)
    node = nodes.acquire(space)
    try:
        assert [each.state for each in node.static_peers()] == ["in the default space"]
    finally:
        nodes.release(node)


def test_publishers_and_subscribers_stay_within_their_space(kit: Kit, space: str) -> None:
    here, there = kit.publisher(), kit.publisher(space=space)
    subscriber = kit.subscriber()
    assert there.ready(timeout_s=0) == 0
    there.publish("t", "of another space")
    here.publish("t", "of this space")
    message = subscriber.receive(BOUND_S)
    assert message.body == "of this space"
    assert subscriber.receive(0) is None


def test_a_subscriber_at_a_url_of_another_space_is_told_so(
    kit: Kit, space: str, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = kit.publisher(space=space)
    subscriber = kit.subscriber(publisher.endpoint, count=0)
    until(lambda: [each["state"] for each in subscriber.publishers()] == ["apart"])
    publisher.publish("t", 1)
    assert publisher.ready(timeout_s=0) == 0
    assert subscriber.receive(0) is None
    assert f"is in the space {space!r}, and this is the default space" in caplog.text
    assert kit.subscriber(publisher.endpoint, space=space).ready() == 1


def test_tasks_stay_within_their_space(kit: Kit, space: str) -> None:
    kit.working(fake, space=space)
    kit.working(real)
    pusher = kit.pusher()
    assert pusher.push(5).result(BOUND_S) == "charged 5"
    assert pusher.ready(2, timeout_s=0) == 1


def test_a_streamer_refuses_a_worker_of_another_space_that_dials(
    kit: Kit, space: str, caplog: pytest.LogCaptureFixture
) -> None:
    streamer = kit.streamer(space=space)
    kit.working(fake, name=f"{streamer.endpoint}/{kit.name}")
    until(
        lambda: f"it is in the space {space!r}, and this one is in the default" in caplog.text
    )
    kit.working(real, name=f"{streamer.endpoint}/{kit.name}", space=space)
    assert kit.pusher(space=space).push(5).result(BOUND_S) == "charged 5"


def test_a_router_passes_on_calls_of_its_space(kit: Kit, space: str) -> None:
    with Router(kit.name, space=space) as router:
        kit.start(router.run)
        kit.serving(real)
        kit.serving(fake, space=space)
        client = kit.client(router.endpoint + f"/{kit.name}", space=space)
        until(lambda: any(each["served"] for each in client.instances()))
        assert client.call("fake", 5) == "pretended 5"
        with pytest.raises(zmqkit.NoMethod):
            client.call("real", 5)


def test_a_router_refuses_a_service_of_another_space_that_dials(
    kit: Kit, space: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Router(kit.name, space=space) as router:
        kit.start(router.run)
        kit.serving(fake, via=router.endpoint)
        until(lambda: f"it is in the space {space!r}, and this one is in" in caplog.text)


def test_both_ends_of_a_bridge_are_in_one_space(
    blocking: Kit, space: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Bridge(blocking.name, space=space) as there:
        blocking.start(there.run)
        with Bridge(blocking.name, connect=there.endpoint) as here:
            blocking.start(here.run)
            until(lambda: f"it is in the space {space!r}, and this one is in" in caplog.text)


def test_tools_find_the_processes_of_their_space(blocking: Kit, space: str) -> None:
    blocking.serving(real, space=space)
    until(lambda: len(present(space)) == 1)  # the node makes its entry on its own thread
    [process] = present(space)
    assert process not in present()
    node = nodes.acquire(space)
    try:
        assert node.process == process
    finally:
        nodes.release(node)


def test_all_roles_of_a_process_are_counted_whatever_their_space(
    blocking: Kit, space: str
) -> None:
    blocking.serving(real)
    blocking.serving(fake, space=space)
    assert [each.name for each in nodes.figures()] == [blocking.name] * 2


@pytest.mark.parametrize("name", ["Dev", "a b", "-dev", "a/b", "x" * 33, 7, "dév"])
def test_what_cannot_be_a_space_is_refused(
    name: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(zmqkit.ConfigError, match=r"space is .*; use 1 to 32 of"):
        zmqkit.Client("orders", space=name)  # type: ignore[arg-type]  # that is the point
    if isinstance(name, str):
        monkeypatch.setitem(os.environ, "ZMQKIT_SPACE", name)
        with pytest.raises(zmqkit.ConfigError, match="ZMQKIT_SPACE is"):
            zmqkit.Client("orders")
