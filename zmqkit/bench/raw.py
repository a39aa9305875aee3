"""Raw pyzmq in the shapes of the patterns, as programs are written with it.

A call is REQ and REP one at a time, else DEALER and ROUTER with as many outstanding; a task is
the same as a call; what is published is topic and body in one frame, from PUB to SUB.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import zmq

from zmqkit.bench.loops import run_alone, wait_until
from zmqkit.bench.measured import ANSWER_S, LOOK_S, WARM_UP_S, Load, Measured, clock

TOPIC = b"bench\0"
TURN = 500
"""How many messages are published between two looks at the rest of the world."""
STRIDE = 500
"""A closed loop looks at the clock after so many replies."""
TIME = struct.Struct(">d")

Tell = Callable[[str], object]
"""Tells the other process where this one listens."""


def serve(pattern: str, load: Load, tell: Tell) -> None:
    """Be the other side, until the process ends."""
    with zmq.Context() as context:
        if pattern == "publish":
            _publish(context, load, tell)
        elif load.alone:
            _reply(context, tell)
        else:
            _route(context, load, tell)


def _bound(socket: zmq.Socket[bytes]) -> str:
    return f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"


def _reply(context: zmq.Context[zmq.Socket[bytes]], tell: Tell) -> None:
    with context.socket(zmq.REP) as socket:
        tell(_bound(socket))
        while True:
            socket.send(socket.recv())


def _route(context: zmq.Context[zmq.Socket[bytes]], load: Load, tell: Tell) -> None:
    with context.socket(zmq.ROUTER) as socket:
        socket.set_hwm(2 * load.in_flight if load.rate is None else 0)
        tell(_bound(socket))
        while True:
            socket.send_multipart(socket.recv_multipart())


def _publish(context: zmq.Context[zmq.Socket[bytes]], load: Load, tell: Tell) -> None:
    with context.socket(zmq.PUB) as socket:
        # Else PUB drops most of what is sent in a loop.
        socket.setsockopt(zmq.XPUB_NODROP, 1)
        tell(_bound(socket))
        send, frame = socket.send, TOPIC + load.body
        if load.rate is None:
            while True:
                for _ in range(TURN):
                    send(frame)
        begun, sent, rest = clock(), 0, frame[len(TOPIC) + TIME.size :]
        while True:
            due_at = begun + sent / load.rate
            wait_until(due_at)
            send(TOPIC + TIME.pack(due_at) + rest)
            sent += 1


def measure(pattern: str, load: Load, address: str) -> Measured:
    """Load the other side at this address, and return what was measured."""
    kind = zmq.SUB if pattern == "publish" else zmq.REQ if load.alone else zmq.DEALER
    with zmq.Context() as context, context.socket(kind) as socket:
        socket.linger = 0
        socket.rcvtimeo = int(ANSWER_S * 1000)
        if pattern == "publish":
            socket.subscribe(TOPIC)
            socket.connect(address)
            return received(iter(socket.recv, None), load, lambda frame: frame[len(TOPIC) :])
        socket.set_hwm(2 * load.in_flight if load.rate is None else 0)
        socket.connect(address)
        if load.alone:
            return run_alone(lambda: (socket.send(load.body), socket.recv()), load)
        loop = _closed if load.rate is None else _opened
        loop(socket, replace(load, seconds=WARM_UP_S, look=lambda part, count: None))
        return loop(socket, load)


def received(messages: Iterator[Any], load: Load, body_of: Callable[[Any], bytes]) -> Measured:
    """Count what comes, after a warm-up.

    body_of: of a message; it begins with the time at which that was due, if there is a rate.
    """
    stride = STRIDE if load.rate is None else 1
    for load_now in (replace(load, seconds=WARM_UP_S, look=lambda part, count: None), load):
        measured, look_at = Measured(), 0.0
        begun = now = clock()
        while now - begun < load_now.seconds:
            for message in islice(messages, stride):
                last = message
            now = clock()
            if load.rate is None:
                measured.count += stride
            else:  # the clock is one for all processes of a machine
                due_at = TIME.unpack_from(body_of(last))[0]
                measured.record(max(0.0, now - due_at))
            if now >= look_at:
                load_now.look((now - begun) / load_now.seconds, measured.count)
                look_at = now + LOOK_S
        measured.took_s = now - begun
    return measured


def _closed(socket: zmq.Socket[bytes], load: Load) -> Measured:
    measured, body, look_at = Measured(), [load.body], 0.0
    receive, send, record = socket.recv_multipart, socket.send_multipart, measured.record
    begun = clock()
    due = deque([begun] * load.in_flight)
    for _ in range(load.in_flight):
        send(body)
    until = begun + load.seconds
    while (now := clock()) < until:
        if now >= look_at:
            load.look((now - begun) / load.seconds, measured.count)
            look_at = now + LOOK_S
        for _ in range(STRIDE):
            receive()
            now = clock()
            record(now - due.popleft())
            due.append(now)
            send(body)
    for sent_at in due:
        receive()
        record(clock() - sent_at)
    measured.took_s = clock() - begun
    return measured


def _opened(socket: zmq.Socket[bytes], load: Load) -> Measured:
    assert load.rate is not None
    measured, sent, look_at = Measured(), 0, 0.0
    due: deque[float] = deque()
    begun = clock()
    while (due_at := begun + sent / load.rate) < begun + load.seconds or due:
        now = clock()
        if now >= due_at and due_at < begun + load.seconds:
            socket.send(load.body)
            due.append(due_at)
            sent += 1
        elif due_at >= begun + load.seconds or socket.poll(max(0, int((due_at - now) * 1000))):
            socket.recv()
            measured.record(clock() - due.popleft())
        if now >= look_at:
            load.look(min(1.0, (now - begun) / load.seconds), measured.count)
            look_at = now + LOOK_S
    measured.took_s = max(load.seconds, clock() - begun)
    return measured
