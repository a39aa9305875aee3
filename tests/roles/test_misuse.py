"""A blocking role that waits on a running event loop is warned of, at the line that calls."""

from __future__ import annotations

import asyncio
import builtins
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.roles.kit import LOOPS, Kit

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 20.0

SAID = (
    "call() of a blocking role holds the event loop that runs in this thread; use the role of "
    "zmqkit.asyncio and `await` it, or a thread: `await asyncio.to_thread(...)`"
)


pytestmark = pytest.mark.usefixtures("node")


@pytest.fixture
def client(blocking: Kit) -> Any:
    """A client of a service that answers."""
    return blocking.client(blocking.serving(answer, count, hold).endpoint)


def answer() -> int:
    return 42


def hold() -> None:
    """Answer only after a while, so that nobody has the answer at once."""
    threading.Event().wait(0.05)


def count() -> Iterator[int]:
    hold()
    yield 1


def caught_on_a_loop(
    work: Callable[[], object], make: Callable[[], asyncio.AbstractEventLoop]
) -> list[warnings.WarningMessage]:
    """What is warned of while a coroutine does this work."""

    async def main() -> None:
        work()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        with asyncio.Runner(loop_factory=make) as runner:
            runner.run(main())
    return caught


@pytest.mark.parametrize("loop", LOOPS)
def test_a_call_on_a_loop_is_warned_of_where_it_stands_once(client: Any, loop: str) -> None:
    def twice() -> None:
        for _ in range(2):
            client.call("hold")

    [warning] = caught_on_a_loop(twice, LOOPS[loop])
    assert (str(warning.message), warning.category) == (SAID, RuntimeWarning)
    line = Path(warning.filename).read_text().splitlines()[warning.lineno - 1]
    assert line.strip() == 'client.call("hold")'


def test_a_loop_over_a_stream_is_warned_of(client: Any) -> None:
    [warning] = caught_on_a_loop(lambda: list(client.stream("count")), asyncio.new_event_loop)
    assert "a loop of a blocking role" in str(warning.message)
    assert "`async for`" in str(warning.message)


def test_a_subscriber_that_waits_on_a_loop_is_warned_of(blocking: Kit) -> None:
    subscriber = blocking.subscriber(count=0)
    [warning] = caught_on_a_loop(lambda: subscriber.receive(0.01), asyncio.new_event_loop)
    assert str(warning.message).startswith("receive() of a blocking role")


def test_a_service_that_serves_on_a_loop_is_warned_of(blocking: Kit) -> None:
    service = blocking.service()
    [warning] = caught_on_a_loop(lambda: service.serve(0.01), asyncio.new_event_loop)
    assert str(warning.message).startswith("serve() of a blocking role")


def test_a_close_on_a_loop_is_not_warned_of(client: Any) -> None:
    def close() -> None:
        client.notify("hold")
        client.close()

    assert caught_on_a_loop(close, asyncio.new_event_loop) == []


def test_nothing_is_warned_of_in_a_notebook(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builtins, "__IPYTHON__", True, raising=False)
    assert caught_on_a_loop(lambda: client.call("hold"), asyncio.new_event_loop) == []


def test_a_thread_beside_the_loop_is_not_warned_of(client: Any) -> None:
    async def main() -> None:
        assert await asyncio.to_thread(client.call, "answer") == 42

    asyncio.run(main())


def test_a_warning_that_is_an_error_ends_that_call_alone(client: Any) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeWarning, match="holds the event loop"):
            client.call("hold")

    asyncio.run(main())
    assert client.call("answer") == 42


def test_without_asyncio_there_is_nothing_to_ask() -> None:
    program = (
        "import sys\n"
        "from zmqkit.drivers.misuse import check_loop\n"
        "check_loop()\n"
        "assert 'asyncio.events' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=LIMIT_S, cwd=ROOT)


def test_the_warning_is_for_roles_that_wait(blocking: Kit) -> None:
    publisher = blocking.publisher()
    assert caught_on_a_loop(lambda: publisher.publish("t", 1), asyncio.new_event_loop) == []
