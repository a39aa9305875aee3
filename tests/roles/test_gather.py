"""All instances of a name are asked, and each has its answer."""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import Any

import pytest

import zmqkit
from tests.roles.kit import BOUND_S, AsyncKit, Kit, until

pytestmark = pytest.mark.usefixtures("node")

SHORT_S = 2.0


def adding(kit: Kit, number: int) -> Any:
    """An instance that adds its number."""

    def add(value: int) -> int:
        return value + number

    return kit.serving(add)


def client_of(kit: Kit, count: int, **options: Any) -> Any:
    """A client that does not wait for further instances."""
    client = kit.client(count=count, **options)
    kit.core(client)._dispatcher.kept_at = 0
    return client


def gathered(client: Any, *args: object) -> list[zmqkit.Answer]:
    answers: list[zmqkit.Answer] = client.gather(*args)
    return answers


def labels(client: Any) -> list[str]:
    return [row["label"] for row in client.instances()]


def test_each_instance_is_asked_once_and_named(kit: Kit) -> None:
    for number in range(3):
        adding(kit, number)
    client = client_of(kit, 3)
    answers = gathered(client, "add", 10)
    assert sorted(answer.result() for answer in answers) == [10, 11, 12]
    assert [answer.instance for answer in answers] == labels(client)
    assert [answer.error for answer in answers] == [None] * 3
    assert client.stats()["accepted"] == 3


def test_an_error_is_that_of_its_instance(kit: Kit) -> None:
    def add(value: int) -> int:
        raise ValueError(value)

    adding(kit, 1)
    kit.serving(add)
    kit.serving(len)
    errors = {type(answer.error): answer for answer in gathered(client_of(kit, 3), "add", 2)}
    assert errors.keys() == {type(None), zmqkit.RemoteError, zmqkit.NoMethod}
    assert errors[type(None)].value == 3
    with pytest.raises(zmqkit.RemoteError, match="ValueError: 2"):
        errors[zmqkit.RemoteError].result()


def test_who_has_not_answered_by_the_deadline_is_told(kit: Kit) -> None:
    gate = kit.gate()

    def hold() -> str:
        return "at once"

    kit.serving(hold)
    kit.serving(gate.hold)
    client = client_of(kit, 2)
    answers = gathered(client.options(timeout_s=SHORT_S), "hold")
    [late] = [answer for answer in answers if answer.error is not None]
    assert isinstance(late.error, zmqkit.CallTimeout) and late.error.may_have_run
    assert late.instance in labels(client)
    assert "at once" in [answer.value for answer in answers]


def test_who_closes_meanwhile_is_told_and_its_call_moves_nowhere(kit: Kit) -> None:
    gate = kit.gate()
    services = [kit.serving(gate.hold, idempotent=True) for _ in range(2)]
    client = client_of(kit, 2)
    answers = kit.start(gathered, client, "hold", 1)
    gate.came(2)
    closing = kit.start(services[0].close, 0)
    until(lambda: len(client.instances()) == 1)
    gate.open()
    closing.result()
    kinds = sorted(type(answer.error).__name__ for answer in answers.result())
    assert kinds == ["NoneType", "PeerLost"]
    assert len(gate.requests) == 2


def test_nobody_is_an_error_as_with_a_call(kit: Kit) -> None:
    with pytest.raises(zmqkit.NoService, match=kit.name):
        gathered(kit.client(count=0).options(wait_s=SHORT_S), "add", 1)


def test_a_url_is_that_one(kit: Kit) -> None:
    service = adding(kit, 1)
    adding(kit, 2)
    client = client_of(kit, 1, name=service.endpoint)
    [answer] = gathered(client, "add", 1)
    assert answer.result() == 2 and answer.instance == labels(client)[0]


def test_the_first_gather_waits_for_all_that_are_being_found(kit: Kit) -> None:
    for number in range(3):
        adding(kit, number)
    answers = gathered(kit.client(count=0), "add", 0)
    assert sorted(answer.result() for answer in answers) == [0, 1, 2]


def test_one_instance_alone_is_not_gathered(kit: Kit) -> None:
    adding(kit, 1)
    client = client_of(kit, 1)
    with pytest.raises(zmqkit.UsageError, match="use call"):
        gathered(client.options(instance=labels(client)[0]), "add", 1)


def test_large_values_are_copied_unless_the_options_say_not_to(kit: Kit) -> None:
    def large() -> bytes:
        return bytes(100_000)

    kit.serving(large)
    client = client_of(kit, 1)
    assert type(gathered(client, "large")[0].value) is bytes
    assert type(gathered(client.options(copy=False), "large")[0].value) is memoryview


def test_closing_the_client_ends_each_call(kit: Kit) -> None:
    gate = kit.gate()
    kit.serving(gate.hold)
    client = client_of(kit, 1)
    answers = kit.start(gathered, client, "hold")
    gate.came()
    client.close(0)
    [answer] = answers.result()
    assert isinstance(answer.error, zmqkit.CallCancelled)


def test_cancelling_the_task_cancels_each_call(aio: AsyncKit) -> None:
    gate = aio.gate()
    aio.serving(gate.hold)
    client = client_of(aio, 1)
    answers = aio.submit(client.inner.gather("hold"))
    gate.came()
    answers.cancel()
    with pytest.raises(CancelledError):
        answers.result(BOUND_S)
    assert gate.cancelled.wait(BOUND_S)
    until(lambda: client.stats()["dropped"] == {"cancelled": 1})
