"""The thread that sends what gathers while nobody comes to do so."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from zmqkit.drivers.flusher import Flusher
from zmqkit.drivers.fork import Process
from zmqkit.drivers.notes import Notes

BOUND_S = 20.0


class Gathering:
    """What is flushed: so many looks until nothing gathers any more."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.left = 0
        self.looks = 0
        self.empty = threading.Semaphore(0)
        self.flusher = Flusher(self.lock, self.flush, Notes().tell)

    def flush(self, now: float) -> bool:
        assert self.lock.locked()
        self.looks += 1
        self.left -= 1
        if self.left <= 0:
            self.empty.release()
        return self.left > 0

    def gather(self, looks: int) -> None:
        """Have it flushed; returns once nothing gathers."""
        with self.lock:
            self.left = looks
            self.flusher.wake()
        assert self.empty.acquire(timeout=BOUND_S)


@pytest.fixture
def gathering() -> Iterator[Gathering]:
    made = Gathering()
    yield made
    made.flusher.close()


def test_it_looks_until_nothing_gathers_and_sleeps_then(gathering: Gathering) -> None:
    for looks in (3, 1):
        gathering.looks = 0
        gathering.gather(looks)
        with gathering.lock:
            assert gathering.looks == looks and not gathering.flusher.awake


def test_there_is_one_thread_from_the_first_look_on_until_the_end() -> None:
    before = set(threading.enumerate())
    gathering = Gathering()
    assert set(threading.enumerate()) == before
    gathering.gather(1)
    [thread] = set(threading.enumerate()) - before
    gathering.gather(1)
    assert set(threading.enumerate()) - before == {thread}
    gathering.flusher.close()
    thread.join(BOUND_S)
    assert not thread.is_alive()


def test_it_never_waits_for_whoever_publishes(gathering: Gathering) -> None:
    with gathering.lock:
        gathering.left = 1
        gathering.flusher.wake()
        assert gathering.flusher.awake
        assert not gathering.empty.acquire(timeout=0.01)
    assert gathering.empty.acquire(timeout=BOUND_S)


def test_at_the_end_of_the_process_what_gathers_is_sent(gathering: Gathering) -> None:
    gathering.flusher._exit()
    assert gathering.looks == 1


def test_at_the_end_of_a_forked_child_nothing_is_sent(gathering: Gathering) -> None:
    gathering.flusher._process = Process()
    gathering.flusher._process.forked = True
    gathering.flusher._exit()
    assert gathering.looks == 0
