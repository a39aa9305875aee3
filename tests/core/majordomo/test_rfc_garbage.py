"""Whatever peers, fronts and backs send, nothing is raised, and translators stay sound."""

from __future__ import annotations

import os
from itertools import count
from random import Random

import pytest

from tests.core.majordomo.desk import Desk
from tests.core.majordomo.hall import SERVICE, Hall
from zmqkit.core.effects import Send
from zmqkit.core.majordomo.bodies import MDP
from zmqkit.core.majordomo.broker import BrokerCore
from zmqkit.majordomo_limits import BrokerLimits
from zmqkit.model import Frames
from zmqkit.simulation.garbage import frames, lie, spoil, tasks
from zmqkit.wire import mdp
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed
from zmqkit.wire.mdp import ClientRequest, Kind, Version, WorkerCommand, read_at_broker

COUNT = int(os.environ.get("ZMQKIT_GARBAGE", "10000")) // 3
PEERS = [bytes((0, n)) for n in range(5)]
PIECES = [
    b"", b"MDPC01", b"MDPC02", b"MDPW01", b"MDPW02", b"MDPC0X", SERVICE.encode(), b"\xff\xfe",
    b"mmi.service", *(bytes((n,)) for n in range(8)), (1).to_bytes(8, "big"), bytes(5000),
]  # fmt: skip


def message(random: Random) -> Frames:
    """A message of MDP, often one that is nearly right, or any frames."""
    version = random.choice([*Version])
    body = tuple(random.choices(PIECES, k=random.randrange(3)))
    address = random.choice([(1).to_bytes(8, "big"), (2).to_bytes(8, "big"), b"", b"x"])
    made = random.choice([
        mdp.request(version, SERVICE, body), mdp.worker_ready(version, SERVICE),
        mdp.worker_final(version, address, body), mdp.worker_partial(address, body),
        mdp.heartbeat(version), mdp.disconnect(version), mdp.final(version, SERVICE, body),
        mdp.worker_request(version, address, body), tuple(random.choices(PIECES, k=4)),
    ])  # fmt: skip
    if random.random() < 0.2:
        at = random.randrange(len(made) + 1)
        made = (*made[:at], random.choice(PIECES), *made[at + random.randrange(2) :])
    return made


@pytest.mark.slow
def test_whatever_peers_say_harms_no_translator() -> None:
    random, desk, hall = Random(7), Desk(), Hall()
    reasons: set[str] = set()
    for step in range(COUNT):
        if step % 200 == 0:
            desk, hall = Desk(streams=random.random() < 0.5), Hall()
        peer = random.choice(PEERS)
        try:
            command = read_at_broker(message(random))
        except Malformed as error:
            reasons.add(str(error))
            hall.follow(hall.workers.distrust(peer, hall.now))
            continue
        if isinstance(command, ClientRequest):
            desk.follow(desk.clients.receive(peer, command, desk.now))
            desk.turn()
            hall.call(step, b"?")
        else:
            hall.follow(hall.workers.receive(peer, command, hall.now))
        if random.random() < 0.1:
            pause_s = random.choice([0.1, 3.0, 50.0])
            desk.wait(pause_s)
            hall.wait(pause_s)
    assert reasons >= {"frames", "header", "command", "service"}


@pytest.mark.slow
def test_whatever_peers_say_harms_no_broker() -> None:
    """Some of the workers do reply, so there is something to be harmed."""
    random, numbers, now, delivered = Random(7), count(5000), 0.0, 0
    for step in range(COUNT):
        if step % 200 == 0:
            core = BrokerCore("b", 1, lambda: next(numbers), BrokerLimits(services_max=3))
            asked: dict[bytes, WorkerCommand] = {}
        now += random.choice([0.0, 0.1, 0.1, 3.0])
        peer, made = random.choice(PEERS), message(random)
        if asked and random.random() < 0.4:
            peer, made = replied(random, asked)
        effects = core.receive(peer, made, now)
        if random.random() < 0.02:
            effects += core.unsent(random.choice(PEERS), made, now)
        if now >= core.deadline():
            effects += core.tick(now)
        for _ in range(100):
            effects += (more := core.flush(now))
            if not more:
                break
        assert not more, "its turn does not end"
        core.check()
        for effect in effects:
            if isinstance(effect, Send) and not wire.is_ours(effect.frames):
                delivered += note_of(effect, asked)
    assert delivered > COUNT / 100


def replied(random: Random, asked: dict[bytes, WorkerCommand]) -> tuple[bytes, Frames]:
    """A worker that was asked replies in parts, or at once."""
    peer = random.choice([*asked])
    command = asked[peer]
    if command.version is Version.V2 and random.random() < 0.5:
        return peer, mdp.worker_partial(command.address, (b"part",))
    del asked[peer]
    return peer, mdp.worker_final(command.version, command.address, (b"done", b"x"))


def note_of(effect: Send, asked: dict[bytes, WorkerCommand]) -> bool:
    """Note what a worker is asked; return whether it is a reply to a client instead."""
    try:
        command = mdp.read_at_worker(effect.frames)
    except Malformed:
        return b"done" in mdp.read_at_client(effect.frames).body
    if command.kind is Kind.REQUEST:
        asked[effect.peer] = command
    elif command.kind is Kind.DISCONNECT:
        asked.pop(effect.peer, None)
    return False


@pytest.mark.slow
def test_whatever_fronts_and_backs_say_harms_no_translator() -> None:
    random = Random(7)
    at_desk = in_hall = False
    for step in range(COUNT // 5):
        if step % 20 == 0:
            desk, hall = Desk(streams=step % 40 == 0), Hall()
            for peer in PEERS:
                for version in Version:
                    desk.ask(peer, version, b"?")
                hall.ready(peer)
                hall.call(peer, b"?")
            asked = [wire.unpack(each) for each in desk.fed]
        client, tell = random.choice(asked), random.choice(hall.tells)
        inner = b"\xff" + client.source.to_bytes(8, "big")
        made = odd(random, client.target, client.source)
        desk.follow(desk.clients.take(inner, made, desk.now))
        desk.follow(desk.clients.flush(desk.now))
        inner = tell.incarnation.to_bytes(8, "big")
        made = odd(random, hall.back.incarnation, tell.incarnation)
        hall.follow(hall.workers.take(inner, made, hall.now))
        at_desk |= bool(desk.clients.stats()["malformed"])
        in_hall |= bool(hall.stats["malformed"])
    assert at_desk and in_hall


def odd(random: Random, source: int, target: int) -> Frames:
    """Odd content under a header that is right, requests among it, or any frames."""
    if random.random() < 0.2:
        return frames(random, target)
    if random.random() < 0.2:
        return tasks(random, source, target, MDP)
    [head, *_] = lie(random)
    content, meta_bytes = bytes(head)[wire.HEADER.size :], wire.HEADER.unpack_from(head)[2]
    kind = random.choice(sorted(wire.KINDS))
    made = wire.pack(kind, source, target, 0, content[:meta_bytes], content[meta_bytes:])
    return made if random.random() < 0.7 else spoil(random, made)
