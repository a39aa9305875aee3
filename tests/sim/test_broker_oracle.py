"""The oracle notices what must not be of brokers: each breaks a rule of a core on purpose."""

from __future__ import annotations

from itertools import count

import pytest

from tests.sim.breaking import Break, name_of
from zmqkit.core.calls.answers import refuse
from zmqkit.core.calls.outcome import EXPIRED
from zmqkit.core.calls.request import Request, StreamRequest
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Effect
from zmqkit.core.line import FairLine
from zmqkit.core.majordomo import memory_back
from zmqkit.core.majordomo.broker import BrokerCore
from zmqkit.core.majordomo.front import FrontCore
from zmqkit.core.majordomo.memory_back import Passed
from zmqkit.core.majordomo.relay import Relay
from zmqkit.core.majordomo.relays import Relays

SEEDS = range(40)


def serves_whom_it_served(patch: pytest.MonkeyPatch) -> None:
    def serve(self: FairLine[Request]) -> Request | None:
        for row in reversed(self._rows):
            for client in reversed(row):
                item = next(iter(row[client].values()))
                self.leave(item)
                return item
        return None

    patch.setattr(FairLine, "serve", serve)


def denies_everything(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(memory_back, "answer_of", lambda error: refuse(EXPIRED))


def moves_everything(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Passed, "may_move", True)


def answers_whom_it_likes(patch: pytest.MonkeyPatch) -> None:
    handled = FrontCore.handled

    def mixed(
        self: FrontCore, results: list[tuple[Request, Answer]], now: float
    ) -> list[Effect]:
        answers = [answer for _, answer in reversed(results)]
        pairs = zip((request for request, _ in results), answers, strict=True)
        return handled(self, list(pairs), now)

    patch.setattr(FrontCore, "handled", mixed)


def gives_no_room_back(patch: pytest.MonkeyPatch) -> None:
    def count(self: Relay) -> None:
        held = (self.front.in_flight, self.front.held_bytes)
        self._room.count += max(0, held[0] - self._counted[0])
        self._counted = held

    patch.setattr(Relay, "_count", count)
    patch.setattr(BrokerCore, "check", lambda self: None)


def keeps_every_service(patch: pytest.MonkeyPatch) -> None:
    def close_idle(self: Relays, now: float) -> list[Effect]:
        for name, since in list(self._idle_since.items()):
            if now >= since + self._idle_s:
                del self._idle_since[name]
        return []

    patch.setattr(Relays, "close_idle", close_idle)


def drops_a_value(patch: pytest.MonkeyPatch) -> None:
    yielded, numbers = FrontCore.yielded, count()

    def some(
        self: FrontCore, request: StreamRequest, value: Answer, now: float
    ) -> list[Effect]:
        return yielded(self, request, value, now) if next(numbers) % 9 else []

    patch.setattr(FrontCore, "yielded", some)


def tells_of_no_service(patch: pytest.MonkeyPatch) -> None:
    look = Relays._look_at
    patch.setattr(Relays, "_look_at", lambda self, relay, now: look(self, relay, now) and [])


BREAKS = [
    Break(serves_whom_it_served, "clients take turns", 5),
    Break(denies_everything, "may_have_run=False means"),
    Break(moves_everything, "what may not repeat runs once", 33),
    Break(answers_whom_it_likes, "a value is that call's own"),
    Break(gives_no_room_back, "a broker's room is what it holds"),
    Break(keeps_every_service, "idle, no dead service is left"),
    Break(drops_a_value, "a prefix is read"),
    Break(tells_of_no_service, "healed, calls succeed"),
]


@pytest.mark.slow
@pytest.mark.parametrize("broken", BREAKS, ids=name_of)
def test_a_rule_that_is_broken_is_noticed(
    broken: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert broken.is_noticed(monkeypatch, SEEDS, "brokers")
