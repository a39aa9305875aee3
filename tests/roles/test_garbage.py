"""Whatever arrives at a role, it stays alive, keeps its memory, and counts what it dropped.

ZMQKIT_GARBAGE says how many messages of garbage each role gets.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import zmqkit
from tests.roles.fakes import FakeClient, FakeService
from tests.roles.kit import Kit, until
from zmqkit.model import Reach
from zmqkit.simulation import garbage
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode

COUNT = int(os.environ.get("ZMQKIT_GARBAGE", "10000"))
SEED = 20261123
BATCH = 500

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("node")]


def double(value: int) -> int:
    return 2 * value


def resident_mib() -> float:
    """Memory of this process that is in use now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


class Memory:
    """Prints what a flood costs, and fails when it costs too much."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.before = self.most = resident_mib()

    def look(self) -> None:
        self.most = max(self.most, resident_mib())

    def judge(self, capsys: pytest.CaptureFixture[str]) -> None:
        after = resident_mib()
        with capsys.disabled():
            print(
                f"\n{COUNT} messages of garbage at {self.where}: {self.before:.0f} MiB before, "
                f"{self.most:.0f} during, {after:.0f} after"
            )
        assert self.most - self.before < 256


@pytest.fixture
def memory(
    capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> Iterator[Memory]:
    memory = Memory(request.node.name)
    yield memory
    memory.judge(capsys)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """A million lines of log would be a flood of their own."""
    caplog.set_level(logging.WARNING)


def messages(chance: random.Random, target: int) -> Iterator[tuple[bytes, ...]]:
    """Garbage for one role: noise, lies in our own words, and words half heard."""
    while True:
        frames = garbage.frames(chance, target)
        if frames:
            yield tuple(bytes(frame) for frame in frames)


def malformed(role: Any) -> int:
    return sum(role.stats()["malformed"].values())


def test_noise_at_a_service_is_counted_to_the_last_message(
    kit: Kit, fake_client: FakeClient
) -> None:
    service = kit.serving(double)
    client = kit.client()
    fake_client.connect(service.endpoint)
    chance = random.Random(SEED)
    for _ in range(BATCH):
        fake_client.send(chance.randbytes(chance.randrange(100)))
    until(lambda: malformed(service) == BATCH)
    assert client.call("double", 1) == 2
    assert service.stats()["accepted"] == 1


def test_garbage_at_a_service_harms_nobody(
    kit: Kit, fake_client: FakeClient, memory: Memory
) -> None:
    service = kit.serving(double)
    client = kit.client(timeout_s=20)
    assert client.call("double", 1) == 2
    fake_client.connect(service.endpoint)
    source = messages(random.Random(SEED), service.incarnation)
    for _ in range(0, COUNT, BATCH):
        for _ in range(BATCH):
            fake_client.send(*next(source))
        fake_client.drain()
        assert client.call("double", 2) == 4
        memory.look()
    # Messages of a connection keep their order, so with this answer all was seen.
    while True:
        fake_client.request(service, 5, "double", 2)
        kind, meta = fake_client.reply()
        if (kind, meta) == (wire.REPLY, [[5], [4]]):
            break
        fake_client.drain()
    assert malformed(service) > COUNT // 2
    kit.core(service).check()
    kit.balanced(service)


def test_garbage_at_the_control_connection_harms_nobody(
    kit: Kit, fake_client: FakeClient, node: Any, memory: Memory
) -> None:
    kit.serving(double)
    client = kit.client(timeout_s=20)
    fake_client.connect(f"tcp://127.0.0.1:{node.open_control(Reach.LOCAL)}")
    source = messages(random.Random(SEED), node.process)
    before = sum(node.core.malformed.values())
    for _ in range(0, COUNT, BATCH):
        for _ in range(BATCH):
            fake_client.send(*next(source))
        fake_client.drain()
        assert client.call("double", 2) == 4
        memory.look()
    until(lambda: sum(node.core.malformed.values()) - before > COUNT // 2)
    node.ask(node.core.check)
    assert kit.client().call("double", 3) == 6


def test_garbage_at_a_client_harms_nobody(kit: Kit, fake: FakeService, memory: Memory) -> None:
    source = messages(random.Random(SEED), 0)

    def answer(peer: bytes, packet: Any) -> None:
        for _ in range(BATCH):
            frames = next(source)
            # Its own word that it leaves would rightly end its use.
            if frames[0][3:4] != bytes((wire.BYE,)):
                fake.send_frames(peer, own(fake, frames[0]), *frames[1:])
        fake.answer(peer, packet)

    fake.on_request = answer
    client = kit.client(fake.start().url, timeout_s=20)
    for n in range(0, COUNT, BATCH):
        with suppress(zmqkit.PeerError):
            client.call("add", n)
        memory.look()
    assert malformed(client) > COUNT // 4
    kit.balanced(client)


def own(fake: FakeService, frame: bytes) -> bytes:
    """The frame as if the fake had sent it, where it has a header at all."""
    if len(frame) < wire.HEADER.size:
        return frame
    return frame[:10] + fake.incarnation.to_bytes(8, "big") + bytes(8) + frame[26:]


NUMBERS = (-1, 0, 2**63, 2**64 - 1, -(2**63))
PORTS = (-1, 0, 65536, 2**40)

ODD_WORDS: list[dict[str, object]] = [
    *({"process": number} for number in NUMBERS),
    *({"control": port} for port in PORTS),
    *({"credit": credit} for credit in (0, -1, None, "x", 2**64 - 1)),
    *({"idempotent": names} for names in (None, 5, [1, None], ["x"] * 10_000)),
    *({"roles": roles} for roles in (None, [], [[]], [1], {})),
    *({"revision": revision} for revision in (None, -1)),
]
ODD_ROLES: list[dict[str, object]] = [
    *({"incarnation": number} for number in NUMBERS),
    *({"port": port} for port in PORTS),
    *({"name": name} for name in ("", "x" * 10_000, "a/b", "\0", 5)),
    *({"role": role} for role in ("", "x" * 10_000, None)),
]


@pytest.mark.parametrize("words", ODD_WORDS, ids=lambda words: str(words)[:30])
def test_process_that_describes_itself_oddly_harms_nobody(
    blocking: Kit, fakes: Callable[[str], FakeService], words: dict[str, object]
) -> None:
    fake = fakes("fake")
    fake.welcome |= words
    ask_oddity_and_then_another(blocking, fake)


@pytest.mark.parametrize("words", ODD_ROLES, ids=lambda words: str(words)[:30])
def test_process_that_describes_its_role_oddly_harms_nobody(
    blocking: Kit, fakes: Callable[[str], FakeService], words: dict[str, object]
) -> None:
    fake = fakes("fake")
    fake.welcome["roles"] = [fake.row(**words)]
    ask_oddity_and_then_another(blocking, fake)


@pytest.mark.parametrize("count", [2, 1001, 20_000])
def test_process_that_lists_a_role_many_times_harms_nobody(
    blocking: Kit, fakes: Callable[[str], FakeService], count: int
) -> None:
    fake = fakes("fake")
    fake.welcome["roles"] = [fake.row()] * count
    ask_oddity_and_then_another(blocking, fake)


def ask_oddity_and_then_another(kit: Kit, fake: FakeService) -> None:
    """Call the odd one, which may work or not, and then an honest service, which must."""
    fake.on_request = fake.answer
    client = kit.client(fake.start().url, count=0)
    try:
        assert client.options(timeout_s=0.2).call("add", 1) == 1
    except zmqkit.PeerError:
        assert client.stats()["delivered"] == 0
    kit.serving(double)
    assert kit.client().call("double", 1) == 2


REPLIES: list[tuple[int, object, list[object]]] = [
    (wire.REPLY, [[1], []], []), (wire.REPLY, [[2**64 - 1], [1]], [5]),
    (wire.REPLY, [[0], [1]], [5]), (wire.REPLY, [[1], [2]], [5]),
    (wire.ERROR, [[1], [12]], [["raised", "X", "", ""]]),
    (wire.ERROR, [[9], [10]], [["busy", "", "", "", True]]),
    (wire.PONG, [2**64 - 1, 1, [], 0], []), (wire.PONG, [1, 0, [], 0], []),
    (wire.PONG, [1, 2**64 - 1, list(range(20_000)), 0], []),
    (wire.REQUEST, [[1], [5], ["add"], [4], [4]], [[None, [1], {}]]), (wire.HELLO, {}, []),
    (wire.BYE, 5, []), (wire.CANCEL, [1], []), (wire.WELCOME, {"credit": 10**9}, []),
]  # fmt: skip


@pytest.mark.parametrize("forgery", REPLIES)
def test_forged_answers_end_no_call(
    kit: Kit, fake: FakeService, forgery: tuple[int, object, list[object]]
) -> None:
    kind, meta, values = forgery

    def answer(peer: bytes, packet: Any) -> None:
        fake.send(peer, kind, meta, b"".join(map(encode, values)))
        fake.answer(peer, packet)

    fake.on_request = answer
    client = kit.client(fake.start().url)
    assert client.call("add", 7) == 7
    kit.balanced(client)
    kit.core(client).check()


def test_refusal_of_an_unknown_kind_is_an_error_that_quotes_it(
    kit: Kit, fake: FakeService
) -> None:
    fake.on_request = fake.refuse("out-of-ink")
    client = kit.client(fake.start().url)
    with pytest.raises(zmqkit.PeerError, match="out-of-ink: it says out-of-ink"):
        client.call("add", 7)
