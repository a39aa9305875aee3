"""The roles and their counterparts that tests ask for.

`kit` is either kind of roles, `blocking` and `aio` are the two, asyncio's once on each kind of
loop that is installed. Each makes services and clients that are closed at the end, when their
counters must balance.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
import zmq

from tests.roles.fakes import FakeClient, FakeService
from tests.roles.kit import BOUND_S, LOOPS, AsyncKit, Kit
from zmqkit.model import Reach
from zmqkit.node import node as nodes


@pytest.fixture(scope="module")
def node() -> Iterator[nodes.Node]:
    """This process's node with its discovery, for all tests of a module: it takes a moment."""
    node = nodes.acquire()
    kit = Kit()
    kit.serving()
    kit.client()
    kit.close()

    async def settled() -> None:
        engine = node._engines._by_reach[Reach.LOCAL]._engine
        assert engine is not None
        await asyncio.wait([engine._direct])

    asyncio.run_coroutine_threadsafe(settled(), node._loop).result(BOUND_S)
    yield node
    nodes.release(node)


@pytest.fixture(autouse=True, scope="session")
def buffers_are_freed() -> None:
    """Send once without a copy: pyzmq then starts the one thread that frees what left so."""
    with zmq.Context() as context, context.socket(zmq.PAIR) as there:
        there.bind("inproc://there")
        with context.socket(zmq.PAIR) as here:
            here.connect("inproc://there")
            here.send(bytes(1 << 20), copy=False)
            there.recv()


@pytest.fixture(autouse=True)
def nothing_raised_on_a_loop(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail the test during which a callback raised, on the node's loop or on the user's."""
    yield
    records = [each for phase in ("setup", "call") for each in caplog.get_records(phase)]
    raised = [each.getMessage() for each in records if each.name == "asyncio"]
    assert not raised


@pytest.fixture
def blocking(fakes: object) -> Iterator[Kit]:
    """Makes blocking roles."""
    kit = Kit()
    yield kit
    kit.close()


@pytest.fixture(params=LOOPS)
def aio(request: pytest.FixtureRequest, fakes: object) -> Iterator[AsyncKit]:
    """Makes asyncio roles, on each kind of loop."""
    kit = AsyncKit(LOOPS[request.param]())
    yield kit
    kit.close()


@pytest.fixture(params=["blocking", *LOOPS])
def kit(request: pytest.FixtureRequest, fakes: object) -> Iterator[Kit]:
    """Either kind of roles, the asyncio ones on each kind of loop."""
    kit = Kit() if request.param == "blocking" else AsyncKit(LOOPS[request.param]())
    yield kit
    kit.close()


@pytest.fixture
def fakes() -> Iterator[Callable[[str], FakeService]]:
    """Makes fake services of a name; each is to be started. They outlive the kit's roles."""
    made: list[FakeService] = []

    def fake(name: str) -> FakeService:
        made.append(FakeService(name, len(made) + 1))
        return made[-1]

    yield fake
    for each in made:
        each.close()


@pytest.fixture
def fake(fakes: Callable[[str], FakeService], kit: Kit) -> FakeService:
    """A fake service of the kit's name."""
    return fakes(kit.name)


@pytest.fixture
def fake_client() -> Iterator[FakeClient]:
    """A raw connection of somebody who speaks the protocol."""
    fake = FakeClient()
    yield fake
    fake.close()
