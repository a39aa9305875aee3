"""Whether a role or a loop turns, as those see it who must not wait for it."""

from __future__ import annotations

import asyncio
import secrets
import threading

import pytest

import zmqkit
from zmqkit.cli.pulse import LoopPulse, RolePulse
from zmqkit.device.streamer import Streamer


def beats(pulse: RolePulse) -> bool:
    """Whether it beats within a while, which the threads of a busy machine may take."""
    event = threading.Event()
    return any(pulse.beat() or event.wait(0.01) for _ in range(1000))


def test_a_device_that_is_driven_beats_and_one_that_hangs_does_not() -> None:
    device = Streamer(f"t{secrets.token_hex(6)}")
    pulse = RolePulse(device, device.stats)
    assert pulse.beat(), "one that is not open yet has nothing to turn"
    device.start()
    running = threading.Thread(target=device.run)
    running.start()
    assert all(beats(pulse) for _ in range(5))
    life = device._life
    with life.lock:  # as if its core went round in a circle
        while pulse.beat():
            pass
        assert not pulse.beat()
    assert beats(pulse)
    assert device.close(1.0) == 0
    running.join()
    assert pulse.beat(), "one that is closed has nothing to turn any more"


def test_a_service_in_a_handler_beats_since_the_keeper_drives_it() -> None:
    service = zmqkit.Service(f"t{secrets.token_hex(6)}", bind="tcp://127.0.0.1:0")
    began, go_on = threading.Event(), threading.Event()

    @service.handler
    def hold() -> None:
        began.set()
        go_on.wait(30)

    service.start()
    serving = threading.Thread(target=service.serve)
    serving.start()
    with zmqkit.Client(f"{service.endpoint}/{service.name}") as client:
        client.notify("hold")
        assert began.wait(30)
        pulse = RolePulse(service, service.stats)
        assert all(beats(pulse) for _ in range(5))
        go_on.set()
    service.close()
    serving.join()


def test_a_loop_that_is_held_does_not_beat() -> None:
    counted = {"in_flight": 1}

    async def main() -> None:
        pulse = LoopPulse(asyncio.get_running_loop(), lambda: dict(counted))
        assert pulse.beat()
        assert not pulse.beat(), "it has not turned in between"
        await asyncio.sleep(0)
        assert pulse.beat()
        assert await asyncio.to_thread(pulse.stats) == counted
        pulses.append(pulse)

    pulses: list[LoopPulse] = []
    asyncio.run(main())
    [pulse] = pulses
    assert pulse.beat() and pulse.beat(), "a loop that has ended has nothing to turn"
    with pytest.raises(TimeoutError, match="has ended"):
        pulse.stats()
